"""Who is let in, and how much is said of those who are not."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from calls.agent import Agent, Agents
from ingress_sip.admission import Admission, caller_of, number_called
from ingress_sip.limits import Allowance, Silence, SourceLimits
from ingress_sip.media_setup import MediaConfig
from ingress_sip.signalling.digest import Credentials, DigestClient
from ingress_sip.signalling.errors import IgnoredError, SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.trunking.config import OPEN, Trunks
from ingress_sip.trunking.policy import Admitted, Policy
from telemetry import metrics

SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP {codec}\r\n"
)


STRANGER = Hop(Transport.UDP, "192.0.2.7", 5060)
CARRIER = Hop(Transport.UDP, "198.51.100.9", 5060)
PLENTY = Allowance(1000.0, 1000.0)
MEDIA = MediaConfig()
SECRETS = {"ALICE": "secret"}
TRUNKS = {
    "trunks": [
        {"name": "carrier", "uri": "sip:198.51.100.9", "allow": ["198.51.100.0/24"],
         "codecs": ["PCMA"], "max_calls": 1},
    ],
    "phones": {"realm": "pbx.example", "users": [{"name": "alice", "password_env": "ALICE"}]},
}  # fmt: skip


def trunks(**policy: Any) -> Trunks:
    return Trunks.model_validate({**TRUNKS, "policy": policy})


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
    def __init__(self, config: Trunks = OPEN) -> None:
        self.short: Any = None
        self.now = 0.0
        agents = Agents(agents=(Agent(name="desk", numbers=("100",)),))
        self.limits = SourceLimits(PLENTY, PLENTY, Silence(failures=3))
        self.policy = Policy(config, SECRETS.get, (f"token{n}" for n in count()).__next__)
        self.admission = Admission(
            agents,
            self.policy,
            self.limits,
            media=MEDIA,
            shortage=lambda: self.short,
            clock_s=lambda: self.now,
        )

    def screen(self, request: Request, source: Hop = STRANGER) -> Admitted:
        return self.admission.screen(request, source, self.now)

    def answer(self, request: Request, source: Hop = STRANGER) -> SipError:
        with pytest.raises(SipError) as refused:
            self.screen(request, source)
        return refused.value

    def is_heard(self, request: Request, source: Hop = STRANGER) -> bool:
        try:
            self.admission.admit(request, source, self.now)
        except IgnoredError:
            return False
        return True


@pytest.mark.parametrize("body", ["", SDP.format(codec=0), SDP.format(codec="8 101")])
def test_a_call_that_can_be_carried_is_let_in(body: str) -> None:
    assert Door().screen(invite(body=body)).number == "100"


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


# Trunks, phones and strangers


def test_a_trunk_is_known_by_its_address_and_speaks_its_codecs() -> None:
    door = Door(trunks(unknown_callers="reject"))
    admitted = door.screen(invite(body=SDP.format(codec="0 8")), CARRIER)
    assert admitted.trunk is not None
    assert admitted.trunk.name == "carrier"
    assert door.answer(invite(body=SDP.format(codec="0")), CARRIER).status == 488


def test_a_full_trunk_and_a_full_number_say_when_to_come_again() -> None:
    door = Door(trunks(unknown_callers="accept", max_calls_per_number={"100": 1}))
    line = door.screen(invite(), CARRIER).line
    door.policy.lines.take(line)
    refusal = door.answer(invite(), CARRIER)
    assert (refusal.status, dict(refusal.headers)["Retry-After"]) == (503, "10")
    refusal = door.answer(invite(caller="sip:eve@elsewhere.example"))
    assert (refusal.status, dict(refusal.headers)["Retry-After"]) == (486, "10")
    door.policy.lines.free(line)
    assert door.screen(invite(), CARRIER)


def answered(door: Door, password: str, source: Hop = STRANGER) -> Request:
    """An INVITE with an answer to the challenge that one without it gets."""
    plain = invite(caller="sip:alice@pbx.example")
    challenge = door.answer(plain, source)
    assert challenge.status == 401
    client = DigestClient(Credentials("alice", password), cnonce=lambda: "c")
    assert client.challenged(Headers(challenge.headers))
    fields = client.headers("INVITE", str(plain.uri), b"")
    return Request("INVITE", plain.uri, headers=Headers((*plain.headers.items, *fields)))


def test_whoever_knows_the_password_is_let_in_and_who_guesses_falls_silent() -> None:
    door = Door(trunks(unknown_callers="reject"))
    assert door.screen(answered(door, "secret")).user == "alice"
    for _ in range(3):
        assert door.answer(answered(door, "guessed")).status == 401
    assert not door.limits.admits(STRANGER.host, door.now)
    assert door.limits.admits("203.0.113.9", door.now)


def test_nobody_is_silenced_by_what_somebody_else_sends_in_its_name() -> None:
    door = Door(trunks(unknown_callers="reject"))
    elsewhere = Hop(Transport.UDP, "203.0.113.66", 5060)
    for _ in range(10):
        forged = answered(door, "guessed", elsewhere)  # the challenge went elsewhere
        assert door.answer(forged, STRANGER).status == 401
    assert door.limits.admits(STRANGER.host, door.now)


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "SUBSCRIBE", "BYE", "INVITE", "REGISTER"])
def test_where_we_are_silent_a_stranger_hears_nothing(method: str) -> None:
    door = Door(trunks(unknown_callers="silent"))
    asked = invite(caller="sip:100@192.0.2.1")
    asked = Request(method, asked.uri, headers=asked.headers)
    assert not door.is_heard(asked)
    assert not door.admission.hears(STRANGER, door.now)
    assert door.is_heard(asked, CARRIER)
    assert door.admission.hears(CARRIER, door.now)


def test_a_source_may_begin_only_so_much() -> None:
    door = Door()
    heard = [door.is_heard(invite()) for _ in range(1500)]
    assert heard.count(True) == 1000
