"""One read over many streams: what arrives is handed on, and reads keep their distance."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bus.tail import Entries, Tail
from bus.tasks import stop

Answer = list[tuple[bytes, Entries]]


class _Bus:
    """Answers reads as a script says, and then with nothing."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.reads: list[dict[bytes, bytes]] = []
        self._answers = list(answers)

    async def xrevrange(self, key: bytes, count: int) -> Entries:
        return []

    async def xread(self, streams: dict[bytes, bytes], count: int, block: int) -> Answer:
        self.reads.append(streams)
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, *, transaction: bool) -> _Bus:
        return self

    def xadd(self, *args: Any, **kwargs: Any) -> None:
        """Nobody is woken: every read returns at once."""

    def expire(self, *args: Any) -> None:
        """Nor does anything expire."""

    async def execute(self) -> None:
        """There is nothing to do."""


async def pauses(bus: _Bus, followed: dict[str, list[Entries]], reads: int) -> list[float]:
    """Follow these streams for so many reads; how long was slept after each, s."""
    slept: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == reads:
            done.set()
        await asyncio.sleep(0)

    tail = Tail(cast(Redis, bus), "test", sleep=sleep)
    for key, got in followed.items():
        tail.follow(key, "0-0", got.append)
    reading = asyncio.create_task(tail.run())
    await done.wait()
    await stop(reading)
    return slept[:reads]


async def test_entries_go_to_their_follower_and_the_next_read_is_after_them() -> None:
    entry = (b"7-0", {b"e": b"x"})
    bus = _Bus([(b"a", [entry])])
    followed: dict[str, list[Entries]] = {"a": [], "b": []}
    await pauses(bus, followed, 2)
    assert followed == {"a": [[entry]], "b": []}
    assert (bus.reads[1][b"a"], bus.reads[1][b"b"]) == (b"7-0", b"0-0")


async def test_the_more_streams_a_read_names_the_longer_the_pause_after_it() -> None:
    few = await pauses(_Bus(), {"a": []}, 1)
    many = await pauses(_Bus(), {f"stream-{n}": [] for n in range(400)}, 1)
    assert few[0] < 0.001, "a few calls wait for nothing"
    assert many == [pytest.approx(400 * few[0])]
    assert many[0] < 0.02, "longer than a frame"


async def test_a_bus_that_is_away_is_asked_again_later() -> None:
    bus = _Bus(RedisConnectionError("away"))
    (after_error, after_read) = await pauses(bus, {"a": []}, 2)
    assert after_error > 0.1 > after_read
    assert len(bus.reads) >= 2
