"""How long to wait for a provider, at the price of one timer for a whole stream.

A time-out around each piece arms and cancels a timer per piece, which a stream of tokens pays for
hundreds of times and hardly ever needs. Here a wait only notes when it began; one timer looks, when
a wait could have lasted too long, whether one has, and sleeps for the rest if not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import TypeVar

from workers.ports import ProviderError

T = TypeVar("T")


class Patience:
    """`with patience: await ...` cancels a wait that lasts longer than `limit_s`.

    For one wait at a time; any number of them one after the other. What is done between two waits
    takes no patience.
    """

    def __init__(self, limit_s: float, complaint: str) -> None:
        """`complaint` is the error's message when it is lost."""
        self._limit_s = limit_s
        self._complaint = complaint
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._since = 0.0
        self._cancelling = 0
        self._lost = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._waiting, self._since = task, self._loop.time()
        self._cancelling, self._lost = task.cancelling(), False
        if self._timer is None:
            self._timer = self._loop.call_at(self._since + self._limit_s, self._look)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raises ProviderError ("timeout") when this, and nobody else, ended the wait."""
        task, self._waiting = self._waiting, None
        if not self._lost:
            return
        assert task is not None
        others = task.uncancel() > self._cancelling
        if kind is asyncio.CancelledError and not others:
            raise ProviderError(self._complaint, error_type="timeout") from None

    def _look(self) -> None:
        if self._waiting is None:
            self._timer = None  # the next wait sets it again
            return
        due = self._since + self._limit_s
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._look)
            return
        self._timer, self._lost = None, True
        self._waiting.cancel()


async def patiently(stream: AsyncIterator[T], patience: Patience) -> AsyncGenerator[T, None]:
    """Yield what `stream` yields, waiting for each piece no longer than that; then close it.

    Raises:
        ProviderError: "timeout", or what the stream raises.
    """
    async with aclosing(stream):  # type: ignore[type-var]  # ports return generators
        while True:
            with patience:
                piece = await anext(stream, None)
            if piece is None:
                return
            yield piece
