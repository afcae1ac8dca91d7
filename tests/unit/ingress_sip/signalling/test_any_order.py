"""Anything at any time: a user who does whatever may be done, and a peer who lies in every message.

Nothing raises, no event comes of a call that is over, and when all calls are hung up and time has
passed, nothing is left of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.digest import Credentials, DigestClient
from ingress_sip.signalling.events import (
    AckTimedOut,
    AskAnswered,
    ByeAnswered,
    ByeReceived,
    CallRefused,
    Event,
    InviteCancelled,
    InviteReceived,
    SessionLost,
    TransferNotified,
)
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri

UDP = Hop(Transport.UDP, "192.0.2.7", 5060)
HOPS = (UDP, Hop(Transport.UDP, "192.0.2.8", 5060), Hop(Transport.TCP, "192.0.2.7", 5060, 3))
SDP = b"v=0\r\n"
BOB = NameAddr.parse("<sip:bob@192.0.2.7>")

#: The call is over, but for what becomes of a BYE of ours and of a transfer; and over for good.
OVER = (AckTimedOut, SessionLost, CallRefused)
GONE = (InviteCancelled, ByeReceived, ByeAnswered)
STILL = (ByeAnswered, TransferNotified)
AFTER_HANGING_UP = (*OVER, *GONE, *STILL)

METHODS = (
    "INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY", "OPTIONS",
)  # fmt: skip
STATUSES = (
    100, 180, 183, 200, 200, 200, 200, 200, 202, 302,
    401, 405, 407, 408, 422, 481, 486, 487, 491, 500, 503,
)  # fmt: skip
_LIES = st.lists(
    st.sampled_from([
        "Require: 100rel", "Require: 100rel,,@", "Supported: 100rel, timer", "Supported: <",
        "RSeq: 1", "RSeq: 2", "RSeq: -1", "RAck: 1 1 INVITE", "RAck: 1 2 INVITE", "RAck: x",
        "Contact: <sip:eve@192.0.2.9:5070>", "Contact: <sip:eve", "Contact: tel:+491", "Contact: *",
        "Record-Route: <sip:192.0.2.20;lr>", "Record-Route: <sip:192.0.2.20", "Record-Route: @",
        "Record-Route: <tel:12>", "Allow: INVITE, UPDATE", "Allow: INVITE", "Allow: @@",
        "Session-Expires: 100;refresher=uac", "Session-Expires: 100;refresher=uas",
        "Session-Expires: 20", "Session-Expires: <", "Min-SE: 200", "Min-SE: x",
        'WWW-Authenticate: Digest realm="r", nonce="n", stale=true', "WWW-Authenticate: Digest",
        'Proxy-Authenticate: Digest realm="p", nonce="n", qop="auth"', "Content-Type: text/plain",
        "Refer-To: <sip:carol@192.0.2.9>", "Refer-To: <", "Event: refer", "Event: presence",
        "Subscription-State: terminated", "Content-Type: application/dtmf", "Info-Package: x",
        "Replaces: c1@peer;to-tag=token1;from-tag=bob", "Expires: 3", "Retry-After: 0",
    ]),
    max_size=3,
)  # fmt: skip
LIES = st.one_of(st.just([]), _LIES)
BODIES = st.sampled_from([b"", SDP, b"SIP/2.0 180 Ringing\r\n", b"SIP/2.0 200 OK\r\n", b"\xff"])
TAGS = st.sampled_from(["bob", "bob", "carol", ""])


class AnyOrder(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        tokens = count()
        self.core = SipCore(
            contact_for=lambda hop: SipUri.of("192.0.2.1", 5060),
            tokens=lambda: f"token{next(tokens)}",
            user_agent="Trunkline",
        )
        self.now = 0.0
        self.numbers = count(1)
        self.asked: list[Request] = []  # by the core
        self.said: list[bytes] = []  # by the peer
        self.calls: list[DialogId] = []
        self.cseqs = Counter[str]()
        self.dialogs: list[tuple[str, NameAddr, NameAddr]] = []  # Call-ID, the peer, we
        self.over: dict[DialogId, tuple[type, ...]] = {}  # what may still be heard of it

    # The user

    @precondition(lambda self: len(self.calls) < 4)  # or there would be nothing else
    @rule(hops=st.permutations(HOPS), credentials=st.booleans(), large=st.booleans())
    def call(self, hops: list[Hop], credentials: bool, large: bool) -> None:
        digest = (
            DigestClient(Credentials("us", "secret"), lambda: "cnonce") if credentials else None
        )
        headers = (("Subject", "x" * 1000),) if large else ()
        ask = Ask(
            "INVITE", BOB.uri, BOB, BOB, tuple(hops), headers=headers, body=SDP, digest=digest
        )
        self.calls.append(self.core.call(ask, self.now))

    @rule(hop=st.sampled_from(HOPS))
    def ask(self, hop: Hop) -> None:
        self.core.ask(Ask("OPTIONS", BOB.uri, BOB, BOB, (hop,)), self.now)

    @precondition(lambda self: self.calls)
    @rule(
        data=st.data(),
        act=st.sampled_from([
            lambda core, name, now: core.ring(name, now),
            lambda core, name, now: core.ring(name, now, 183, SDP),
            lambda core, name, now: core.accept(name, SDP, now),
            lambda core, name, now: core.accept(name, SDP, now),
            lambda core, name, now: core.reject(name, 486, now),
            lambda core, name, now: core.reoffer(name, SDP, now),
            lambda core, name, now: core.refer(name, BOB, now),
            lambda core, name, now: core.answer_refer(name, 202, now),
            lambda core, name, now: core.answer_refer(name, 603, now),
            lambda core, name, now: core.notify(name, 180, "Ringing", now),
            lambda core, name, now: core.notify(name, 200, "OK", now),
            lambda core, name, now: core.info(name, "application/dtmf", b"5", now),
        ]),
    )  # fmt: skip
    def act(self, data: st.DataObject, act: Callable[[SipCore, DialogId, float], bool]) -> None:
        act(self.core, data.draw(st.sampled_from(self.calls[-3:])), self.now)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.calls[-3:])))

    def end(self, name: DialogId) -> None:
        if self.core.hang_up(name, self.now):
            self.over.setdefault(name, AFTER_HANGING_UP)

    # The peer

    @precondition(lambda self: len(self.calls) < 4)
    @rule(lies=LIES, body=BODIES)
    def new_call(self, lies: list[str], body: bytes) -> None:
        dialog = (f"c{next(self.numbers)}@peer", BOB.tagged("bob"), NameAddr(BOB.uri))
        self.say_request("INVITE", dialog, 1, lies, body)

    @precondition(lambda self: len(self.calls) < 4)
    @rule(ours=st.booleans(), lies=LIES)
    def settle(self, ours: bool, lies: list[str]) -> None:
        """A call is answered, as calls are."""
        if ours:
            self.call([UDP], credentials=True, large=False)
            self.look()
            asked = self.asked[-1]
            self.say("SIP/2.0 200 OK", asked, asked.to.tagged("bob"), lies, SDP)
        else:
            self.new_call([], SDP)
            self.look()
            self.core.accept(self.calls[-1], SDP, self.now)
            self.look()
            self.say_request("ACK", self.dialogs[-1], 1, lies, b"")

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), status=st.sampled_from([200, 200, 491, 202]))
    def answer_honestly(self, data: st.DataObject, status: int) -> None:
        asked = data.draw(st.sampled_from(self.asked[-3:]))
        to = asked.to if asked.to.tag else asked.to.tagged("bob")
        self.say(f"SIP/2.0 {status} Whatever", asked, to, [], SDP)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), status=st.sampled_from(STATUSES), tag=TAGS, lies=LIES, body=BODIES)
    def answer(
        self, data: st.DataObject, status: int, tag: str, lies: list[str], body: bytes
    ) -> None:
        asked = data.draw(st.sampled_from(self.asked[-4:]))
        to = asked.to if asked.to.tag or not tag else asked.to.tagged(tag)
        self.say(f"SIP/2.0 {status} Whatever", asked, to, lies, body)

    @precondition(lambda self: self.dialogs)
    @rule(
        data=st.data(),
        method=st.sampled_from(METHODS),
        step=st.sampled_from([1, 1, 1, 1, 0, -1]),
        lies=LIES,
        body=BODIES,
    )
    def request(
        self, data: st.DataObject, method: str, step: int, lies: list[str], body: bytes
    ) -> None:
        dialog = data.draw(st.sampled_from(self.dialogs[-5:]))
        self.cseqs[dialog[0]] += step
        self.say_request(method, dialog, max(1, self.cseqs[dialog[0]]), lies, body)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        self.core.receive(data.draw(st.sampled_from(self.said[-8:])), UDP, self.now)

    @rule(hop=st.sampled_from(HOPS[1:]))
    def cannot_be_sent(self, hop: Hop) -> None:
        self.core.transport_failed(hop, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.6, 3.0, 33.0, 181.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.core.next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.handle_timers(self.now)
            self.look()
        self.now = end

    def say_request(
        self,
        method: str,
        dialog: tuple[str, NameAddr, NameAddr],
        cseq: int,
        lies: list[str],
        body: bytes,
    ) -> None:
        call_id, peer, us = dialog
        branch = cseq if method in ("INVITE", "CANCEL") else f"{cseq}{method}{len(self.said)}"
        lines = [
            f"{method} sip:bot@192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK-{call_id}-{branch}",
            f"From: {peer}", f"To: {us}", f"Call-ID: {call_id}", f"CSeq: {cseq} {method}",
        ]  # fmt: skip
        self.write(lines, lies, body)

    def say(self, start: str, asked: Request, to: NameAddr, lies: list[str], body: bytes) -> None:
        lines = [
            start, f"Via: {asked.via}", f"From: {asked.from_}", f"To: {to}",
            f"Call-ID: {asked.call_id}", f"CSeq: {asked.cseq}",
        ]  # fmt: skip
        self.dialogs.append((asked.call_id, to, asked.from_))
        self.write(lines, lies, body)

    def write(self, lines: list[str], lies: list[str], body: bytes) -> None:
        data = "\r\n".join([*lines, *lies, "", ""]).encode() + body
        self.said.append(data)
        self.core.receive(data, UDP, self.now)

    # What is seen of it

    @invariant()
    def look(self) -> None:
        for out in self.core.messages_to_send():
            message = parse_datagram(out.data)
            if isinstance(message, Request) and message.method not in ("ACK", "CANCEL"):
                self.asked.append(message)
            elif isinstance(message, Response) and message.to.tag and message.status < 300:
                self.dialogs.append((message.call_id, message.from_, message.to))
        while (event := self.core.next_event()) is not None:
            if not isinstance(event, AskAnswered):
                self.heard(event)

    def heard(self, event: Event) -> None:
        assert not isinstance(event, AskAnswered)
        name = event.dialog
        if isinstance(event, InviteReceived):
            self.calls.append(name)
        assert isinstance(event, self.over.get(name, object)), (event, self.over.get(name))
        if isinstance(event, GONE):
            self.over[name] = ()
        elif isinstance(event, OVER):
            self.over[name] = (*STILL, ByeReceived) if name not in self.over else AFTER_HANGING_UP

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        for name in self.calls:
            self.end(name)
        for _ in range(10_000):
            if (due := self.core.next_timer()) is None:
                break
            self.now = max(self.now, due)
            self.core.handle_timers(self.now)
            self.look()
        core = self.core
        assert (core.live_dialogs, core.live_transactions, len(core._timers)) == (0, 0, 0)
        assert (core._clients._asking, core._incoming._pending) == ({}, {})
        assert core._incoming._unacknowledged == {}


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAnyOrder = AnyOrder.TestCase
