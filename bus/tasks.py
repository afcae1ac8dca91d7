"""Ending tasks that speak to the bus."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 0.25


async def stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended, whatever they end with.

    A cancellation is repeated until it is heard: redis-py (8.1) now and then swallows one that
    comes just as an answer does, and a task that loops would go on for ever.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: whoever wanted it has had its chance
