"""Who is let in, how much is said of those who are not, and to whom nothing is said at all."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from calls.agent import Agent, Agents
from ingress_sip.admission import Admission, caller_of, number_called
from ingress_sip.limits import Allowance, Silence, SourceLimits
from ingress_sip.media_setup import MediaConfig
from ingress_sip.sdp.security import MediaSecurity
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.digest import Credentials, DigestClient
from ingress_sip.signalling.errors import IgnoredError, SipError
from ingress_sip.signalling.events import InviteReceived
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.presence import MOST_OPEN
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri
from ingress_sip.trunking.config import Trunks
from ingress_sip.trunking.policy import Admitted, Policy
from telemetry import metrics

STRANGER = Hop(Transport.UDP, "203.0.113.99", 5060)
PEER = Hop(Transport.UDP, "192.0.2.7", 5060)
TRUNK = {"name": "acme", "uri": "sip:acme.example", "allow": ["192.0.2.0/24"]}
PHONES = {"realm": "example.com", "users": [{"name": "alice", "password_env": "ALICE"}]}
MEDIA = MediaConfig()
#: A key of the length that AES_CM_128_HMAC_SHA1_80 has.
CRYPTO = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\r\n"
ALICE = "sip:alice@example.com"
SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    "m=audio 4000 {profile} {codec}\r\n"
)


def sdp(codec: int | str, profile: str = "RTP/AVP") -> str:
    return SDP.format(codec=codec, profile=profile)


def written(
    user: str = "100",
    body: str = "",
    caller: str = "sip:bob@192.0.2.7",
    *,
    method: str = "INVITE",
    call: str = "1",
    tag: str = "",
    extra: str = "",
) -> bytes:
    to = caller if method == "REGISTER" else "sip:bot@192.0.2.1"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    text = (
        f"{method} sip:{user}@192.0.2.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{call};rport\r\n"
        f"From: <{caller}>;tag=a\r\nTo: <{to}>{tag}\r\nContact: <sip:x@192.0.2.7>\r\n"
        f"Call-ID: {call}\r\nCSeq: 1 {method}\r\n{extra}{kind}\r\n{body}"
    )
    return text.encode("utf-8", "surrogateescape")


def invite(*args: Any, **fields: Any) -> Request:
    message = parse_datagram(written(*args, **fields))
    assert isinstance(message, Request)
    return message


class Door:
    """An admission with a core before it."""

    def __init__(
        self,
        *trunks: dict[str, Any],
        unknown: str = "accept",
        phones: dict[str, Any] | None = None,
        per_number: dict[str, int] | None = None,
        beginnings: int = 1000,
        media: MediaConfig = MEDIA,
    ) -> None:
        self.short: Any = None
        self.now = 0.0
        tokens = (f"token{number}" for number in count())
        rules = {"unknown_callers": unknown, "max_calls_per_number": per_number or {}}
        config = Trunks.model_validate({"trunks": trunks, "phones": phones, "policy": rules})
        self.policy = Policy(config, lambda variable: f"password of {variable}", tokens.__next__)
        self.limits = SourceLimits(
            Allowance(1000, 1000), Allowance(0, beginnings), Silence(failures=3)
        )
        self.admission = Admission(
            Agents(agents=(Agent(name="desk", numbers=("100",)),)),
            self.policy,
            self.limits,
            media=media,
            shortage=lambda: self.short,
            clock_s=lambda: self.now,
        )
        self.core = SipCore(
            contact_for=lambda peer: SipUri.of("192.0.2.1"),
            tokens=tokens.__next__,
            user_agent="x",
            policy=self.admission,
        )

    def screen(self, request: Request, source: Hop = PEER) -> Admitted:
        return self.admission.screen(request, source, self.now)

    def answer(self, request: Request, source: Hop = PEER) -> SipError:
        with pytest.raises(SipError) as refused:
            self.screen(request, source)
        return refused.value

    def send(self, data: bytes, source: Hop = STRANGER) -> list[bytes]:
        """What a datagram brings."""
        self.core.receive(data, source, self.now)
        return [out.data for out in self.core.messages_to_send()]

    def guess(self, source: Hop, *, nonce_of: Hop | None = None, method: str = "INVITE") -> None:
        """Answer a challenge with a wrong password; one that another host was sent, perhaps."""
        client = DigestClient(Credentials("alice", "wrong"), lambda: "c")
        act = self.screen if method == "INVITE" else self.bind
        request = invite(caller=ALICE, method=method)
        with pytest.raises(SipError) as asked:
            act(request, nonce_of or source)
        assert client.challenged(headers_of(asked.value))
        [(name, value)] = client.headers(method, str(request.uri), b"")
        with pytest.raises(SipError) as refused:
            act(invite(caller=ALICE, method=method, extra=f"{name}: {value}\r\n"), source)
        assert refused.value.status == 401

    def bind(self, request: Request, source: Hop) -> object:
        return self.admission.register(request, source, self.now)

    def hears(self, source: Hop) -> bool:
        return self.limits.admits(source.host, self.now)


def headers_of(error: SipError) -> Headers:
    return Headers(error.headers)


@pytest.mark.parametrize("body", ["", sdp(0), sdp("8 101")])
def test_a_call_that_can_be_carried_is_let_in(body: str) -> None:
    assert Door().screen(invite(body=body)).number == "100"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (invite("300"), 404),
        (invite("\udcff"), 404),
        (invite(body=sdp(18)), 488),
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


# What trunks allow


@pytest.mark.parametrize(
    ("trunk", "body", "status"),
    [
        ({"codecs": ["PCMU"]}, sdp(0), None),
        ({"codecs": ["PCMU"]}, sdp(8), 488),
        ({"codecs": ["PCMA"]}, sdp("0 8"), None),
        ({"srtp": "off"}, sdp(0), None),
        ({"srtp": "off"}, sdp(0, "RTP/SAVP") + CRYPTO, 488),
        ({"srtp": "allowed"}, sdp(0), None),
        ({"srtp": "required"}, sdp(0), 488),
    ],
)
def test_a_trunk_says_what_media_its_calls_have(
    trunk: dict[str, Any], body: str, status: int | None
) -> None:
    door = Door(TRUNK | trunk)
    if status is None:
        admitted = door.screen(invite(body=body))
        assert admitted.trunk is not None
        assert admitted.trunk.name == "acme"
    else:
        assert door.answer(invite(body=body)).status == status


def test_strangers_have_the_media_of_the_house() -> None:
    strict = MediaConfig(security=MediaSecurity.REQUIRED)
    assert Door(media=strict).answer(invite(body=sdp(0))).status == 488


def test_a_trunk_or_a_number_that_is_full_says_when_to_come_again() -> None:
    door = Door(TRUNK | {"max_calls": 1}, per_number={"100": 2})
    admitted = door.screen(invite())
    door.policy.lines.take(admitted.line)
    full = door.answer(invite())
    assert (full.status, full.headers) == (503, (("Retry-After", "10"),))
    stranger = door.screen(invite(), STRANGER)
    door.policy.lines.take(stranger.line)
    busy = door.answer(invite(), STRANGER)
    assert (busy.status, busy.headers) == (486, (("Retry-After", "10"),))


# Whoever is neither a trunk nor a phone


@pytest.mark.parametrize(("unknown", "answered"), [("accept", b"100"), ("reject", b"403")])
def test_strangers_are_let_in_or_refused(unknown: str, answered: bytes) -> None:
    [answer] = Door(TRUNK, unknown=unknown).send(written())
    assert answer.split()[1] == answered


PROBES = {
    "INVITE": written(),
    "INVITE, no agent": written("300"),
    "INVITE, no number": written(extra="Require: x\r\n"),
    "INVITE, late": written(tag=";tag=invented"),
    "INVITE, large": written(body="x" * 20_000),
    "OPTIONS": written(method="OPTIONS"),
    "REGISTER": written(method="REGISTER"),
    "REGISTER, of us by address": written(method="REGISTER", caller="sip:100@192.0.2.1"),
    "CANCEL": written(method="CANCEL"),
    **{
        f"{method} in a call": written(method=method, tag=";tag=invented")
        for method in ("ACK", "BYE", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY", "OPTIONS")
    },
    "SUBSCRIBE": written(method="SUBSCRIBE"),
    "MESSAGE": written(method="MESSAGE"),
    "unknown method": written(method="x"),
    "unknown version": written().replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1),
    "malformed": written().replace(b"CSeq: 1 INVITE", b"CSeq: x"),
    "no Call-ID": written().replace(b"Call-ID: 1\r\n", b""),
    "response": b"SIP/2.0 200 OK" + written()[written().index(b"\r\n") :],
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "keep-alive": b"\r\n\r\n",
    "nothing": b"",
}


#: An answer to a challenge that nobody gave.
INVENTED = (
    'Authorization: Digest username="alice",realm="example.com",nonce="0.t.x",'
    f'uri="sip:100@192.0.2.1",response="{"0" * 32}"'
)
PROBES |= {
    f"{name}, with an answer": probe.replace(b"\r\n", f"\r\n{INVENTED}\r\n".encode(), 1)
    for name, probe in PROBES.items()
    if name not in ("keep-alive", "nothing")
}


@pytest.mark.parametrize("phones", [None, PHONES], ids=["no phones", "phones"])
@pytest.mark.parametrize("probe", PROBES)
def test_where_we_are_silent_a_scanner_finds_nobody(
    probe: str, phones: dict[str, Any] | None
) -> None:
    door = Door(TRUNK, unknown="silent", phones=phones)
    assert door.send(PROBES[probe]) == []
    assert door.core.live_transactions == 0
    assert door.core.next_event() is None


def test_nor_does_one_who_guesses_at_a_call_that_is_there() -> None:
    door = Door(TRUNK, unknown="silent")
    door.send(written(), PEER)
    event = door.core.next_event()
    assert isinstance(event, InviteReceived)
    for probe in PROBES.values():
        assert door.send(probe.replace(b"branch=z9hG4bK1", b"branch=z9hG4bK2")) == []
    assert door.send(written(method="CANCEL")) == []  # all that it would need, from elsewhere
    assert door.send(written(method="BYE", tag=f";tag={event.dialog.local_tag}"), PEER) != []


def test_a_trunk_is_answered_where_we_are_silent() -> None:
    for probe in ("OPTIONS", "INVITE, no agent", "CANCEL", "BYE in a call", "malformed"):
        assert len(Door(TRUNK, unknown="silent").send(PROBES[probe], PEER)) == 1


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
@pytest.mark.parametrize("unknown", ["silent", "reject"])
def test_whoever_knows_our_name_learns_nothing_of_our_users(unknown: str, method: str) -> None:
    door = Door(TRUNK, unknown=unknown, phones=PHONES)
    answers = []
    for user in ("alice", "nobody", "100", ""):
        caller = f"sip:{user}{'@' if user else ''}example.com"
        [answer] = door.send(written(method=method, caller=caller))
        answers.append(answer.split(b"\r\n")[0])
    assert set(answers) == {b"SIP/2.0 401 Unauthorized"}


def test_what_begins_something_is_heard_so_often() -> None:
    door = Door(beginnings=3)
    answers = [len(door.send(written(method="OPTIONS", call=str(n)))) for n in range(5)]
    assert answers == [1, 1, 1, 0, 0]
    assert door.send(PROBES["malformed"]) == []


def test_a_trunk_is_no_flood_wherever_its_name_leads() -> None:
    door = Door({"name": "acme", "uri": "sip:acme.example"}, beginnings=1)
    door.policy.addresses.resolved("acme", [PEER.host])
    assert all(door.send(written(method="OPTIONS", call=str(n)), PEER) for n in range(5))
    assert door.admission.hears(PEER, 0.0)
    door.policy.addresses.resolved("acme", [STRANGER.host])  # it has moved
    assert door.send(written(method="OPTIONS", call="6"), PEER) == []
    assert not door.admission.hears(PEER, 0.0)


# Guessing


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_whoever_guesses_is_not_heard_for_a_while(method: str) -> None:
    door = Door(phones=PHONES, unknown="reject")
    for _ in range(3):
        assert door.hears(STRANGER)
        door.guess(STRANGER, method=method)
    assert not door.hears(STRANGER)
    assert door.hears(PEER)
    door.now = 121.0
    assert door.hears(STRANGER)


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_nobody_is_silenced_by_guesses_in_its_name(method: str) -> None:
    """A forged source never saw a challenge: it brings one of its own, or an invented one."""
    door = Door(phones=PHONES, unknown="reject")
    for _ in range(10):
        door.guess(PEER, nonce_of=STRANGER, method=method)
    for _ in range(10):
        with pytest.raises(SipError):
            door.screen(invite(caller=ALICE, extra=f"{INVENTED}\r\n"), PEER)
    assert door.hears(PEER)


def test_without_an_answer_there_is_no_guess() -> None:
    door = Door(phones=PHONES, unknown="reject")
    for _ in range(10):
        assert door.answer(invite(caller=ALICE)).status == 401
    assert door.hears(PEER)


def test_where_there_is_no_registrar_nobody_registers() -> None:
    assert Door().admission.register(invite(method="REGISTER"), PEER, 0.0) is None


def test_silence_and_floods_are_no_refusals() -> None:
    door = Door(TRUNK, unknown="silent", beginnings=1)
    with capture_logs() as logs:
        with pytest.raises(IgnoredError):
            door.screen(invite(), STRANGER)
        for _ in range(2):
            with pytest.raises(IgnoredError):
                door.admission.admit(invite(), STRANGER, 0.0)
    assert logs == []


def test_trunks_and_whoever_has_no_limits_are_taken_at_their_word() -> None:
    door = Door(TRUNK)
    stranger = Admitted("100")
    assert door.admission.trusts(PEER, stranger)
    assert not door.admission.trusts(STRANGER, stranger)
    door.limits.trust(["203.0.113.0/24"])
    assert door.admission.trusts(STRANGER, stranger)


def test_whoever_answered_a_challenge_may_call_as_it_likes() -> None:
    door = Door(phones=PHONES, unknown="reject")
    for number in range(2 * MOST_OPEN):
        [challenge] = door.send(written(caller=ALICE, call=f"{number}a"))
        client = DigestClient(Credentials("alice", "password of ALICE"), lambda: "c")
        refusal = parse_datagram(challenge)
        assert isinstance(refusal, Response)
        client.challenged(refusal.headers)
        [(name, value)] = client.headers("INVITE", "sip:100@192.0.2.1", b"")
        said = door.send(written(caller=ALICE, call=f"{number}b", extra=f"{name}: {value}\r\n"))
        assert said[0].startswith(b"SIP/2.0 100 ")
    assert door.core.live_dialogs == 2 * MOST_OPEN
