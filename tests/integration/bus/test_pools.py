"""The picture of the pools, from a real server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus import topics
from bus.lease import Leases
from bus.pools import PoolWatch
from bus.presence import Process
from bus.session import BusSession
from bus.tasks import stop
from tests.integration.conftest import Eventually

ASR = Process("asr", 11, "host", 1000.0, owned=1, capacity=25)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times a second: how long a process counts as there is not told by that."""
    monkeypatch.setattr("bus.pools.BEAT_S", 0.1)


def watch(session: BusSession) -> PoolWatch:
    return PoolWatch(session.redis, session.presence, asyncio.get_running_loop().time)


async def test_what_waits_is_told_from_what_was_taken_with_its_age(session: BusSession) -> None:
    queue = Leases(session.redis, "llm", "one")
    await queue.ensure_group()
    for number in range(4):
        await session.redis.xadd(queue.queue, {"job": str(number)})
    await session.redis.xreadgroup(queue.group, queue.consumer, {queue.queue: ">"}, count=1)
    await asyncio.sleep(0.05)
    seen = (await watch(session).look()).queues["llm"]
    assert (seen.jobs, seen.waiting) == (4, 3)
    assert 50 <= seen.oldest_ms < 10_000
    await session.redis.xreadgroup(queue.group, queue.consumer, {queue.queue: ">"}, count=3)
    seen = (await watch(session).look()).queues["llm"]
    assert (seen.jobs, seen.waiting, seen.oldest_ms) == (4, 0, 0)


async def test_a_queue_without_a_pool_is_all_waiting(session: BusSession) -> None:
    await session.redis.xadd(topics.jobs("tts"), {"job": "1"})
    queues = (await watch(session).look()).queues
    assert (queues["tts"].jobs, queues["tts"].waiting) == (1, 1)
    assert queues["asr"].jobs == 0


async def test_the_watch_sees_a_pool_go(session: BusSession, eventually: Eventually[Any]) -> None:
    pools = watch(session)
    showing = asyncio.create_task(session.presence.keep_showing(lambda: ASR))
    watching = asyncio.create_task(pools.run())
    await eventually(lambda: pools.missing == {"llm", "tts", "recorder"})
    await stop(showing)
    await eventually(lambda: "asr" in pools.missing)
    await stop(watching)


async def test_a_bus_that_lost_its_data_has_to_learn_who_is_there(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    pools = watch(session)
    await session.presence.show(ASR)
    watching = asyncio.create_task(pools.run())
    await eventually(lambda: "llm" in pools.missing)
    await session.redis.flushall()
    at = pools.taken_at
    await eventually(lambda: pools.taken_at > at)
    assert pools.missing == frozenset()
    await session.presence.show(ASR)  # of many who will
    at = pools.taken_at
    await eventually(lambda: pools.taken_at > at)
    assert pools.missing == frozenset()
    await eventually(lambda: "llm" in pools.missing)
    await stop(watching)
