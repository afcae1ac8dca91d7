"""Who is there."""

from __future__ import annotations

import asyncio

from bus import topics
from bus.live import LiveCalls
from bus.presence import GONE_MS, Presence, Process
from bus.session import BusSession, process_name
from calls.ids import CallId
from tests.integration.conftest import Eventually
from tests.support.facts import CALL, started

SIP = Process("sip", 10, "host", 1000.0, 3, "udp:127.0.0.1:5060")
ASR = Process("asr", 11, "host", 1000.0)


async def test_processes_show_themselves_and_leave(session: BusSession) -> None:
    await session.presence.show(SIP)
    await session.presence.show(ASR)
    assert await session.presence.processes() == [ASR, SIP]
    await session.presence.hide(SIP)
    assert await session.presence.processes() == [ASR]


async def test_a_process_that_says_nothing_is_gone_in_seconds_and_forgotten_later(
    session: BusSession,
) -> None:
    await session.presence.show(SIP)
    await session.presence.show(ASR)
    name = topics.process("sip", "host", 10)
    await session.redis.zincrby(topics.PROCESSES_SEEN, -GONE_MS - 1, name)
    assert await session.presence.processes() == [ASR]
    assert await session.redis.hexists(topics.PROCESSES, name)
    await session.redis.zincrby(topics.PROCESSES_SEEN, -10 * GONE_MS, name)
    assert await session.presence.processes() == [ASR]
    assert await session.redis.hkeys(topics.PROCESSES) == [b"asr:host:11"]


async def test_what_is_no_process_is_passed_over(session: BusSession) -> None:
    await session.presence.show(SIP)
    await session.redis.hset(topics.PROCESSES, topics.process("sip", "host", 10), "not a process")
    await session.presence.show(ASR)
    assert await session.presence.processes() == [ASR]


async def test_a_process_shows_itself_until_it_is_told_to_stop(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    showing = asyncio.create_task(session.presence.keep_showing(lambda: ASR))
    await eventually(session.presence.processes)
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)


async def test_live_calls_are_known_until_they_are_recorded(session: BusSession) -> None:
    other = CallId("20260102t030405-00000001")
    await session.log.append(CALL, started())
    await session.log.append(other, started(call=other, at=5000.0))
    await session.presence.beat([CALL, other], 7000.0)
    assert await session.presence.live_calls() == {CALL: 7000.0, other: 7000.0}
    live = LiveCalls(session.log, session.folds, session.presence)
    assert [c.started.call for c in await live.calls() if c.started] == [other, CALL]
    assert await live.events(CALL) == [started()]
    await session.presence.forget(CALL)
    assert set(await session.presence.live_calls()) == {other}
    assert await live.conversation(CallId("20260102t030405-99999999")) is None


async def test_a_beat_keeps_a_calls_keys(session: BusSession) -> None:
    await session.redis.xadd(topics.audio_in(CALL), {"f": b""})
    await session.presence.beat([CALL], 0.0)
    assert await session.redis.ttl(topics.audio_in(CALL)) > 0
    await Presence(session.redis).beat([], 0.0)


def test_two_processes_never_share_a_name() -> None:
    assert process_name() != process_name()
