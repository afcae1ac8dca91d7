"""One 20 ms beat for all callers of the process, on absolute times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

_FRAME_S: Final = 0.02


class Clock:
    """Calls `tick()` every 20 ms until cancelled, and knows how late it was.

    A late beat is followed at once by those it held up: the far end's jitter buffer gets what a
    phone on a bad network would send.
    """

    def __init__(self, tick: Callable[[], None]) -> None:
        #: How late each beat was, ms.
        self.lags_ms: list[float] = []
        self._tick = tick

    async def run(self) -> None:
        """Beat."""
        start = time.monotonic()
        count = 0
        while True:
            due = start + count * _FRAME_S
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self.lags_ms.append(max(0.0, time.monotonic() - due) * 1000)
            self._tick()
            count += 1
