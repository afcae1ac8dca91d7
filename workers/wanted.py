"""Work on a reply goes on while the reply is wanted, and is cancelled at the provider when not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from bus.folds import Folds
from calls.events import Event
from calls.ids import CallId, ReplyId


async def while_wanted(
    folds: Folds, call: CallId, reply: ReplyId, work: Coroutine[Any, Any, None]
) -> bool:
    """Run `work` to its end. Returns False when it was cancelled, or not begun.

    A reply is unwanted once the call is over or, where the agent yields, a later turn has ended.
    """
    task = asyncio.ensure_future(work)
    unwanted = False

    def look(_: Event | None = None) -> None:
        nonlocal unwanted
        if not fold.conversation.is_current(reply):
            unwanted = True
            task.cancel()

    async with folds.follow(call, look) as fold:
        look()
        try:
            with suppress(asyncio.CancelledError):
                await task
        finally:
            if not task.done():
                task.cancel()
    return not unwanted
