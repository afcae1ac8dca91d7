"""Who is let in when the pools have no room: nobody who would not be heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus import topics
from bus.pools import PoolWatch
from bus.presence import Process
from bus.session import BusSession
from bus.tasks import stop
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.phone import NewPhone, Phone, StartServer, jobs

CAPACITY = {"asr": 2, "llm": 4, "tts": 4}


@pytest.fixture
async def pools(
    session: BusSession, eventually: Eventually[Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PoolWatch]:
    """A watch that has seen one process of each pool for long enough to be sure of them."""
    monkeypatch.setattr("bus.pools.BEAT_S", 0.1)  # it looks ten times a second
    watch = PoolWatch(session.redis, session.presence, asyncio.get_running_loop().time)
    tasks = [asyncio.create_task(watch.run())]
    for number, (role, capacity) in enumerate(CAPACITY.items()):
        process = Process(role, number, "host", 0.0, capacity=capacity)
        tasks.append(
            asyncio.create_task(session.presence.keep_showing(lambda process=process: process))  # type: ignore[misc]
        )
    await eventually(lambda: watch.missing == {"recorder"})
    yield watch
    await stop(*tasks)


async def test_more_callers_at_once_than_the_transcribers_hear_are_told_to_come_again(
    start_server: StartServer,
    session: BusSession,
    new_phone: NewPhone,
    pools: PoolWatch,
    eventually: Eventually[Any],
) -> None:
    server = await start_server(pools)
    phones = [await new_phone(server) for _ in range(5)]
    answers = await asyncio.gather(*(phone.dial() for phone in phones))
    assert sorted(answer.status for answer in answers) == [200, 200, 503, 503, 503]
    retry = {answer.headers.get("Retry-After") for answer in answers if answer.status == 503}
    assert retry == {"10"}
    talking: list[Phone] = [
        phone for phone, answer in zip(phones, answers, strict=True) if answer.status == 200
    ]

    async def asked() -> bool:
        return await jobs(session, "asr") == 2

    await eventually(asked)
    seen = pools.taken_at
    await eventually(lambda: pools.taken_at > seen + 0.5)
    assert (await (await new_phone(server)).dial()).status == 503  # now by what the bus knows
    # One hangs up, and was heard to the end: the next caller is let in.
    await talking[0].hang_up()
    [first, _] = await session.redis.xrange(topics.jobs("asr"))
    await session.redis.xdel(topics.jobs("asr"), first[0])
    seen = pools.taken_at
    await eventually(lambda: pools.taken_at > seen)
    assert (await (await new_phone(server)).dial()).status == 200


async def looked_again(pools: PoolWatch) -> None:
    """Wait for a picture that was begun after now: one may be under way."""
    for _ in range(2):
        seen = pools.taken_at
        while pools.taken_at == seen:
            await asyncio.sleep(0.05)


async def test_callers_are_told_to_come_again_while_answers_are_late(
    start_server: StartServer, session: BusSession, new_phone: NewPhone, pools: PoolWatch
) -> None:
    server = await start_server(pools)
    now, _ = await session.redis.time()
    await session.redis.xadd(topics.jobs("llm"), {"job": "1"}, id=f"{(now - 60) * 1000}-0")
    await looked_again(pools)
    assert (await (await new_phone(server)).dial()).status == 503
    await session.redis.delete(topics.jobs("llm"))
    await looked_again(pools)
    assert (await (await new_phone(server)).dial()).status == 200
