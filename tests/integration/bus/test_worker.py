"""Pools on a real queue: every job is done, whoever dies, drains or is full."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bus import topics
from bus.jobs import AnswerTurn
from bus.lease import Leases
from bus.log import SupersededError
from bus.session import BusSession
from bus.tasks import stop
from bus.worker import Pool
from telemetry import metrics
from tests.integration.conftest import Eventually, OpenSession
from tests.support.facts import CALL

LEASE_MS = 200
Work = Callable[[AnswerTurn], Awaitable[None]]
StartPool = Callable[..., Awaitable[Pool[AnswerTurn]]]


@pytest.fixture
async def start_pool(open_bus: OpenSession) -> AsyncIterator[StartPool]:
    """Starts pools, each in a session of its own."""
    pools: list[Pool[AnswerTurn]] = []

    async def started(
        name: str, work: Work, capacity: int = 4, **options: object
    ) -> Pool[AnswerTurn]:
        session = await open_bus(name)
        pool = Pool(
            session,
            "llm",
            AnswerTurn,
            work,
            capacity=capacity,
            lease_ms=LEASE_MS,
            **options,  # type: ignore[arg-type]
        )
        await pool.start()
        pools.append(pool)
        return pool

    yield started
    for pool in pools:
        await pool.drain()


async def ask(session: BusSession, *turns: int) -> None:
    for turn in turns:
        await session.topics.answer.publish(AnswerTurn(call=CALL, turn=turn))


async def queue_length(session: BusSession) -> int:
    return int(await session.redis.xlen(topics.jobs("llm")))


async def die(pool: Pool[AnswerTurn]) -> None:
    """What kill -9 leaves of a pool: nothing handed back, nothing acknowledged."""
    pool._draining = True
    pool._room.set()  # else a subscriber's end waits 15 s for the handler that waits for room
    for subscriber in pool._subscribers:
        await subscriber.stop()
    assert pool._keeper is not None
    await stop(pool._keeper, *pool._held.values())


async def test_two_pools_do_each_job_once(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    done: Counter[int] = Counter()
    workers: Counter[str] = Counter()

    def work(name: str) -> Work:
        async def do(job: AnswerTurn) -> None:
            await asyncio.sleep(0)
            done[job.turn] += 1
            workers[name] += 1

        return do

    await ask(session, *range(10))
    await start_pool("one", work("one"))
    await start_pool("two", work("two"))
    await ask(session, *range(10, 40))
    await eventually(lambda: len(done) == 40)
    assert set(done.values()) == {1}

    async def empty() -> bool:
        return await queue_length(session) == 0

    await eventually(empty)


async def test_a_dead_workers_job_is_taken_over(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    begun: list[str] = []
    never = asyncio.Event()

    async def stuck(job: AnswerTurn) -> None:
        begun.append("first")
        await never.wait()

    async def quick(job: AnswerTurn) -> None:
        begun.append("second")

    first = await start_pool("one", stuck)
    await ask(session, 1)
    await eventually(lambda: begun == ["first"])
    await start_pool("two", quick)
    await die(first)
    await eventually(lambda: begun == ["first", "second"])


async def test_a_living_workers_job_is_left_alone(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    begun: list[str] = []
    go = asyncio.Event()
    keeping = asyncio.Event()

    async def slow(job: AnswerTurn) -> None:
        begun.append("first")
        await go.wait()

    async def other(job: AnswerTurn) -> None:
        begun.append("second" if job.turn == 1 else "other")
        keeping.set()

    first = await start_pool("one", slow)
    await ask(session, 1)
    await eventually(lambda: begun == ["first"])
    await start_pool("two", other)
    leases = Leases(session.redis, "llm", "onlooker")
    [pending] = await session.redis.xpending_range(leases.queue, leases.group, "-", "+", 10)

    async def renewed() -> bool:
        [now] = await session.redis.xpending_range(leases.queue, leases.group, "-", "+", 10)
        assert now["consumer"] == pending["consumer"]
        idle: list[int] = seen
        idle.append(now["time_since_delivered"])
        # Renewed at least five times: that is longer than the lease lasts.
        return sum(later < earlier for earlier, later in itertools.pairwise(idle)) >= 5

    seen: list[int] = []
    await eventually(renewed)
    go.set()
    await eventually(lambda: first.owned == 0)
    assert begun == ["first"]


async def test_a_full_worker_takes_over_only_what_it_has_room_for(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    go = asyncio.Event()
    most = 0

    async def busy(job: AnswerTurn) -> None:
        nonlocal most
        await eventually(lambda: len(pools) == 2)
        most = max(most, pools[1].owned)
        await go.wait()

    pools: list[Pool[AnswerTurn]] = []
    await ask(session, *range(4))
    pools.append(await start_pool("dead", busy, capacity=2))
    await eventually(lambda: pools[0].owned == 2)
    pools.append(await start_pool("alive", busy, capacity=2))
    await eventually(lambda: pools[1].owned == 2)
    await die(pools[0])
    await asyncio.sleep(3 * LEASE_MS / 1000)  # the dead one's leases run out, more than once
    assert pools[1].owned == 2
    go.set()

    async def empty() -> bool:
        return await queue_length(session) == 0

    await eventually(empty)
    assert most == 2


async def test_a_drain_hands_back_at_once_and_takes_nothing_more(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    ends: list[str] = []

    async def stuck(job: AnswerTurn) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    first = await start_pool("one", stuck, capacity=1)
    await ask(session, 1)
    await eventually(lambda: first.owned == 1)
    # It is full, so a handler waits for room: a drain must not wait with it.
    async with asyncio.timeout(5):
        await first.drain()
    assert ends == ["cancelled"]
    leases = Leases(session.redis, "llm", "second")
    answer = await session.redis.xreadgroup(leases.group, "second", {leases.queue: ">"})
    assert len(answer[0][1]) == 1
    await ask(session, 2)
    await asyncio.sleep(LEASE_MS / 1000)
    assert first.owned == 0


async def test_a_drain_lets_short_jobs_finish(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    done: list[int] = []
    go = asyncio.Event()

    async def work(job: AnswerTurn) -> None:
        await go.wait()
        done.append(job.turn)

    pool = await start_pool("one", work, finish_s=10.0)
    await ask(session, 1)
    await eventually(lambda: pool.owned == 1)
    draining = asyncio.create_task(pool.drain())
    await ask(session, 2)
    # Several rounds of the keeper, which must not bring the subscriptions back.
    await asyncio.sleep(LEASE_MS / 1000)
    go.set()
    await draining
    assert done == [1]
    assert await queue_length(session) == 1


async def test_a_full_pool_leaves_the_rest_to_others(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    release = asyncio.Event()
    taken: Counter[str] = Counter()

    def work(name: str) -> Work:
        async def do(job: AnswerTurn) -> None:
            taken[name] += 1
            await release.wait()

        return do

    await start_pool("one", work("one"), capacity=2)
    await ask(session, *range(8))
    await eventually(lambda: taken["one"] == 2)
    await start_pool("two", work("two"), capacity=6)
    await eventually(lambda: taken["two"] == 6)
    assert taken["one"] == 2
    release.set()


async def test_a_bad_job_is_dropped_and_counted(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    def bad() -> float:
        return metrics.ERRORS.labels("llm", "bad_job")._value.get()

    done: list[int] = []

    async def work(job: AnswerTurn) -> None:
        done.append(job.turn)

    before = bad()
    await start_pool("one", work)
    await session.broker.publish({"call": CALL, "turn": -1}, stream=topics.jobs("llm"))
    await session.broker.publish("not even that", stream=topics.jobs("llm"))
    await session.redis.xadd(topics.jobs("llm"), {"foreign": "entry"})
    await ask(session, 1)
    await eventually(lambda: done == [1])

    async def empty() -> bool:
        return await queue_length(session) == 0

    await eventually(empty)
    assert bad() - before == 3


async def test_a_job_that_always_fails_is_given_up(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    attempts: list[int] = []
    given_up: list[str] = []

    async def work(job: AnswerTurn) -> None:
        attempts.append(job.turn)
        raise RuntimeError("no")

    async def give_up(job: AnswerTurn, error: Exception) -> None:
        given_up.append(f"{job.turn}: {error}")

    await start_pool("one", work, give_up=give_up)
    await start_pool("two", work, give_up=give_up)
    await ask(session, 7)
    await eventually(lambda: given_up == ["7: no"])
    assert attempts == [7] * 5
    assert await queue_length(session) == 0


async def test_a_job_queued_twice_ends_though_each_supersedes_the_other(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    async def work(job: AnswerTurn) -> None:
        raise SupersededError("llm")

    await start_pool("one", work)
    await ask(session, 1)

    async def empty() -> bool:
        return await queue_length(session) == 0

    await eventually(empty)


async def test_a_lost_lease_cancels_the_work(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    ends: list[str] = []

    async def stuck(job: AnswerTurn) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    pool = await start_pool("one", stuck)
    await ask(session, 1)
    await eventually(lambda: pool.owned == 1)
    leases = Leases(session.redis, "llm", "thief")
    await session.redis.xautoclaim(leases.queue, leases.group, "thief", 0)
    await eventually(lambda: ends == ["cancelled"])


async def test_a_bus_that_forgot_its_queues_is_worked_on(
    session: BusSession, start_pool: StartPool, eventually: Eventually[bool]
) -> None:
    done: list[int] = []

    async def work(job: AnswerTurn) -> None:
        done.append(job.turn)
        if job.turn == 1:
            await asyncio.Event().wait()  # held, so that there is a lease to renew

    await start_pool("one", work)
    await ask(session, 1)
    await eventually(lambda: done == [1])
    await session.redis.flushdb()
    await ask(session, 2)
    await eventually(lambda: 2 in done)
