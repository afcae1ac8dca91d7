"""Media streams of peers that mean no good, know no better, or are unlucky: nothing hangs."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from bus.session import BusSession
from calls.ending import Ending
from calls.ids import CallId
from tests.integration.conftest import Eventually
from tests.integration.ingress_web.conftest import KEY, Ingress, media, sid, start

NESTED = '{"event":' + "[" * 5000


async def closed(socket: ClientWebSocketResponse) -> int:
    """The code that the ingress closes with; what it says before is passed over."""
    async with asyncio.timeout(15):
        while True:
            received = await socket.receive()
            if received.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                await socket.close()
                return int(socket.close_code or 0)


async def ending(session: BusSession, ingress: Ingress, call: CallId) -> Ending:
    async with asyncio.timeout(10):
        while True:
            for event in await session.log.read(call):
                if event.kind == "call.ended":
                    return event.why
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([start(1)], 1008),  # no token
        ([start(1, "x")], 1008),
        ([start(1, "x" * 5000)], 1008),
        (["hello"], 1003),
        (["[]"], 1003),
        (["{}"], 1003),
        ([NESTED], 1003),
        ([media(1)], 1003),  # before its start
        ([b"\x00" * 160], 1003),
        (["x" * 40_000], 1009),
        (['{"event":"connected"}'] * 5, 1003),  # and never a start
        ([start(1, mediaFormat={"encoding": "audio/x-l16", "sampleRate": 8000})], 1003),
        ([start(1, callSid="")], 1003),
        ([start(1, callSid=7)], 1003),
        ([start(1, customParameters=[])], 1008),
    ],
)  # fmt: skip
async def test_a_stream_that_begins_badly_is_closed(
    ingress: Ingress, messages: list[str | bytes], code: int
) -> None:
    socket = await ingress.stream()
    for message in messages:
        await (socket.send_bytes if isinstance(message, bytes) else socket.send_str)(message)
    assert await closed(socket) == code
    assert ingress.server.calls == 0
    await (await ingress.call(2)).close()  # others are served


async def test_a_token_is_good_for_one_stream_of_its_call_and_a_minute(ingress: Ingress) -> None:
    token = await ingress.token(1)
    socket = await ingress.stream()
    await socket.send_str(start(2, token))  # another call's
    assert await closed(socket) == 1008
    await (await ingress.call(3)).close()
    late = await ingress.token(4)
    ingress.clock.now += 61
    socket = await ingress.stream()
    await socket.send_str(start(4, late))
    assert await closed(socket) == 1008


async def test_a_used_token_opens_nothing(ingress: Ingress) -> None:
    token = await ingress.token(1)
    first, second = await ingress.stream(), await ingress.stream()
    await first.send_str(start(1, token))
    await first.send_str(media(1))
    await ingress.carried(1)
    await second.send_str(start(1, token))
    assert await closed(second) == 1008
    assert ingress.server.calls == 1
    await first.close()


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([start(1)], 1003),  # a second start
        ([media(2, number=7)], 1003),  # another stream's
        ([b"\x00"], 1003),
        (["x" * 40_000], 1009),
        ([media(2, payload="???")], 1003),
        ([media(2).replace('"chunk": "2"', '"chunk": "-1"')], 1003),
        ([media(2).replace('"timestamp": "20"', '"timestamp": "1e9"')], 1003),
        ([media(number) for number in range(2, 1300)], 1008),  # ten times as fast as a call
    ],
)
async def test_a_stream_that_goes_wrong_is_closed_and_its_call_ends(
    ingress: Ingress, session: BusSession, messages: list[str | bytes], code: int
) -> None:
    socket = await ingress.call(1)
    call = ingress.server.of("twilio", sid(1))
    assert call is not None
    for message in messages:
        if socket.closed:
            break
        await (socket.send_bytes if isinstance(message, bytes) else socket.send_str)(message)
    assert await closed(socket) == code
    assert await ending(session, ingress, call.started.call) is Ending.MEDIA_TIMEOUT
    await (await ingress.call(2)).close()


async def test_what_carriers_may_add_is_no_matter(ingress: Ingress) -> None:
    socket = await ingress.call(1)
    for message in (
        '{"event":"novelty","payload":[1,2]}',
        json.dumps({"event": "mark", "streamSid": f"MZ{1:032x}", "mark": {"name": "none of ours"}}),
        json.dumps({"event": "mark", "streamSid": f"MZ{1:032x}", "mark": {"name": "9" * 100}}),
        media(2, payload=""),
        media(900),  # what was between is lost
        media(3),  # and what comes late
        media(3),
        media(2**31),
    ):
        await socket.send_str(message)
    await asyncio.sleep(0.2)
    assert ingress.server.calls == 1
    await socket.close()


async def test_a_peer_that_never_reads_is_cut_off_and_the_others_are_served(
    ingress: Ingress, eventually: Eventually[bool]
) -> None:
    socket = await ingress.call(1)
    call = ingress.server.of("twilio", sid(1))
    assert call is not None
    connection = call.stream.connection
    assert connection is not None
    for _ in range(1100):  # at once: the writer has had no turn yet
        connection.send("x" * 1000)
    await eventually(lambda: not call.stream.is_open)
    await (await ingress.call(2)).close()
    await socket.close()


async def test_many_who_say_nothing_keep_nobody_out(ingress: Ingress) -> None:
    silent = [await ingress.stream() for _ in range(90)]
    socket = await ingress.call(1)
    assert ingress.server.calls == 1
    await socket.close()
    for each in silent:
        await each.close()


async def test_more_who_say_nothing_than_there_may_be_are_told_to_come_again(
    ingress: Ingress,
) -> None:
    silent = [await ingress.stream() for _ in range(100)]
    refused = await ingress.http.get(ingress.url + "/twilio/media")
    assert refused.status == 503
    assert refused.headers["Retry-After"]
    for each in silent:
        await each.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/twilio/media", 426),
        ("POST", "/twilio/media", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/telnyx/media", 426),
        ("GET", "/health", 200),
        ("GET", "/ready", 200),
        ("GET", "/metrics", 200),
    ],
)
async def test_what_is_no_stream(ingress: Ingress, method: str, path: str, status: int) -> None:
    answer = await ingress.http.request(method, ingress.url + path)
    assert answer.status == status


async def test_metrics_are_not_for_those_behind_a_proxy(ingress: Ingress) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert (await ingress.http.get(ingress.url + "/metrics", headers=headers)).status == 404


async def test_a_stop_ends_the_call_at_once(ingress: Ingress, session: BusSession) -> None:
    socket = await ingress.call(1)
    call = ingress.server.of("twilio", sid(1))
    assert call is not None
    await socket.send_str(json.dumps({"event": "stop", "streamSid": f"MZ{1:032x}", "stop": {}}))
    assert await ending(session, ingress, call.started.call) is Ending.CALLER_HUNG_UP
    await socket.close()


async def test_a_broken_stream_is_waited_for_and_goes_on(
    ingress: Ingress, session: BusSession, eventually: Eventually[bool]
) -> None:
    socket = await ingress.call(1)
    call = ingress.server.of("twilio", sid(1))
    assert call is not None
    await socket.close(code=1011)
    await eventually(lambda: not call.stream.is_open)
    assert ingress.reception.standing(sid(1)) == "broken"
    assert ingress.reception.stream_ended(sid(1)) == "connect"
    again = await ingress.stream()
    await again.send_str(start(1, ingress.tokens.issue(sid(1), "AC" + "0" * 32)))
    await eventually(lambda: call.stream.is_open)
    assert ingress.server.calls == 1
    await again.close(code=1011)
    assert await ending(session, ingress, call.started.call) is Ending.MEDIA_TIMEOUT


@pytest.mark.parametrize(
    ("key", "code"), [("", 1008), ("?key=", 1008), ("?key=wrong", 1008), (f"?key={KEY}", 0)]
)
async def test_other_carriers_streams_show_a_key(
    ingress: Ingress, eventually: Eventually[bool], key: str, code: int
) -> None:
    socket = await ingress.stream(f"/telnyx/media{key}")
    await socket.send_json(
        {
            "event": "start",
            "sequence_number": "1",
            "stream_id": "32de0dea",
            "start": {
                "user_id": "u",
                "call_control_id": "v3:1",
                "from": "+15550111",
                "to": "+15550100",
                "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
            },
        }
    )
    if code:
        assert await closed(socket) == code
    else:
        await eventually(lambda: ingress.server.of("telnyx", "v3:1") is not None)
        await socket.close()


async def test_a_drain_takes_nobody_and_ends_who_is_left(
    ingress: Ingress, session: BusSession
) -> None:
    token = await ingress.token(2)
    socket = await ingress.call(1)
    call = ingress.server.of("twilio", sid(1))
    assert call is not None
    draining = asyncio.create_task(ingress.server.drain())
    assert await closed(socket) == 1000
    await draining
    assert await ending(session, ingress, call.started.call) is Ending.SHUTDOWN
    late = await ingress.stream()
    await late.send_str(start(2, token))
    assert await closed(late) == 1013
    assert (await ingress.http.get(ingress.url + "/ready")).status == 503
