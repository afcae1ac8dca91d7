"""Whole conversations at random: plausible messages in any order, a user who does anything, time.

Nothing here may raise, whatever the order; no ACK is answered; nothing goes to somebody who has not
asked for it, and not much to whoever has; and when everything has timed out, nothing is left.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random

from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import InviteReceived, ReinviteReceived
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.transaction import Outgoing
from ingress_sip.signalling.uri import SipUri

PEER = Hop(Transport.UDP, "192.0.2.7", 5060)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n"
)
# Bytes that one byte may cause: a 2xx resent for 32 s, then a BYE for another 32 s (13.3.1.4).
ECHO = 40
_PEERS = (
    PEER,
    Hop(Transport.UDP, "198.51.100.9", 5062),
    Hop(Transport.TCP, "192.0.2.7", 40_001, 3),
)
_METHODS = (
    *("INVITE",) * 6, *("ACK",) * 4, *("BYE",) * 3, "CANCEL", "CANCEL", "OPTIONS", "INFO", "UPDATE",
    "PRACK", "REFER", "NOTIFY", "REGISTER", "MESSAGE", "SUBSCRIBE", "invite", "x",
)  # fmt: skip
_EXTRAS = (
    "Expires: 0", "Expires: 5", "Expires: x", "Require: 100rel", "Timestamp: 1", "Max-Forwards: 0",
    "Supported: timer, 100rel, replaces", "Record-Route: <sip:203.0.113.5;lr>, <sip:203.0.113.6>",
    "Record-Route: nonsense", "Route: <sip:a;lr>", "Contact: <sip:c@203.0.113.9:9>", "Contact: *",
    "Contact: <tel:1>", "Contact: <sip:c@192.0.2.7>;q=1, <", "Session-Expires: 90;refresher=uac",
    "Min-SE: 1", "RAck: 1 1 INVITE", "Refer-To: <sip:x@203.0.113.9>", "Event: refer",
    "Replaces: call-1;to-tag=a;from-tag=b", "Reason: Q.850;cause=16", "Content-Type: text/plain",
    "Accept: text/plain", "Authorization: Digest username=a", "Subscription-State: terminated",
    "Info-Package: dtmf", "Via: SIP/2.0/UDP evil.example",
)  # fmt: skip


def new_core() -> SipCore:
    tokens = count()
    return SipCore(
        contact_for=lambda peer: SipUri.of("192.0.2.1", 5060),
        tokens=lambda: f"token{next(tokens)}",
        user_agent="Trunkline",
    )


def request(
    method: str,
    cseq: int = 1,
    to_tag: str = "",
    branch: str = "z9hG4bK-1",
    *,
    call: str = "call-1@192.0.2.7",
    from_tag: str = "alice",
    extras: tuple[str, ...] = (),
    body: bytes = SDP,
) -> bytes:
    """One request, as a phone at `PEER` would write it."""
    body = body if method in ("INVITE", "UPDATE", "PRACK") else b""
    head = [
        f"{method} sip:bot@192.0.2.1 SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch={branch};rport",
        f"From: <sip:alice@192.0.2.7>{from_tag and f';tag={from_tag}'}",
        f"To: <sip:bot@192.0.2.1>{to_tag and f';tag={to_tag}'}",
        f"Call-ID: {call}",
        f"CSeq: {cseq} {method}",
        *extras,
        *(("Contact: <sip:alice@192.0.2.7>",) if "Contact" not in "".join(extras) else ()),
        *(("Content-Type: application/sdp",) if body else ()),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def serve(core: SipCore, now: float) -> None:
    """A user who takes every call and every change of one."""
    while (event := core.next_event()) is not None:
        if isinstance(event, InviteReceived | ReinviteReceived):
            core.accept(event.dialog, SDP, now)


def run_out(core: SipCore, now: float) -> float:
    """Let all time pass. Raises AssertionError when something is left but established calls."""
    for _ in range(100_000):
        if (due := core.next_timer()) is None:
            break
        now = max(now, due)
        core.handle_timers(now)
        serve(core, now)
    assert core.next_timer() is None
    assert core.live_transactions == 0
    return now


def sequence(random: Random, steps: int = 40) -> None:
    """Play one conversation. Raises AssertionError, or whatever the core let through."""
    _Play(random).run(steps)


class _Play:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._core = new_core()
        self._now = 0.0
        self._dialogs: list[DialogId] = []
        self._asked: list[bytes] = []  # our own requests, that the peer may answer
        self._heard = Counter[str]()  # bytes, by the host they came from
        self._told = Counter[str]()  # bytes, by the host they went to

    def run(self, steps: int) -> None:
        for _ in range(self._random.randrange(1, steps)):
            self._random.choice(
                (self._message,) * 5 + (self._user,) * 3 + (self._time, self._respond)
            )()
            self._look()
        for dialog in self._dialogs:
            self._core.hang_up(dialog, self._now)
            self._look()
        self._now = self._pass_until(None)
        assert self._core.next_timer() is None
        assert (self._core.live_dialogs, self._core.live_transactions) == (0, 0)
        for host, heard in self._heard.items():
            assert self._told[host] < ECHO * heard, (host, heard, self._told[host])

    # What happens

    def _message(self) -> None:
        choose = self._random.choice
        tags = ["", "bogus", *(dialog.local_tag for dialog in self._dialogs[-3:])]
        data = request(
            choose(_METHODS),
            choose((1, 1, 1, 2, 2, 3, 2**31 - 1)),
            choose(tags),
            choose(("z9hG4bK-1", "z9hG4bK-2", "z9hG4bK-3", "z9hG4bK-4", "old", "z9hG4bK")),
            call=choose(("call-1", "call-1", "call-2")),
            from_tag=choose(("alice", "alice", "alice", "eve", "")),
            extras=tuple(self._random.sample(_EXTRAS, choose((0, 0, 0, 1, 1, 2, 4)))),
            body=choose((SDP, SDP, b"", b"garbage")),
        )
        self._hear(data, choose(_PEERS))

    def _respond(self) -> None:
        """Answer, or misanswer, a request of ours."""
        if not self._asked:
            return
        asked = parse_datagram(self._random.choice(self._asked))
        assert isinstance(asked, Request)
        status = self._random.choice((100, 180, 200, 200, 401, 408, 481, 503, 600))
        self._hear(
            Response(status, "", headers=asked.headers).encode(), self._random.choice(_PEERS)
        )

    def _hear(self, data: bytes, source: Hop) -> None:
        before = len(self._asked)
        self._heard[source.host] += len(data)
        self._core.receive(data, source, self._now)
        if data.startswith(b"ACK "):
            assert not any(out.data.startswith(b"SIP/2.0 ") for out in self._look())
        assert len(self._asked) <= before + 1 + len(self._dialogs)

    def _user(self) -> None:
        if not self._dialogs:
            return
        dialog = self._random.choice(self._dialogs)
        match self._random.randrange(5):
            case 0:
                self._core.ring(dialog, self._now)
            case 1 | 2:
                self._core.accept(dialog, SDP, self._now)
            case 3:
                self._core.reject(dialog, 486, self._now)
            case _:
                self._core.hang_up(dialog, self._now)

    def _time(self) -> None:
        self._pass_until(self._now + self._random.choice((0.0, 0.1, 0.5, 4.0, 33.0, 200.0)))

    def _pass_until(self, end: float | None) -> float:
        for _ in range(100_000):
            due = self._core.next_timer()
            if due is None or (end is not None and due > end):
                break
            self._now = max(self._now, due)
            self._core.handle_timers(self._now)
            self._look()
        self._now = self._now if end is None else end
        return self._now

    def _look(self) -> list[Outgoing]:
        """Take what the core says, and hold it against what it may say."""
        while (event := self._core.next_event()) is not None:
            if isinstance(event, InviteReceived):
                self._dialogs.append(event.dialog)
        sent = self._core.messages_to_send()
        for out in sent:
            self._told[out.destination.host] += len(out.data)
            message = parse_datagram(out.data)
            if isinstance(message, Response):
                assert message.cseq.method != "ACK"
                assert out.destination.host in self._heard  # nobody else is told anything
            else:
                assert isinstance(message, Request)
                self._asked.append(out.data)
        return sent
