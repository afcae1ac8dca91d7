"""Who is there: every live process of the installation, and every live call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import topics
from bus.board import Board
from calls.ids import CallId

BEAT_S: Final = 1.0
#: A process that has not shown itself for this long is gone, ms.
GONE_MS: Final = 2500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """A live process: `since` is its start (epoch ms), `owned` its calls, turns or sentences."""

    role: str
    pid: int
    host: str
    since: float
    owned: int = 0
    #: What it can be reached at: "udp:0.0.0.0:5060", "http://127.0.0.1:8080".
    address: str = ""
    #: How many it can own; 0 where there is no such number.
    capacity: int = 0


_PROCESS = TypeAdapter(Process)


class Presence:
    """Shows this process to the others, and the others to whoever asks."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._board = Board(redis, topics.PRESENCE, GONE_MS)

    async def show(self, process: Process) -> None:
        await self._say(process, _PROCESS.dump_json(process))

    async def hide(self, process: Process) -> None:
        await self._say(process, b"")

    async def _say(self, process: Process, what: bytes) -> None:
        await self._board.say(topics.process(process.role, process.host, process.pid), what)

    async def keep_showing(self, process: Callable[[], Process]) -> None:
        """Show the process until cancelled."""
        while True:
            try:
                await self.show(process())
            except (RedisError, OSError) as error:
                _log.warning("bus.presence_failed", error=str(error))
            await asyncio.sleep(BEAT_S)

    async def processes(self) -> list[Process]:
        """All live processes, by role and pid."""
        found = []
        for value in await self._board.live():
            try:
                found.append(_PROCESS.validate_json(value))
            except ValidationError as error:
                _log.warning("bus.presence_unreadable", error=str(error))
        return sorted(found, key=lambda process: (process.role, process.host, process.pid))

    async def beat(self, calls: Iterable[CallId], now_ms: float) -> None:
        """An ingress says that these calls are alive, and keeps their keys from expiring."""
        scores = dict.fromkeys(map(str, calls), now_ms)
        if not scores:
            return
        pipe = self._redis.pipeline(transaction=False)
        pipe.zadd(topics.LIVE, scores)
        for call in scores:
            for key in topics.call_keys(CallId(call)):
                pipe.expire(key, topics.CALL_TTL_S)
        await pipe.execute()

    async def live_calls(self) -> dict[CallId, float]:
        """Calls that have begun and are not recorded yet: their last sign of life, epoch ms."""
        pairs: Any = await self._redis.zrange(topics.LIVE, 0, -1, withscores=True)
        return {CallId(call.decode()): score for call, score in pairs}

    async def forget(self, call: CallId) -> None:
        """The call is recorded."""
        await self._redis.zrem(topics.LIVE, call)


def as_json(process: Process) -> dict[str, object]:
    """For `trunkline status --json`."""
    return asdict(process)
