"""Work on a reply goes on while the reply is wanted, and is cancelled at the provider when not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from bus.folds import Folds
from bus.tasks import stop
from calls.events import Event
from calls.ids import CallId, ReplyId


async def while_wanted(
    folds: Folds, call: CallId, reply: ReplyId, work: Coroutine[Any, Any, None]
) -> bool:
    """Run `work` to its end. Returns False when it was cancelled as unwanted, or not begun.

    A reply is unwanted once the call is over or, where the agent yields, a later turn has ended.
    A cancellation from above (a drain, a lost lease) goes on up, once the work has closed its
    provider.
    """
    task: asyncio.Task[None] | None = None
    unwanted = asyncio.Event()

    def look(_: Event) -> None:
        if not fold.conversation.is_current(reply):
            unwanted.set()

    try:
        async with folds.follow(call, look) as fold:
            if not fold.conversation.is_current(reply):
                return False
            task = asyncio.create_task(work)
            overtaken = asyncio.create_task(unwanted.wait())
            try:
                await asyncio.wait({task, overtaken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await stop(task, overtaken)
    finally:
        if task is None:
            work.close()
    if task.cancelled():
        return False
    task.result()  # raises what the work raised
    return True
