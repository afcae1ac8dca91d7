"""What transcripts cannot show of our own calls: limits, memory, and answers that lie."""

from __future__ import annotations

from itertools import count

import pytest

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.errors import LocalProtocolError
from ingress_sip.signalling.events import CallAnswered, CallProgress, CallRefused, Event
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri, parse_uri

UDP = Hop(Transport.UDP, "192.0.2.7", 5060)
TCP = Hop(Transport.TCP, "192.0.2.7", 5060, flow=3)
BOB = NameAddr.parse("<sip:bob@192.0.2.7>")
SDP = b"v=0\r\n"


class Line:
    """A core, and a peer that answers the newest request of each method."""

    def __init__(self, hop: Hop = UDP) -> None:
        tokens = count()
        self.hop = hop
        self.core = SipCore(
            contact_for=lambda _: SipUri.of("192.0.2.1", 5060),
            tokens=lambda: f"token{next(tokens)}",
            user_agent="Trunkline",
        )
        self.asked: dict[str, Request] = {}

    def call(self, body: bytes = SDP) -> DialogId:
        ask = Ask("INVITE", parse_uri("sip:bob@192.0.2.7"), BOB, BOB, (self.hop,), body=body)
        return self.core.call(ask, 0.0)

    def sent(self) -> list[str]:
        methods = []
        for out in self.core.messages_to_send():
            message = parse_datagram(out.data)
            if isinstance(message, Request):
                self.asked[message.method] = message
                methods.append(message.method)
        return methods

    def answer(self, status: int, *fields: str, method: str = "INVITE", tag: str = "bob") -> None:
        self.sent()
        asked = self.asked[method]
        to = asked.to if asked.to.tag else asked.to.tagged(tag)
        lines = [
            f"SIP/2.0 {status} Whatever", f"Via: {asked.via}", f"From: {asked.from_}", f"To: {to}",
            f"Call-ID: {asked.call_id}", f"CSeq: {asked.cseq}", *fields, "", "",
        ]  # fmt: skip
        self.core.receive("\r\n".join(lines).encode() + SDP, self.hop, 0.0)

    def events(self) -> list[Event]:
        events = []
        while (event := self.core.next_event()) is not None:
            events.append(event)
        return events


@pytest.mark.parametrize(
    "lie",
    [
        "Contact: <sip:bob", "Contact: tel:+491", "Contact: *", "Allow: <>", "Supported: @,",
        "Session-Expires: soon", "Require: <", "Require: unheard-of", "Min-SE: x",
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_read_does_not_cost_the_call(lie: str) -> None:
    line = Line()
    name = line.call()
    line.answer(180, lie)
    line.answer(200, lie)
    assert [type(event) for event in line.events()] == [CallProgress, CallAnswered]
    assert line.sent() == ["ACK"]
    assert line.core.target_of(name) == BOB.uri
    assert line.core.hang_up(name, 0.0)


def test_a_bad_allow_in_an_invite_leaves_nothing_behind() -> None:
    line = Line()  # it was answered 400 when the INVITE was taken already, which rang for ever
    invite = (
        b"INVITE sip:bot@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\n"
        b"From: <sip:a@b>;tag=a\r\nTo: <sip:bot@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        b"Contact: <sip:a@192.0.2.7>\r\nAllow: <>\r\n\r\n"
    )
    line.core.receive(invite, UDP, 0.0)
    assert len(line.events()) == line.core.live_dialogs == 1


def test_phones_that_answer_without_end_are_let_go_up_to_a_limit() -> None:
    line = Line()
    line.call()
    line.answer(200)
    for number in range(100):
        line.answer(200, tag=f"phone{number}")
    assert line.core.live_transactions <= 17


def test_early_dialogs_without_end_are_not_kept() -> None:
    line = Line()
    line.call()
    for number in range(100):
        line.answer(183, "Require: 100rel", "RSeq: 1", tag=f"phone{number}")
    assert line.core.live_transactions <= 17
    assert len(line.events()) == 100


def test_a_connection_that_fails_later_does_not_undo_an_answer() -> None:
    line = Line(TCP)
    line.call()
    line.answer(200)
    line.core.transport_failed(TCP, 0.0)
    assert [type(event) for event in line.events()] == [CallAnswered]
    line.answer(200)  # and its 2xx is acknowledged still (RFC 6026 7.2)
    assert line.sent() == ["ACK"]


def test_over_tcp_a_transaction_ends_with_its_answer() -> None:
    line = Line(TCP)
    line.call()
    line.answer(486)
    line.core.handle_timers(0.0)
    assert [type(event) for event in line.events()] == [CallRefused]
    assert (line.core.live_transactions, line.core.next_timer()) == (0, None)


def test_an_invite_of_ours_brings_an_offer() -> None:
    with pytest.raises(LocalProtocolError):
        Line().call(b"")


def test_a_refer_is_answered_finally() -> None:
    line = Line()
    with pytest.raises(LocalProtocolError):
        line.core.answer_refer(line.call(), 100, 0.0)


def test_nothing_but_hanging_up_can_be_done_before_the_answer() -> None:
    core, name = (line := Line()).core, line.call()
    assert not core.ring(name, 0.0)
    assert not core.accept(name, SDP, 0.0)
    assert not core.reject(name, 486, 0.0)
    assert not core.reoffer(name, SDP, 0.0)
    assert not core.refer(name, BOB, 0.0)
    assert not core.answer_refer(name, 202, 0.0)
    assert not core.notify(name, 200, "OK", 0.0)
    assert not core.info(name, "application/dtmf", b"5", 0.0)
    assert core.replaces_header(name) is None
    assert core.hang_up(name, 0.0)


def test_a_call_can_be_asked_for_by_its_peer() -> None:
    line = Line()
    name = line.call()
    line.answer(200)
    # RFC 3891 3: the tags as the peer sees them
    assert line.core.replaces_header(name) == f"{name.call_id};to-tag=bob;from-tag={name.local_tag}"
