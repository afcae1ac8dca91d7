"""The client of Twilio's REST API, against one on loopback."""

from __future__ import annotations

import asyncio
import socket
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from ingress_web.carriers import twiml
from ingress_web.carriers.carrier import Carrier, CarrierError
from ingress_web.carriers.twilio_rest import TwilioCarrier
from tests.support.twilio import ACCOUNT, AUTH_TOKEN, CALL, PUBLIC, TwilioApi

CALLS = f"POST /2010-04-01/Accounts/{ACCOUNT}/Calls"


class Line:
    """A carrier, its API, and how long it paused."""

    def __init__(self, api: TwilioApi, *, public_url: str | None = PUBLIC) -> None:
        self.api = api
        self.pauses: list[float] = []
        self.carrier: Carrier = TwilioCarrier(
            ACCOUNT,
            AUTH_TOKEN,
            hook_url=self._hook_url,
            public_url=public_url,
            api_url=api.url,
            timeout_s=5,
            sleep=self._sleep,
        )

    def _hook_url(self, call: str, path: str) -> str:
        if call != CALL:
            raise LookupError("not offered here")
        return f"{PUBLIC}{path}?hook=n1"

    async def _sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with TwilioApi() as api:
        made = Line(api)
        yield made
        await made.carrier.close()


def _verbs(line: Line) -> ET.Element:
    return ET.fromstring(line.api.sent()["Twiml"])


async def test_a_call_is_hung_up(line: Line) -> None:
    await line.carrier.hang_up(CALL)
    assert line.api.requests == [(f"{CALLS}/{CALL}.json", [("Status", "completed")])]
    assert line.api.knows(ACCOUNT, AUTH_TOKEN)


@pytest.mark.parametrize("reply", [(404, {"code": 20404}), (400, {"code": 21220})])
async def test_a_call_that_is_over_is_hung_up(
    line: Line, reply: tuple[int, dict[str, int]]
) -> None:
    line.api.replies = [reply]
    await line.carrier.hang_up(CALL)
    assert len(line.api.requests) == 1


@pytest.mark.parametrize(
    ("target", "noun"),
    [
        ("+1 (555) 1234", "<Number>+15551234</Number>"),
        ("tel:+15551234;ext=9", "<Number>+15551234</Number>"),
        ("sip:bob@example.com", "<Sip>sip:bob@example.com</Sip>"),
        ("sips:bob@example.com", "<Sip>sip:bob@example.com;transport=tls</Sip>"),
    ],
)
async def test_a_caller_is_put_through(line: Line, target: str, noun: str) -> None:
    await line.carrier.transfer(CALL, target, caller_id="+15550001", timeout_s=20)
    dial = _verbs(line)[0]
    assert dial.attrib == {
        "action": f"{PUBLIC}/twilio/dialled?hook=n1",
        "callerId": "+15550001",
        "method": "POST",
        "timeout": "20",
    }
    assert dial[0].attrib == {
        "statusCallback": f"{PUBLIC}/twilio/status?hook=n1",
        "statusCallbackEvent": "ringing answered",
        "statusCallbackMethod": "POST",
    }
    dial[0].attrib.clear()
    assert ET.tostring(dial[0], encoding="unicode") == noun


async def test_keys_are_played_and_the_stream_connected_again(line: Line) -> None:
    await line.carrier.send_digits(CALL, "1,2w#*")
    play, redirect = _verbs(line)
    assert (play.tag, play.attrib) == ("Play", {"digits": "1w2w#*"})
    assert redirect.text == f"{PUBLIC}/twilio/connected?hook=n1"


@pytest.mark.parametrize(
    "what",
    [
        lambda c: c.transfer(CALL, "not a number"),
        lambda c: c.transfer(CALL, "sip:a@b?Replaces=x"),
        lambda c: c.transfer(CALL, "+1555</Number><Hangup/>"),
        lambda c: c.transfer(CALL, "tel:nobody"),
        lambda c: c.transfer(CALL, "+1555", caller_id='"/><Hangup/>'),
        lambda c: c.transfer("CA" + "9" * 32, "+1555"),
        lambda c: c.send_digits(CALL, "1A"),
        lambda c: c.send_digits(CALL, ""),
        lambda c: c.send_digits(CALL, "1" * 129),
        lambda c: c.hang_up("../Accounts"),
    ],
)
async def test_what_cannot_be_asked_for_is_not_sent(line: Line, what: object) -> None:
    with pytest.raises(CarrierError) as failed:
        await what(line.carrier)  # type: ignore[operator]
    assert failed.value.status == 0
    assert line.api.requests == []


async def test_a_call_is_placed(line: Line) -> None:
    placed = await line.carrier.place("+15551234", "+15550001", call="our-id-1", timeout_s=45)
    assert placed == CALL
    ((path, sent),) = line.api.requests
    assert path == f"{CALLS}.json"
    assert sent == [
        ("To", "+15551234"),
        ("From", "+15550001"),
        ("Url", PUBLIC + twiml.VOICE + "?trunkline_call=our-id-1"),
        ("Method", "POST"),
        ("Timeout", "45"),
        ("StatusCallback", PUBLIC + twiml.STATUS + "?trunkline_call=our-id-1"),
        ("StatusCallbackMethod", "POST"),
        ("StatusCallbackEvent", "ringing"),
        ("StatusCallbackEvent", "answered"),
        ("StatusCallbackEvent", "completed"),
    ]


async def test_nothing_is_placed_without_a_public_url() -> None:
    async with TwilioApi() as api:
        with pytest.raises(CarrierError, match="TRUNKLINE_PUBLIC_URL"):
            await Line(api, public_url=None).carrier.place("+1555", "+1556", call="c")
        assert api.requests == []


async def test_twilio_s_error_comes_with_its_code_and_a_hint(line: Line) -> None:
    line.api.replies = [(400, {"code": 21219, "message": "not verified", "status": 400})]
    with pytest.raises(CarrierError) as failed:
        await line.carrier.place("+15551234", "+15550001", call="c")
    error = failed.value
    assert (error.status, error.code, error.message) == (400, 21219, "not verified")
    assert str(error) == "not verified (21219): a trial account calls verified numbers only"
    assert len(line.api.requests) == 1


@pytest.mark.parametrize("content", ["", "<html>", "[1]", "{" * 5000, '{"code": "x"}', b"\xff"])
async def test_an_answer_that_says_nothing_is_an_error(line: Line, content: object) -> None:
    line.api.replies = [(502, content)]
    with pytest.raises(CarrierError) as failed:
        await line.carrier.place("+15551234", "+15550001", call="c")
    assert (failed.value.status, failed.value.code) == (502, 0)
    line.api.replies = [(201, content)]
    with pytest.raises(CarrierError, match="names no call"):
        await line.carrier.place("+15551234", "+15550001", call="c")


async def test_an_endless_answer_is_not_read(line: Line) -> None:
    line.api.replies = [(201, "x" * 200_000)]
    with pytest.raises(CarrierError, match="too long"):
        await line.carrier.place("+15551234", "+15550001", call="c")


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_is_harmless_is_tried_again(line: Line, status: int) -> None:
    line.api.replies = [(status, {}), (status, {}), (200, {"sid": CALL})]
    await line.carrier.hang_up(CALL)
    assert len(line.api.requests) == 3
    assert line.pauses == [0.5, 1.5]


async def test_what_stays_wrong_is_given_up(line: Line) -> None:
    line.api.replies = [(500, {})]
    with pytest.raises(CarrierError):
        await line.carrier.hang_up(CALL)
    assert len(line.api.requests) == 3


@pytest.mark.parametrize(("reply", "tries"), [((500, {}), 1), ((200, None), 1), ((429, {}), 3)])
async def test_nobody_is_called_twice(line: Line, reply: tuple[int, object], tries: int) -> None:
    line.api.replies = [reply]
    for what in (
        line.carrier.place("+15551234", "+15550001", call="c"),
        line.carrier.transfer(CALL, "+15551234"),
        line.carrier.send_digits(CALL, "1"),
    ):
        line.api.requests.clear()
        with pytest.raises(CarrierError):
            await what
        assert len(line.api.requests) == tries


async def test_a_host_that_is_not_there_is_tried_again(line: Line) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        line.api.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        away = Line(line.api)
        with pytest.raises(CarrierError, match="cannot be reached"):
            await away.carrier.place("+15551234", "+15550001", call="c")
        assert away.pauses == [0.5, 1.5]
        await away.carrier.close()


async def test_an_api_that_says_nothing_is_not_waited_for(line: Line) -> None:
    line.api.hold = asyncio.Event()
    carrier = TwilioCarrier(
        ACCOUNT, AUTH_TOKEN, hook_url=lambda *_: PUBLIC, api_url=line.api.url, timeout_s=0.05
    )
    with pytest.raises(CarrierError, match="in time"):
        await carrier.transfer(CALL, "+15551234")
    await carrier.close()


async def test_the_auth_token_is_shown_to_nobody(line: Line) -> None:
    line.api.replies = [(401, {"code": 20003, "message": "Authenticate"})]
    with capture_logs() as logs, pytest.raises(CarrierError) as failed:
        await line.carrier.place("+15551234", "+15550001", call="c")
    said = f"{failed.value!s} {failed.value!r} {line.carrier!r} {logs}"
    assert AUTH_TOKEN not in said
    assert "TRUNKLINE_TWILIO_AUTH_TOKEN" in str(failed.value)
