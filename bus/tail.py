"""One blocking read over many streams: whatever arrives in any of them is handed to its follower.

A task and a connection per call cost four times the CPU at 100 calls and collapse at 300
(docs/adr/0003); so each process has one Tail, and its calls follow their streams through it.

A read names all streams whichever of them has something, which costs its client 2 us for each. So
after a read there is a pause, five times as long: what comes meanwhile is read together, 1 ms later
with 100 streams. Reads that are further apart never wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus.broker import BLOCK_MS

Entries = list[tuple[bytes, dict[bytes, bytes]]]

_log = structlog.get_logger(__name__)
_RETRY_S: Final = 0.5
_PAUSE_S: Final = 10e-6
"""For each stream."""
_WAKE_TTL_S: Final = 60


class Tail:
    """Follows streams. Start `run` as a task; follow and drop at any time."""

    def __init__(
        self,
        redis: Redis,
        name: str,
        *,
        count: int = 500,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`name` is unique to the process: a stream of that name wakes the blocking read."""
        self._redis = redis
        self._wake = f"wake:{name}".encode()
        self._wake_id = b"$"
        self._count = count
        self._sleep = sleep
        self._from: dict[bytes, bytes] = {}
        self._sinks: dict[bytes, Callable[[Entries], None]] = {}
        self._woken = False
        self._ringing: asyncio.Future[None] | None = None

    def follow(self, key: str, after: str, sink: Callable[[Entries], None]) -> None:
        """Hand the entries of `key` after the id `after` to `sink`, in order, from now on.

        `sink` is called on the event loop and must not block.
        """
        self._from[key.encode()] = after.encode()
        self._sinks[key.encode()] = sink
        self._wake_up()

    def drop(self, key: str, sink: Callable[[Entries], None]) -> None:
        """Hand `sink` no more of `key`; whoever has followed it since goes on."""
        if self._sinks.get(key.encode()) == sink:
            del self._from[key.encode()]
            del self._sinks[key.encode()]

    def _wake_up(self) -> None:
        if not self._woken:
            self._woken = True
            self._ringing = asyncio.ensure_future(self._ring())
            # A bus that is away fails the read too, and the next read starts with the new key.
            self._ringing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _ring(self) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.xadd(self._wake, {"w": ""}, maxlen=1)
        pipe.expire(self._wake, _WAKE_TTL_S)
        await pipe.execute()

    async def run(self) -> None:
        """Read until cancelled. A bus that is away is waited for."""
        while True:
            try:
                await self._read_once()
            except (RedisError, OSError) as error:
                _log.warning("bus.read_failed", error=str(error))
                await self._sleep(_RETRY_S)
            else:
                await self._sleep(len(self._from) * _PAUSE_S)

    async def _read_once(self) -> None:
        if self._wake_id == b"$":
            last: Any = await self._redis.xrevrange(self._wake, count=1)
            self._wake_id = last[0][0] if last else b"0-0"
        self._woken = False
        keys = {**self._from, self._wake: self._wake_id}
        streams: dict[Any, Any] = keys
        answer: Any = await self._redis.xread(streams, count=self._count, block=BLOCK_MS)
        for key, entries in answer:
            if key == self._wake:
                self._wake_id = entries[-1][0]
            elif key in self._from and self._from[key] == keys[key]:
                self._from[key] = entries[-1][0]
                try:
                    self._sinks[key](entries)
                except Exception:
                    # One follower's mistake must not deafen the others.
                    _log.exception("bus.follower_failed", key=key.decode())


class Feed:
    """A follower that a task can iterate: what arrives while it is busy comes as one batch.

    Handing it an empty list makes it yield one: a way to have its task look up.
    """

    def __init__(self) -> None:
        self._entries: Entries = []
        self._arrived = asyncio.Event()
        self._closed = False

    def __call__(self, entries: Entries) -> None:
        self._entries += entries
        self._arrived.set()

    def close(self) -> None:
        """End the iteration once what has arrived was taken."""
        self._closed = True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Entries]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            entries, self._entries = self._entries, []
            yield entries
            if self._closed and not self._entries:
                return
