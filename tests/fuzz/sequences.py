"""Whole conversations at random: plausible messages in any order, a user who does anything, time.

Nothing here may raise, whatever the order; no ACK is answered; nothing goes to somebody who has not
asked for it, and not much to whoever has; and when everything has timed out, nothing is left.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import InviteReceived, ReferReceived, ReinviteReceived
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
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
_STATUSES = (100, 180, 183, 200, 200, 200, 202, 302, 401, 408, 422, 481, 487, 491, 503, 600)
_ANSWER_EXTRAS = (
    ("Contact", "<sip:bob@192.0.2.7>"), ("Contact", "<sip:bob@203.0.113.9;transport=tcp>"),
    ("Contact", "<tel:1>"), ("Contact", "<"), ("Require", "100rel"), ("RSeq", "1"), ("RSeq", "2"),
    ("RSeq", "x"), ("Session-Expires", "90;refresher=uac"), ("Session-Expires", "90;refresher=uas"),
    ("Session-Expires", "x"), ("Min-SE", "3600"), ("Allow", "INVITE, UPDATE"),
    ("Supported", "timer"),
    ("Record-Route", "<sip:203.0.113.5;lr>"), ("Record-Route", "<"), ("Retry-After", "0"),
    ("WWW-Authenticate", 'Digest realm="x", nonce="y"'), ("Content-Type", "text/plain"),
    ("Content-Type", "application/sdp"), ("Allow", "a b"), ("Supported", '"'), ("Require", "a b"),
    ("Session-Expires", '90;"'), ("Min-SE", "-1"),
)  # fmt: skip
CAROL = NameAddr(SipUri.of("192.0.2.7", user="carol"))

# Bytes that one byte may be answered with: a 2xx is resent for 32 s (13.3.1.4).
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
    "Info-Package: dtmf", "Via: SIP/2.0/UDP evil.example", "Allow: a b", "Supported: a b",
    "Contact: <", "Event: presence", "Replaces: call-1;to-tag=token1;from-tag=alice",
    "Session-Expires: 1",
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
        self._told = Counter[str]()  # bytes of answers, by the host they went to

    def run(self, steps: int) -> None:
        for _ in range(self._random.randrange(1, steps)):
            self._random.choice(_STEPS)(self)
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
        """Answer, or misanswer, a request of ours; a fork may answer our INVITE, or several."""
        if not self._asked:
            return
        choose = self._random.choice
        asked = parse_datagram(choose(self._asked[-6:]))
        assert isinstance(asked, Request)
        to = asked.headers.get("To") or ""
        tag = "" if asked.to.tag else choose(("", ";tag=bob", ";tag=bob", ";tag=carol"))
        kept = [item for item in asked.headers if item[0] in ("Via", "From", "Call-ID", "CSeq")]
        extras = self._random.sample(_ANSWER_EXTRAS, choose((0, 0, 1, 2, 4)))
        headers = Headers([*kept, ("To", f"{to}{tag}"), *extras])
        body = choose((SDP, SDP, b"", b"garbage"))
        answer = Response(choose(_STATUSES), "x", headers=headers, body=body)
        self._hear(answer.encode(), choose(_PEERS))

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
        match self._random.randrange(11):
            case 0:
                self._core.ring(dialog, self._now)
            case 1 | 2:
                self._core.accept(dialog, SDP, self._now)
            case 3:
                self._core.reject(dialog, 486, self._now)
            case 4:
                self._core.hang_up(dialog, self._now)
            case 5 | 6:
                self._core.reoffer(dialog, SDP, self._now)
            case 7:
                self._core.refer(dialog, CAROL, self._now)
            case 8:
                self._core.notify(dialog, self._random.choice((180, 200, 486)), "x", self._now)
            case 9:
                self._core.info(dialog, "application/dtmf-relay", b"Signal=1", self._now)
            case _:
                self._core.ring(dialog, self._now, 183, SDP)

    def _call(self) -> None:
        """Call somebody, or ask outside of calls."""
        hops = tuple(self._random.sample(_PEERS, self._random.choice((1, 1, 2))))
        method = self._random.choice(("INVITE", "INVITE", "INVITE", "OPTIONS", "REGISTER"))
        ask = Ask(method, CAROL.uri, CAROL, CAROL, hops, body=SDP if method == "INVITE" else b"")
        if method == "INVITE":
            self._dialogs.append(self._core.call(ask, self._now))
        else:
            self._core.ask(ask, self._now)

    def _lose(self) -> None:
        """A connection breaks, or an address cannot be reached."""
        self._core.transport_failed(self._random.choice(_PEERS), self._now)

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
            elif isinstance(event, ReferReceived):  # to be answered at once, like an UPDATE
                self._core.answer_refer(event.dialog, self._random.choice((202, 603)), self._now)
            elif isinstance(event, ReinviteReceived) and event.request.method == "UPDATE":
                if self._random.random() < 0.5:
                    self._core.accept(event.dialog, SDP, self._now)
                else:
                    self._core.reject(event.dialog, 488, self._now)
        sent = self._core.messages_to_send()
        for out in sent:
            message = parse_datagram(out.data)
            if isinstance(message, Response):
                assert message.cseq.method != "ACK"
                assert out.destination.host in self._heard  # nobody else is told anything
                self._told[out.destination.host] += len(out.data)
            else:
                assert isinstance(message, Request)
                self._asked.append(out.data)
        return sent


_STEPS = (
    *(_Play._message,) * 6, *(_Play._respond,) * 6, *(_Play._user,) * 4, _Play._call, _Play._call,
    _Play._time, _Play._time, _Play._lose,
)  # fmt: skip
