"""The 20 ms beat of an ingress: one for all its calls, on absolute deadlines, so without drift.

No beat is left out: the caller's audio of a stall lies in the sockets, and each beat takes 20 ms of
it. What the agent says is another matter, since the far end has concealed what did not come: see
`LATE_MS`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import structlog

from legs.alarm import Until, alarm
from media.frames import FRAME_MS
from telemetry import metrics

_log = structlog.get_logger(__name__)
_STEP_S: Final = FRAME_MS / 1000
#: What should have left so long ago has been missed; it is said after the stall instead. In ms.
LATE_MS: Final = 200.0
#: Of a longer stall no more is made up for: the caller's audio is gone too. In s.
_MOST_S: Final = 10.0


async def tick_forever(
    tick: Callable[[float], None],
    waking: Callable[[], AbstractContextManager[Until]] = alarm,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Call `tick(late_ms)` for each 20 ms until cancelled; late ones follow each other at once.

    `waking` gives what waits for a moment of `clock`, s. (The loop's own clock is not asked:
    uvloop's counts milliseconds.)
    """
    due = clock() + _STEP_S
    stalled = False
    with waking() as until:
        while True:
            await until(due)
            late = clock() - due
            if late * 1000 < LATE_MS:
                stalled = False
            elif not stalled:
                stalled = True
                _log.warning("ticker.stalled", lag_ms=round(late * 1000))
                await asyncio.sleep(0)  # the sockets first
            if late > _MOST_S:
                due, late = due + late - _MOST_S, _MOST_S
            metrics.TICKER_LAG.observe(max(0.0, late))
            tick(max(0.0, late) * 1000)
            due += _STEP_S
