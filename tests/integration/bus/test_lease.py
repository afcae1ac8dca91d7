"""Leases: who owns a job, and who does not any more."""

from __future__ import annotations

from typing import Any

from bus.lease import Leases
from bus.session import BusSession


async def two(session: BusSession) -> tuple[Leases, Leases]:
    first = Leases(session.redis, "asr", "first")
    await first.ensure_group()
    return first, Leases(session.redis, "asr", "second")


async def take(session: BusSession, leases: Leases) -> bytes:
    """Put a job on the queue, and read it as its worker does."""
    await session.redis.xadd(leases.queue, {"job": "1"})
    answer: Any = await session.redis.xreadgroup(
        leases.group, leases.consumer, {leases.queue: ">"}, count=1
    )
    entry: bytes = answer[0][1][0][0]
    return entry


async def claimable(session: BusSession, leases: Leases, idle_ms: int) -> list[bytes]:
    """What a worker's look for abandoned jobs finds; it owns it then."""
    answer: Any = await session.redis.xautoclaim(
        leases.queue, leases.group, leases.consumer, min_idle_time=idle_ms
    )
    return [entry_id for entry_id, _ in answer[1]]


async def test_only_the_owner_renews(session: BusSession) -> None:
    first, second = await two(session)
    entry = await take(session, first)
    assert await first.renew([entry]) == {entry}
    assert await second.renew([entry]) == set()
    assert await first.renew([]) == set()


async def next_job(session: BusSession, leases: Leases) -> list[Any]:
    """What a worker that waits for jobs gets."""
    answer: Any = await session.redis.xreadgroup(
        leases.group, leases.consumer, {leases.queue: ">"}, count=1
    )
    return list(answer[0][1]) if answer else []


async def test_a_job_handed_back_goes_to_whoever_waits(session: BusSession) -> None:
    first, second = await two(session)
    entry = await take(session, first)
    assert await next_job(session, second) == []
    await first.hand_back([entry])
    [(again, job)] = await next_job(session, second)
    assert job == {b"job": b"1"}
    assert await first.renew([entry, again]) == set()
    assert await second.renew([again]) == {again}
    assert await session.redis.xlen(first.queue) == 1


async def test_a_worker_that_lost_its_job_cannot_finish_it(session: BusSession) -> None:
    first, second = await two(session)
    entry = await take(session, first)
    assert await claimable(session, second, 0) == [entry]
    assert not await first.done(entry)
    await first.hand_back([entry])
    assert await second.done(entry)
    assert not await second.done(entry)
    assert await session.redis.xlen(first.queue) == 0
    assert await first.lag() == (0, 0)


async def test_a_renewed_job_is_not_idle(session: BusSession) -> None:
    first, second = await two(session)
    entry = await take(session, first)
    await session.redis.xclaim(
        first.queue, first.group, first.consumer, 0, [entry], idle=60_000, justid=True
    )
    await first.renew([entry])
    assert await claimable(session, second, 60_000) == []


async def test_handing_back_what_is_not_ours_does_nothing(session: BusSession) -> None:
    first, second = await two(session)
    entry = await take(session, first)
    await second.hand_back([entry])
    assert await next_job(session, second) == []
    assert await first.renew([entry]) == {entry}


async def test_failures_are_counted_over_workers_and_deaths_are_not(session: BusSession) -> None:
    first, second = await two(session)
    entry = await take(session, first)
    assert await first.failed(entry) == 1
    await claimable(session, second, 0)
    assert await second.failed(entry) == 2
    await second.done(entry)
    assert await second.failed(entry) == 1


async def test_a_queue_says_how_much_waits(session: BusSession) -> None:
    first, _ = await two(session)
    await session.redis.xadd(first.queue, {"job": "1"})
    entry = await take(session, first)
    assert await first.lag() == (1, 1)
    await first.done(entry)
    assert await first.lag() == (1, 0)


async def test_no_queue_is_no_lag(session: BusSession) -> None:
    assert await Leases(session.redis, "tts", "first").lag() == (0, 0)


async def test_a_group_begins_with_what_waits_already(session: BusSession) -> None:
    first = Leases(session.redis, "asr", "first")
    await session.redis.xadd(first.queue, {"job": "0"})
    await first.ensure_group()
    await first.ensure_group()
    assert await take(session, first) < await take(session, first)


async def test_a_consumer_that_owns_something_is_never_forgotten(session: BusSession) -> None:
    first, _ = await two(session)
    await take(session, first)
    await first.sweep()
    [consumer] = await session.redis.xinfo_consumers(first.queue, first.group)
    assert consumer["pending"] == 1


async def test_an_onlooker_sees_who_holds_which_job(session: BusSession) -> None:
    first, second = await two(session)
    await session.redis.xadd(first.queue, {"job": "0"})
    onlooker = Leases(session.redis, "asr", "onlooker")
    assert await onlooker.holders() == {b"0": None}
    [(entry, _)] = await next_job(session, first)
    assert await onlooker.holders() == {b"0": "first"}
    await first.hand_back([entry])
    assert await onlooker.holders() == {b"0": None}
    [(entry, _)] = await next_job(session, second)
    assert await onlooker.holders() == {b"0": "second"}
    await second.done(entry)
    assert await onlooker.holders() == {}
