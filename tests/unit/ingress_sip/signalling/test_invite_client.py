"""The table of the INVITE client transaction: RFC 3261 figure 5 with RFC 6026 7.2, row by row."""

from __future__ import annotations

from collections import deque

import pytest

from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.invite_client import InviteClient, ack_for_failure, cancel_of
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.timers import TimerQueue, Timing
from ingress_sip.signalling.transaction import (
    Input,
    Outgoing,
    State,
    Surroundings,
    Timer,
    TimerName,
    key_of,
)
from ingress_sip.signalling.uri import SipUri

INVITE = Request(
    "INVITE",
    SipUri.of("192.0.2.7"),
    headers=Headers([
        ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa"),
        ("Via", "SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKb"),
        ("Route", "<sip:192.0.2.20;lr>"),
        ("Route", "<sip:192.0.2.21;lr>"),
        ("From", "<sip:us@192.0.2.1>;tag=us"),
        ("To", "<sip:bob@192.0.2.7>"),
        ("Call-ID", "call"),
        ("CSeq", "7 INVITE"),
        ("Contact", "<sip:192.0.2.1>"),
    ]),
    body=b"v=0\r\n",
)  # fmt: skip
C, P, X = State.CALLING, State.PROCEEDING, State.CANCELLED
ACCEPTED, COMPLETED, TERMINATED = State.ACCEPTED, State.COMPLETED, State.TERMINATED

#: How each state is reached.
WAYS: dict[State, tuple[Input | Timer, ...]] = {
    C: (),
    P: (Input.PROVISIONAL,),
    X: (Input.PROVISIONAL, Input.CANCEL),
    ACCEPTED: (Input.SUCCESS,),
    COMPLETED: (Input.FAILURE,),
    TERMINATED: (Timer.B,),
}

#: (state, what happens, next state, messages sent, timers that run then over UDP)
ROWS = [
    # Figure 5
    (C, Timer.A, C, 1, {Timer.A, Timer.B}),
    (C, Timer.B, TERMINATED, 0, set()),
    (C, Input.PROVISIONAL, P, 0, {Timer.C}),
    (C, Input.FAILURE, COMPLETED, 1, {Timer.D}),
    (P, Input.PROVISIONAL, P, 0, {Timer.C}),
    (P, Input.FAILURE, COMPLETED, 1, {Timer.D}),
    (COMPLETED, Input.FAILURE, COMPLETED, 1, {Timer.D}),
    (COMPLETED, Timer.D, TERMINATED, 0, set()),
    # RFC 6026 7.2, in the place of "2xx: terminated"
    (C, Input.SUCCESS, ACCEPTED, 0, {Timer.M}),
    (P, Input.SUCCESS, ACCEPTED, 0, {Timer.M}),
    (ACCEPTED, Input.SUCCESS, ACCEPTED, 0, {Timer.M}),
    (ACCEPTED, Timer.M, TERMINATED, 0, set()),
    # 16.8 and 9.1
    (P, Timer.C, P, 0, set()),
    (P, Input.CANCEL, X, 0, {Timer.B}),
    (X, Input.PROVISIONAL, X, 0, {Timer.B}),
    (X, Input.SUCCESS, ACCEPTED, 0, {Timer.M}),
    (X, Input.FAILURE, COMPLETED, 1, {Timer.D}),
    (X, Timer.B, TERMINATED, 0, set()),
]  # fmt: skip


class Bench:
    def __init__(self, transport: Transport = Transport.UDP) -> None:
        self.timers: TimerQueue[TimerName] = TimerQueue()
        self.outbox: deque[Outgoing] = deque()
        hop = Hop(transport, "192.0.2.7", 5060)
        surroundings = Surroundings(Timing(), self.timers, self.outbox)
        self.client = InviteClient(key_of(INVITE), INVITE, hop, surroundings, 0.0)

    def feed(self, happened: Input | Timer) -> bool:
        if isinstance(happened, Timer):
            self.timers.cancel((self.client.key, happened))
        return self.client.step(happened, 0.0)

    @property
    def running(self) -> set[Timer]:
        return {timer for _, timer in self.timers._due}


@pytest.mark.parametrize(("state", "happened", "then", "sent", "running"), ROWS)
def test_row(
    state: State, happened: Input | Timer, then: State, sent: int, running: set[Timer]
) -> None:
    bench = Bench()
    for step in WAYS[state]:
        bench.feed(step)
    assert bench.client.state is state
    bench.outbox.clear()
    assert bench.feed(happened)
    assert (bench.client.state, len(bench.outbox), bench.running) == (then, sent, running)


def test_these_are_all_rows_and_what_is_in_none_changes_nothing() -> None:
    assert {(state, happened) for state, happened, *_ in ROWS} == set(InviteClient.table)
    for state, way in WAYS.items():
        for happened in (*Input, *Timer):
            if (state, happened) not in InviteClient.table:
                bench = Bench()
                for step in way:
                    bench.feed(step)
                bench.outbox.clear()
                assert not bench.client.step(happened, 0.0)
                assert (bench.client.state, len(bench.outbox)) == (state, 0)


def test_over_tcp_nothing_is_resent_and_nothing_lingers() -> None:
    bench = Bench(Transport.TCP)
    assert bench.running == {Timer.B}
    bench.feed(Input.FAILURE)
    assert bench.timers.next() == 0.0  # timer D


@pytest.mark.parametrize(
    ("statuses", "heard"),
    [
        ((100, 180, 180), (True, True, True)),
        ((486, 486, 200, 180), (True, False, False, False)),
        ((200, 200, 180, 486), (True, True, False, False)),
    ],
)
def test_what_the_core_hears(statuses: tuple[int, ...], heard: tuple[bool, ...]) -> None:
    bench = Bench()
    answers = [bench.client.received(answer(status), 0.0) for status in statuses]
    assert tuple(answers) == heard


def answer(status: int) -> Response:
    return build_response(INVITE, status, to_tag="bob")


def test_the_ack_of_a_failure_and_the_cancel_are_the_invites_own() -> None:
    ack, cancel = ack_for_failure(INVITE, answer(486)), cancel_of(INVITE)
    for request in (ack, cancel):  # 17.1.1.3, 9.1: one Via, the same route, From, Call-ID, number
        assert request.uri == INVITE.uri
        assert request.headers.get_all("Via") == INVITE.headers.get_all("Via")[:1]
        assert request.headers.get_all("Route") == INVITE.headers.get_all("Route")
        assert (request.from_, request.call_id) == (INVITE.from_, INVITE.call_id)
        assert (request.cseq.number, request.cseq.method) == (7, request.method)
        assert request.body == b""
    assert (ack.to.tag, cancel.to.tag) == ("bob", None)
