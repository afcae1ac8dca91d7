"""Following streams: one blocking read, every event once, nobody deafened by another."""

from __future__ import annotations

import asyncio
from collections import Counter

from bus import topics
from bus.folds import Folds
from bus.session import BusSession
from bus.tail import Feed
from calls import events as e
from calls.ids import CallId
from tests.integration.conftest import Eventually, OpenSession
from tests.support.facts import CALL, started, turn


def call(number: int) -> CallId:
    return CallId(f"20260102t030405-{number:08d}")


async def test_a_follower_hears_of_what_comes_after_what_was_there(
    session: BusSession, open_bus: OpenSession, eventually: Eventually[bool]
) -> None:
    writer = await open_bus("writer")
    await writer.log.append(CALL, started())
    heard: list[e.Event] = []
    async with session.folds.follow(CALL, heard.append) as fold:
        assert fold.conversation.started is not None
        assert heard == []
        await writer.log.append(CALL, turn(1))
        await eventually(lambda: heard == [turn(1)])
        assert fold.conversation.current_turn == 1
    await writer.log.append(CALL, turn(2))
    assert (await session.folds.get(CALL)).conversation.current_turn == 2
    assert heard == [turn(1)]


async def test_no_event_is_told_twice_when_reading_and_following_interleave(
    session: BusSession, open_bus: OpenSession, eventually: Eventually[bool]
) -> None:
    writer = await open_bus("writer")
    heard: Counter[int] = Counter()

    def listen(event: e.Event) -> None:
        assert isinstance(event, e.TurnEnded)
        heard[event.turn] += 1

    async with session.folds.follow(CALL, listen) as fold:
        for number in range(1, 201):
            await asyncio.gather(
                writer.log.append(CALL, turn(number)),
                session.folds.get(CALL),
                session.folds.get(CALL),
            )
        await eventually(lambda: len(heard) == 200)
        assert fold.conversation.current_turn == 200
    assert set(heard.values()) == {1}


async def test_many_calls_are_followed_at_once(
    session: BusSession, open_bus: OpenSession, eventually: Eventually[bool]
) -> None:
    writer = await open_bus("writer")
    heard: Counter[CallId] = Counter()
    followed = [
        session.folds.follow(call(n), lambda _, n=n: heard.update([call(n)])) for n in range(50)
    ]  # type: ignore[misc]
    for each in followed:
        await each.__aenter__()
    await asyncio.gather(*(writer.log.append(call(n), turn(1), turn(2)) for n in range(50)))
    await eventually(lambda: sum(heard.values()) == 100)
    assert set(heard.values()) == {2}
    for each in followed:
        await each.__aexit__(None, None, None)


async def test_two_followers_of_a_call_share_its_fold_and_leave_one_by_one(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    first: list[e.Event] = []
    second: list[e.Event] = []
    async with session.folds.follow(CALL, first.append) as one:
        async with session.folds.follow(CALL, second.append) as two:
            assert one is two
            await session.log.append(CALL, turn(1))
            await eventually(lambda: len(first) == len(second) == 1)
        await session.log.append(CALL, turn(2))
        await eventually(lambda: len(first) == 2)
        assert len(second) == 1


async def test_a_listener_that_fails_deafens_nobody(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    heard: list[e.Event] = []

    def broken(event: e.Event) -> None:
        raise RuntimeError("a listener's mistake")

    async with session.folds.follow(CALL, broken) as fold, session.folds.follow(CALL, heard.append):
        await session.log.append(CALL, turn(1))
        await session.log.append(CALL, turn(2))
        await eventually(lambda: heard == [turn(1), turn(2)])
        assert fold.conversation.current_turn == 2


async def test_a_sink_that_fails_deafens_nobody(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    heard: list[bytes] = []

    def broken(entries: object) -> None:
        raise RuntimeError("a sink's mistake")

    session.tail.follow("bad", "0-0", broken)
    session.tail.follow("good", "0-0", lambda entries: heard.extend(id_ for id_, _ in entries))
    await session.redis.xadd("bad", {"a": 1})
    first = await session.redis.xadd("good", {"a": 1})
    await eventually(lambda: heard == [first])
    second = await session.redis.xadd("good", {"a": 2})
    await eventually(lambda: heard == [first, second])


async def test_what_cannot_be_read_is_passed_over(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    heard: list[e.Event] = []
    async with session.folds.follow(CALL, heard.append):
        await session.redis.xadd(topics.events(CALL), {"e": b"garbage"})
        bad_reply = b'{"kind": "reply.started", "at": 1, "reply": "x"}'
        await session.redis.xadd(topics.events(CALL), {"e": bad_reply})
        await session.log.append(CALL, turn(1))
        await eventually(lambda: heard == [turn(1)])


async def test_a_followed_call_is_never_forgotten(session: BusSession) -> None:
    folds = Folds(session.log, session.tail, keep=2)
    async with folds.follow(call(0), lambda _: None) as fold:
        async with folds.follow(call(1), lambda _: None):
            for number in range(2, 6):
                await folds.get(call(number))
                async with folds.follow(call(number), lambda _: None) as other:
                    assert await folds.get(call(number)) is other
        assert await folds.get(call(0)) is fold


async def test_a_call_nobody_follows_is_forgotten_in_time(session: BusSession) -> None:
    folds = Folds(session.log, session.tail, keep=2)
    await session.log.append(call(0), turn(1))
    first = await folds.get(call(0))
    for number in range(1, 4):
        await folds.get(call(number))
    again = await folds.get(call(0))
    assert again is not first
    assert again.conversation.current_turn == 1


async def test_whoever_follows_last_is_not_dropped_by_whoever_came_before(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    first, second = Feed(), Feed()
    heard: list[bytes] = []
    session.tail.follow("stream", "0-0", first)
    session.tail.follow("stream", "0-0", second)
    session.tail.drop("stream", first)

    async def read() -> None:
        async for entries in second:
            heard.extend(entry_id for entry_id, _ in entries)

    reading = asyncio.create_task(read())
    written = await session.redis.xadd("stream", {"a": 1})
    await eventually(lambda: heard == [written])
    second.close()
    await reading


async def test_reading_goes_on_when_its_connection_is_cut(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    heard: list[e.Event] = []
    async with session.folds.follow(CALL, heard.append):
        await session.redis.client_kill_filter(_type="normal", skipme=True)
        await session.log.append(CALL, turn(1))
        await eventually(lambda: heard == [turn(1)])


async def test_a_feed_gives_what_came_meanwhile_as_one_batch() -> None:
    feed = Feed()
    feed([(b"1-0", {})])
    feed([(b"2-0", {}), (b"3-0", {})])
    batches = aiter(feed)
    assert [entry_id for entry_id, _ in await anext(batches)] == [b"1-0", b"2-0", b"3-0"]
    feed([])
    assert await anext(batches) == []
    feed([(b"4-0", {})])
    feed.close()
    assert await anext(batches) == [(b"4-0", {})]
    assert [batch async for batch in batches] == []
