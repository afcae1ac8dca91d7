"""The 20 ms beat of an ingress: one for all its calls, on absolute deadlines, so without drift."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from media.frames import FRAME_MS
from telemetry import metrics

_log = structlog.get_logger(__name__)
_STEP_S: Final = FRAME_MS / 1000
#: After a stall this long, missed beats are not made up for: the far end has concealed them. In s.
_STALL_S: Final = 0.2


async def tick_forever(tick: Callable[[], None]) -> None:
    """Call `tick` every 20 ms until cancelled; a late beat is followed at once by the next."""
    loop = asyncio.get_running_loop()
    due = loop.time() + _STEP_S
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        lag = loop.time() - due
        metrics.TICKER_LAG.observe(max(0.0, lag))
        if lag > _STALL_S:
            _log.warning("ticker.stalled", lag_ms=round(lag * 1000))
            due = loop.time()
        tick()
        due += _STEP_S
