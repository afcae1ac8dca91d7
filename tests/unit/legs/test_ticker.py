"""The beat: none is left out, whatever holds the process up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from legs.alarm import Until
from legs.ticker import tick_forever


class Stalling(asyncio.SelectorEventLoop):
    """A loop whose clock the test moves."""

    now = 100.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def loop() -> Any:
    loop = Stalling()
    yield loop
    loop.close()


@contextmanager
def by_the_loop() -> Iterator[Until]:
    async def until(moment: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, moment - loop.time()))

    yield until


def beats(loop: Stalling, stalls: dict[int, float], until: float) -> list[float]:
    """Run for `until` s, stalled for so many s in some beats; gives how late each came, ms."""
    late: list[float] = []

    def tick(late_ms: float) -> None:
        late.append(round(late_ms))
        loop.now += stalls.get(len(late), 0.0)

    async def run() -> None:
        ticking = asyncio.ensure_future(tick_forever(tick, by_the_loop, loop.time))
        while loop.now < 100.0 + until:
            await asyncio.sleep(0)
            if not loop._ready:  # type: ignore[attr-defined]  # all sleep: time passes
                loop.now += 0.02
        ticking.cancel()

    loop.run_until_complete(run())
    return late


def test_beats_come_every_20_ms(loop: Stalling) -> None:
    assert len(beats(loop, {}, 1.0)) in (49, 50)


def test_every_beat_of_a_stall_is_made_up_for(loop: Stalling) -> None:
    late = beats(loop, {10: 0.5}, 1.5)
    assert len(late) in range(73, 77)
    assert max(late) in range(470, 510)


def test_of_a_very_long_stall_ten_seconds_are(loop: Stalling) -> None:
    late = beats(loop, {10: 60.0}, 61.0)
    assert max(late) == 10_000
    assert len(late) in range(510, 560)
