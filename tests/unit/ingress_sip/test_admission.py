"""Who is let in, and how much is said of those who are not."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from calls.agent import Agent, Agents
from ingress_sip.admission import Admission, caller_of, number_called
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parse import parse_datagram
from telemetry import metrics

SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP {codec}\r\n"
)


def invite(user: str = "100", body: str = "", caller: str = "sip:alice@192.0.2.7") -> Request:
    message = parse_datagram(
        (
            f"INVITE sip:{user}@192.0.2.1 SIP/2.0\r\n"
            "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1\r\n"
            f"From: <{caller}>;tag=a\r\nTo: <sip:bot@192.0.2.1>\r\n"
            f"Call-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n{body}"
        ).encode("utf-8", "surrogateescape")
    )
    assert isinstance(message, Request)
    return message


class Door:
    def __init__(self) -> None:
        self.short: Any = None
        self.now = 0.0
        agents = Agents(agents=(Agent(name="desk", numbers=("100",)),))
        self.admission = Admission(agents, lambda: self.short, lambda: self.now)

    def answer(self, request: Request) -> SipError:
        with pytest.raises(SipError) as refused:
            self.admission.screen(request)
        return refused.value


@pytest.mark.parametrize("body", ["", SDP.format(codec=0), SDP.format(codec="8 101")])
def test_a_call_that_can_be_carried_is_let_in(body: str) -> None:
    Door().admission.screen(invite(body=body))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (invite("300"), 404),
        (invite("\udcff"), 404),
        (invite(body=SDP.format(codec=18)), 488),
        (invite(body="no sdp"), 400),
    ],
)
def test_one_that_cannot_is_refused(request_: Request, status: int) -> None:
    assert Door().answer(request_).status == status


@pytest.mark.parametrize("short", ["lines", "pool_full", "pool_late", "pool_missing"])
def test_whoever_cannot_be_served_now_is_told_when_to_come_again(short: str) -> None:
    door = Door()
    door.short = short
    counted = metrics.CALLS_REFUSED.labels(short)._value.get()
    refusal = door.answer(invite())
    assert (refusal.status, refusal.headers) == (503, (("Retry-After", "10"),))
    assert metrics.CALLS_REFUSED.labels(short)._value.get() == counted + 1


def test_the_answer_repeats_none_of_the_peers_words() -> None:
    assert Door().answer(invite("%0d%0aX-Injected:yes")).reason == "Not Found"


def test_a_flood_is_told_of_once_a_second_and_counted() -> None:
    door = Door()
    with capture_logs() as logs:
        for tenth in range(25):
            door.now = tenth / 10
            door.answer(invite("300"))
    assert [(log["status"], log["others"]) for log in logs] == [(404, 0), (404, 9), (404, 9)]


def test_octets_that_are_no_text_have_no_place_in_a_log() -> None:
    odd = invite("a\udcffb%FE", caller="sip:\udcfe@192.0.2.7")
    assert number_called(odd) == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
    assert caller_of(odd) == "\N{REPLACEMENT CHARACTER}"
    assert caller_of(invite(caller="sip:192.0.2.7")) == "192.0.2.7"
    assert caller_of(invite(caller="urn:nobody")) == "anonymous"
