"""Work on a reply goes on while the reply is wanted; if not, it is cancelled at the provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from bus.folds import Folds
from bus.tasks import stop
from calls.events import Event
from calls.ids import CallId, ReplyId


async def while_wanted(
    folds: Folds,
    call: CallId,
    reply: ReplyId,
    work: Coroutine[Any, Any, None],
    *,
    sentence: int | None = None,
) -> bool:
    """Run `work` to its end. Returns False when it was cancelled as unwanted, or not begun.

    A reply is unwanted once the call is over, where the agent yields and a later turn has ended,
    and when it answers a guess that was wrong. One `sentence` of it may be wanted all the same.
    A cancellation from above (a drain, a lost lease) goes on up, once the work has closed its
    provider.
    """
    task: asyncio.Task[None] | None = None
    unwanted = asyncio.Event()

    def wanted() -> bool:
        if sentence is not None:
            return fold.conversation.is_wanted(reply, sentence)
        return fold.conversation.is_current(reply)

    def look(_: Event) -> None:
        if not wanted():
            unwanted.set()

    try:
        async with folds.follow(call, look) as fold:
            if not wanted():
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


async def until(folds: Folds, call: CallId, due: Callable[[], bool]) -> None:
    """Wait until what the log says of the call makes `due()` true."""
    if due():
        return
    happened = asyncio.Event()
    async with folds.follow(call, lambda _: happened.set()):
        while not due():
            happened.clear()
            await happened.wait()
