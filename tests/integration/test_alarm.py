"""The alarm wakes at its moment, on the loops that we run on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median

import pytest
import uvloop

from legs.alarm import alarm


async def lateness(count: int) -> list[float]:
    """How late each of so many alarms came, s."""
    found = []
    with alarm() as until:
        for number in range(count):
            moment = time.monotonic() + 0.0013 + number * 0.00017  # no whole milliseconds
            await until(moment)
            found.append(time.monotonic() - moment)
    return found


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_never_comes_early_and_rarely_late(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    loop = new_loop()
    try:
        late = loop.run_until_complete(lateness(40))
    finally:
        loop.close()
    assert min(late) >= 0
    assert median(late) < 0.05  # a busy machine is late; one that does not wake is not here


def test_a_moment_that_has_passed_is_now() -> None:
    async def passed() -> None:
        with alarm() as until:
            async with asyncio.timeout(5):
                await until(time.monotonic() - 1)

    asyncio.run(passed())
