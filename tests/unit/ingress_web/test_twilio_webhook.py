from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from ingress_web.carriers import twiml
from ingress_web.door import Refused
from ingress_web.tokens import LIFE_S
from ingress_web.webhooks import Answer, Request
from tests.support.twilio import ACCOUNT, CALL, OTHER_CALL, PUBLIC, Desk, fields


def _stream(answer: Answer) -> ET.Element:
    assert answer.status == 200, answer
    assert answer.content_type == "text/xml"
    stream = ET.fromstring(answer.body).find("Connect/Stream")
    assert stream is not None, answer.body
    return stream


def _parameters(answer: Answer) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in _stream(answer)}


def _token(answer: Answer) -> str:
    return _parameters(answer)[twiml.TOKEN]


def _action(answer: Answer) -> str:
    connect = ET.fromstring(answer.body).find("Connect")
    assert connect is not None
    return connect.attrib["action"].removeprefix(PUBLIC)


def _verb(answer: Answer) -> str:
    assert answer.status == 200, answer
    return ET.tostring(ET.fromstring(answer.body)[0], encoding="unicode")


async def _offered(desk: Desk) -> Answer:
    return await desk.webhook.voice(desk.request("/twilio/voice", fields()))


async def test_a_call_is_connected_to_a_stream() -> None:
    desk = Desk()
    target = "/twilio/voice?tenant=acme&greeting=Hello+there"
    answer = await desk.webhook.voice(
        desk.request(target, fields(**{"SipHeader_X-Account": "42", "CallerName": "Zoë"}))
    )
    assert _stream(answer).attrib["url"] == "wss://voice.example.com/twilio/media"
    assert _stream(answer).attrib["statusCallback"] == f"{PUBLIC}/twilio/status"
    parameters = _parameters(answer)
    desk.tokens.redeem(parameters.pop(twiml.TOKEN), CALL, ACCOUNT)
    assert parameters == {"tenant": "acme", "greeting": "Hello there", "SipHeader_X-Account": "42"}
    (offer,) = desk.door.offers
    assert (offer.call, offer.account) == (CALL, ACCOUNT)
    assert (offer.caller, offer.called, offer.number) == ("+15557777", "+15550001", "+15550001")
    assert (offer.direction, offer.placed_as) == ("inbound", "")
    assert offer.parameters == parameters


async def test_a_call_that_we_placed_is_known_by_our_id() -> None:
    desk = Desk()
    target = twiml.placed_url("", twiml.VOICE, "20260101t000000-0123abcd")
    await desk.webhook.voice(
        desk.request(target, fields(Direction="outbound-api", CallStatus="in-progress"))
    )
    (offer,) = desk.door.offers
    assert (offer.direction, offer.placed_as) == ("outbound", "20260101t000000-0123abcd")
    assert offer.parameters == {}


@pytest.mark.parametrize(
    ("called", "number"),
    [
        ("+15550001", "+15550001"),
        ("sip:sales@acme.sip.twilio.com;transport=tls", "sales"),
        ("sips:100;x=y@h", "100"),
        ("client:alice", "alice"),
    ],
)
async def test_the_agent_is_chosen_by_number_or_user(called: str, number: str) -> None:
    desk = Desk()
    await desk.webhook.voice(desk.request("/twilio/voice", fields(To=called)))
    assert desk.door.offers[0].number == number


@pytest.mark.parametrize(
    ("refused", "direction", "verb"),
    [
        (Refused("no_agent"), "inbound", '<Reject reason="rejected" />'),
        (Refused("shortage", "pool_full"), "inbound", '<Reject reason="busy" />'),
        (Refused("no_agent"), "outbound-api", "<Hangup />"),
    ],
)
async def test_a_call_that_is_not_taken_costs_nothing(
    refused: Refused, direction: str, verb: str
) -> None:
    desk = Desk()
    desk.door.refuse = refused
    request = desk.request("/twilio/voice", fields(Direction=direction))
    assert _verb(await desk.webhook.voice(request)) == verb
    desk.door.refuse = None  # it may be offered again
    assert _token(await desk.webhook.voice(request))


async def test_whoever_drains_sends_the_call_elsewhere() -> None:
    desk = Desk()
    desk.door.refuse = Refused("draining")
    assert (await _offered(desk)).status == 503


async def test_our_own_mistake_sends_the_call_elsewhere() -> None:
    desk = Desk()
    desk.door.fail = RuntimeError("the bus is away")
    with capture_logs() as logs:
        assert (await _offered(desk)).status == 503
    assert logs[0]["event"] == "twilio.not_admitted"
    desk.door.fail = None
    assert _token(await _offered(desk))


async def test_twilio_s_retry_is_answered_the_same() -> None:
    desk = Desk()
    desk.door.wait = asyncio.Event()
    both = asyncio.gather(_offered(desk), _offered(desk))
    await asyncio.sleep(0)
    desk.door.wait.set()
    first, second = await both
    desk.clock.now += LIFE_S - 1
    third = await _offered(desk)
    assert first == second == third
    assert len(desk.door.offers) == 1


async def test_a_sender_that_gives_up_does_not_take_the_answer_along() -> None:
    desk = Desk()
    desk.door.wait = asyncio.Event()
    first = asyncio.ensure_future(_offered(desk))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.ensure_future(_offered(desk))
    await asyncio.sleep(0)
    desk.door.wait.set()
    assert _token(await second)
    assert len(desk.door.offers) == 1


@pytest.mark.parametrize("standing", ["attached", "over"])
async def test_a_replay_is_refused(standing: str) -> None:
    desk = Desk()
    await _offered(desk)
    desk.door.stands[CALL] = standing  # type: ignore[assignment]
    with capture_logs() as logs:
        assert (await _offered(desk)).status == 403
    assert (logs[0]["event"], logs[0]["why"], logs[0]["carrier_call"]) == (
        "web.refused", "replay", CALL,
    )  # fmt: skip


async def test_a_webhook_is_a_replay_once_its_token_has_expired() -> None:
    desk = Desk()
    await _offered(desk)
    desk.clock.now += LIFE_S
    assert (await _offered(desk)).status == 403


async def test_a_broken_call_gets_a_fresh_token_by_the_webhook() -> None:
    desk = Desk()
    first = _token(await _offered(desk))
    desk.door.stands[CALL] = "broken"
    desk.clock.now += 1000
    second = _token(await _offered(desk))
    assert first != second
    desk.tokens.redeem(second, CALL, ACCOUNT)


async def test_a_stream_that_broke_is_connected_again() -> None:
    desk = Desk()
    target = "/twilio/voice?tenant=acme"
    first = await desk.webhook.voice(desk.request(target, fields()))
    desk.door.stands[CALL] = "attached"
    request = desk.request(_action(first), fields(CallStatus="in-progress"))
    again = desk.webhook.connected(request)
    assert desk.door.ended == [CALL]
    assert _parameters(again)["tenant"] == "acme"
    desk.tokens.redeem(_token(again), CALL, ACCOUNT)
    assert _action(again) != _action(first)


async def test_what_twilio_comes_back_by_is_good_once_and_for_its_retry() -> None:
    desk = Desk()
    action = _action(await _offered(desk))
    request = desk.request(action, fields(CallStatus="in-progress"))
    desk.door.stands[CALL] = "broken"
    answer = desk.webhook.connected(request)
    desk.clock.now += 10
    assert desk.webhook.connected(request) == answer
    assert desk.door.ended == [CALL]
    desk.door.stands[CALL] = "attached"
    assert desk.webhook.connected(request).status == 403
    desk.door.stands[CALL] = "broken"
    desk.clock.now += 10
    assert desk.webhook.connected(request).status == 403
    assert desk.door.ended == [CALL]


@pytest.mark.parametrize("target", ["/twilio/connected", "/twilio/connected?hook=guessed"])
async def test_a_url_that_was_not_given_out_is_refused(target: str) -> None:
    desk = Desk()
    await _offered(desk)
    desk.door.stands[CALL] = "attached"
    assert desk.webhook.connected(desk.request(target, fields(CallStatus=""))).status == 403
    assert desk.door.ended == []


async def test_a_call_that_is_over_here_is_hung_up() -> None:
    desk = Desk()
    desk.door.after_stream = "hang_up"
    action = _action(await _offered(desk))
    request = desk.request(action, fields(CallStatus="in-progress"))
    assert _verb(desk.webhook.connected(request)) == "<Hangup />"


def test_a_call_of_another_process_is_hung_up() -> None:
    desk = Desk()
    request = desk.request("/twilio/connected?hook=x", fields(CallStatus="in-progress"))
    assert _verb(desk.webhook.connected(request)) == "<Hangup />"
    assert desk.door.ended == []


async def test_a_caller_who_hung_up_is_not_connected_again() -> None:
    desk = Desk()
    action = _action(await _offered(desk))
    request = desk.request(action, fields(CallStatus="completed"))
    assert _verb(desk.webhook.connected(request)) == "<Hangup />"
    assert desk.door.ended == []
    assert [change.status for change in desk.door.changes] == ["completed"]


async def test_a_stream_that_never_comes_is_not_asked_for_for_ever() -> None:
    desk = Desk()
    answer = await _offered(desk)
    asked = 0
    while "<Connect" in answer.body:
        asked += 1
        request = desk.request(_action(answer), fields(CallStatus="in-progress"))
        answer = desk.webhook.connected(request)
    assert asked == 4
    assert _verb(answer) == "<Hangup />"


@pytest.mark.parametrize(
    ("told", "sip", "ok", "status"),
    [
        ("completed", "200", True, 200),
        ("answered", "", True, 200),
        ("busy", "486", False, 486),
        ("busy", "600", False, 600),
        ("no-answer", "", False, 480),
        ("canceled", "", False, 487),
        ("failed", "503", False, 503),
        ("failed", "", False, 404),
        ("something-new", "nonsense", False, 480),
    ],
)
async def test_how_a_transfer_went_is_told(told: str, sip: str, ok: bool, status: int) -> None:
    desk = Desk()
    await _offered(desk)
    desk.door.after_dial = "hang_up" if ok else "connect"
    target = desk.webhook.hook_url(CALL, twiml.DIALLED).removeprefix(PUBLIC)
    told_by = fields(CallStatus="in-progress", DialCallStatus=told, DialSipResponseCode=sip)
    answer = desk.webhook.dialled(desk.request(target, told_by))
    assert desk.door.outcomes == [(ok, status, told)]
    assert _verb(answer).startswith("<Hangup" if ok else "<Connect")


async def test_a_transfer_that_is_not_under_way_is_refused() -> None:
    desk = Desk()
    await _offered(desk)
    desk.door.after_dial = "refuse"
    target = desk.webhook.hook_url(CALL, twiml.DIALLED).removeprefix(PUBLIC)
    request = desk.request(target, fields(CallStatus="in-progress", DialCallStatus="busy"))
    assert desk.webhook.dialled(request).status == 403


def _leg(status: str) -> dict[str, str]:
    """What the leg tells that a <Dial> made."""
    return fields(
        CallSid=OTHER_CALL, ParentCallSid=CALL, CallStatus=status, Direction="outbound-dial"
    )


async def test_a_transfer_s_steps_are_told_while_it_is_under_way() -> None:
    desk = Desk()
    await _offered(desk)
    action = desk.webhook.hook_url(CALL, twiml.DIALLED).removeprefix(PUBLIC)
    status = action.replace(twiml.DIALLED, twiml.STATUS)
    ringing, answered = (desk.request(status, _leg(word)) for word in ("ringing", "in-progress"))
    assert desk.webhook.status(ringing).status == 204
    assert desk.webhook.status(answered).status == 204
    assert desk.door.steps == [(CALL, 180, "ringing"), (CALL, 200, "in-progress")]
    assert desk.door.changes == []  # the leg is no call of ours
    over = fields(CallStatus="in-progress", DialCallStatus="completed")
    desk.webhook.dialled(desk.request(action, over))
    desk.clock.now += 60
    assert desk.webhook.status(answered).status == 403
    other = desk.request("/twilio/status?hook=guessed", _leg("in-progress"))
    assert desk.webhook.status(other).status == 403
    assert len(desk.door.steps) == 2


async def test_a_caller_who_hangs_up_after_a_transfer_was_put_through() -> None:
    desk = Desk()
    await _offered(desk)
    desk.door.after_dial = "refuse"
    target = desk.webhook.hook_url(CALL, twiml.DIALLED).removeprefix(PUBLIC)
    both = fields(CallStatus="completed", DialCallStatus="completed")
    assert _verb(desk.webhook.dialled(desk.request(target, both))) == "<Hangup />"
    assert [outcome.ok for outcome in desk.door.outcomes] == [True]
    assert [change.ending for change in desk.door.changes] == ["caller_hung_up"]


@pytest.mark.parametrize(
    ("status", "sip", "ending"),
    [
        ("ringing", "", None),
        ("in-progress", "", None),
        ("something-new", "", None),
        ("completed", "200", "caller_hung_up"),
        ("busy", "486", "busy"),
        ("no-answer", "487", "no_answer"),
        ("no-answer", "603", "rejected"),
        ("canceled", "", "cancelled"),
        ("failed", "404", "unreachable"),
        ("failed", "403", "rejected"),
    ],
)
def test_how_a_call_stands_is_told(status: str, sip: str, ending: str | None) -> None:
    desk = Desk()
    told = fields(CallStatus=status, SipResponseCode=sip, Direction="outbound-api")
    assert desk.webhook.status(desk.request("/twilio/status", told)).status == 204
    (change,) = desk.door.changes
    assert (change.call, change.status, change.direction) == (CALL, status, "outbound")
    assert change.ending == ending


def test_a_placed_call_s_status_names_it_by_our_id() -> None:
    desk = Desk()
    target = twiml.placed_url("", twiml.STATUS, "20260101t000000-0123abcd")
    told = fields(CallStatus="busy", Direction="outbound-api")
    assert desk.webhook.status(desk.request(target, told)).status == 204
    assert desk.door.changes[0].placed_as == "20260101t000000-0123abcd"


def test_a_stream_s_trouble_is_logged() -> None:
    desk = Desk()
    told = fields(CallStatus="", StreamEvent="stream-error", StreamError="handshake failed")
    with capture_logs() as logs:
        assert desk.webhook.status(desk.request("/twilio/status", told)).status == 204
    assert (logs[0]["event"], logs[0]["error"]) == ("twilio.stream_error", "handshake failed")
    assert desk.door.changes == []


# Bad requests: what is wrong with them, and what they are answered.

_VOICE = "/twilio/voice"
_PLAIN = fields()


def _with(request: Request, name: str, value: str) -> Request:
    request.form.add(name, value)
    return request


_VOICE_OF_EVIL = "https://evil.example/twilio/voice"
_BAD: dict[str, tuple[Callable[[Desk], Request], int, str]] = {
    "unsigned": (lambda d: d.request(_VOICE, _PLAIN, signature=""), 403, "unsigned"),
    "unsigned, from nearby": (
        lambda d: d.request(_VOICE, _PLAIN, signature="", source="127.0.0.1"), 403, "unsigned",
    ),
    "wrong signature": (
        lambda d: d.request(_VOICE, _PLAIN, signature="A" * 28), 403, "wrong_signature",
    ),
    "blank signature": (lambda d: d.request(_VOICE, _PLAIN, signature=" "), 403, "wrong_signature"),
    "signature in no alphabet": (
        lambda d: d.request(_VOICE, _PLAIN, signature="é" * 28), 403, "wrong_signature",
    ),
    "other URL": (lambda d: d.request(_VOICE, _PLAIN, url=_VOICE_OF_EVIL), 403, "wrong_signature"),
    "other query": (
        lambda d: d.request(_VOICE + "?t=b", _PLAIN, url=PUBLIC + _VOICE + "?t=a"),
        403, "wrong_signature",
    ),
    "other form": (
        lambda d: _with(d.request(_VOICE, _PLAIN), "To", "+15559999"), 403, "wrong_signature",
    ),
    "field added": (
        lambda d: _with(d.request(_VOICE, _PLAIN), "SipHeader_X-Admin", "1"),
        403, "wrong_signature",
    ),
    "other account": (
        lambda d: d.request(_VOICE, fields(AccountSid="AC" + "b" * 32)), 403, "other_account",
    ),
    "no call": (lambda d: d.request(_VOICE, fields(CallSid="")), 400, "bad_form"),
    "call that is a path": (
        lambda d: d.request(_VOICE, fields(CallSid="../" + "1" * 31)), 400, "bad_form",
    ),
    "nobody called": (lambda d: d.request(_VOICE, fields(To="")), 400, "bad_form"),
    "header in a number": (
        lambda d: d.request(_VOICE, fields(From="+1555\r\nX-Evil: 1")), 400, "bad_form",
    ),
    "endless number": (lambda d: d.request(_VOICE, fields(From="1" * 600)), 400, "bad_form"),
    "query in no encoding": (lambda d: d.request(_VOICE + "?a=%ff", _PLAIN), 400, "bad_form"),
    "query without end": (
        lambda d: d.request(_VOICE + "?" + "&".join(["a=1"] * 300), _PLAIN), 400, "bad_form",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _BAD)
async def test_a_bad_request_is_refused_and_told_of(name: str) -> None:
    make, status, why = _BAD[name]
    desk = Desk()
    request = make(desk)
    with capture_logs() as logs:
        answer = await desk.webhook.voice(request)
    assert answer.status == status
    assert "<" not in answer.body
    (line,) = logs
    assert (line["event"], line["status"], line["why"]) == ("web.refused", status, why)
    assert line["url"] == str(request.url)[:500]
    assert desk.door.offers == []


@pytest.mark.parametrize("what", ["connected", "dialled", "status"])
async def test_unsigned_requests_get_nowhere(what: str) -> None:
    desk = Desk()
    action = _action(await _offered(desk))
    request = desk.request(action, fields(DialCallStatus="busy"), signature="")
    assert getattr(desk.webhook, what)(request).status == 403
    assert (desk.door.ended, desk.door.outcomes, desk.door.changes) == ([], [], [])


async def test_the_log_says_which_url_would_have_been_right() -> None:
    desk = Desk()
    url = "https://inner/twilio/voice"
    with capture_logs() as logs:
        await desk.webhook.voice(desk.request(_VOICE, _PLAIN, url=url))
    assert f"signed for {url}: set TRUNKLINE_PUBLIC_URL=https://inner" in logs[0]["hint"]


async def test_a_flood_of_refusals_is_told_once() -> None:
    desk = Desk()
    request = desk.request(_VOICE, _PLAIN, signature="")
    with capture_logs() as logs:
        for _ in range(50):
            await desk.webhook.voice(request)
        desk.clock.now += 1
        await desk.webhook.voice(request)
    assert [line["others"] for line in logs] == [0, 49]


async def test_without_an_auth_token_nothing_is_signed() -> None:
    desk = Desk(auth_token=None)
    with capture_logs() as logs:
        assert (await _offered(desk)).status == 403
    assert logs[0]["why"] == "no_auth_token"


# Parameters: what comes from callers and from URLs goes into XML, logs and the call's log.


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("tenant", "acme", True),
        ("tenant", "", True),
        ("tenant", '"/><Hangup/><Dial>+1900</Dial>', True),
        ('"><Evil x="', "1", True),
        ("tenant", "]]>&amp;<!--", True),
        ("tenant", "Zoë 你好 🙂", True),
        ("tenant", "a\r\nX-Evil: 1", False),
        ("tenant", "nul\x00", False),
        ("te\nnant", "a", False),
        ("tenant", "\ufffe", False),
        ("", "a", False),
        ("tenant", "x" * 493, True),
        ("tenant", "x" * 494, False),
        (twiml.TOKEN, "forged", False),
        ("trunkline_anything", "forged", False),
    ],
)
async def test_parameters_come_whole_or_not_at_all(name: str, value: str, taken: bool) -> None:
    desk = Desk()
    request = desk.request(f"{_VOICE}?{urlencode({name: value})}", _PLAIN)
    with capture_logs() as logs:
        answer = await desk.webhook.voice(request)
    parameters = _parameters(answer)
    desk.tokens.redeem(parameters.pop(twiml.TOKEN), CALL, ACCOUNT)
    assert parameters == ({name: value} if taken else {})
    assert [child.tag for child in ET.fromstring(answer.body)] == ["Connect"]
    assert [line["event"] for line in logs] == ([] if taken else ["twilio.parameters_left_out"])


async def test_there_are_not_too_many_parameters() -> None:
    desk = Desk()
    query = "&".join(f"p{number}=x" for number in range(100))
    answer = await desk.webhook.voice(desk.request(f"{_VOICE}?{query}", _PLAIN))
    assert len(_parameters(answer)) == 32


# Development.


async def test_an_unsigned_call_from_nearby_is_loud() -> None:
    with capture_logs() as logs:
        desk = Desk(unsigned=True)
        request = desk.request(_VOICE, _PLAIN, signature="", source="127.0.0.1")
        answer = await desk.webhook.voice(request)
    assert twiml.TOKEN not in _parameters(answer)
    assert [line["event"] for line in logs] == [
        "twilio.unsigned_is_allowed", "twilio.unsigned_request",
    ]  # fmt: skip
    assert {line["log_level"] for line in logs} == {"warning"}


async def test_unsigned_requests_from_afar_are_refused_all_the_same() -> None:
    desk = Desk(unsigned=True)
    assert (await desk.webhook.voice(desk.request(_VOICE, _PLAIN, signature=""))).status == 403
    wrong = desk.request(_VOICE, _PLAIN, signature="A" * 28, source="127.0.0.1")
    assert (await desk.webhook.voice(wrong)).status == 403


async def test_memory_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress_web.carriers.twilio_calls.MOST_CALLS", 5)
    desk = Desk()
    for number in range(20):
        await desk.webhook.voice(desk.request(_VOICE, fields(CallSid=f"CA{number:032d}")))
    assert len(desk.webhook._calls) == 5
    for _ in range(100):
        desk.webhook.hook_url(f"CA{19:032d}", twiml.DIALLED)
    known = desk.webhook._calls.get(f"CA{19:032d}")
    assert known is not None
    assert len(known.open_hooks) <= 32


def test_a_document_is_what_twilio_s_pages_show() -> None:
    document = twiml.connect(PUBLIC, f"{PUBLIC}/twilio/connected?hook=n1", {"a": "b"}, "t")
    assert re.sub(r">\s*<", ">\n<", document).splitlines() == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<Response>",
        '<Connect action="https://voice.example.com/twilio/connected?hook=n1" method="POST">',
        '<Stream statusCallback="https://voice.example.com/twilio/status" '
        'statusCallbackMethod="POST" url="wss://voice.example.com/twilio/media">',
        '<Parameter name="trunkline_token" value="t" />',
        '<Parameter name="a" value="b" />',
        "</Stream>",
        "</Connect>",
        "</Response>",
    ]
