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

# Times are the server's: hosts' clocks differ. KEYS: hash, sorted set, since. ARGV: process, what
# it says; nothing said: it leaves.
_SHOW: Final = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[2], string.format('%.0f', ms), ARGV[1])
  redis.call('SET', KEYS[3], string.format('%.0f', ms), 'NX')
end
"""

# KEYS: hash, sorted set. ARGV: how long until a process is gone, ms. Those that are gone for ten
# times as long are forgotten.
_LIVE: Final = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local function before(age) return string.format('(%.0f', ms - age) end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', before(10 * ARGV[1]))) do
  redis.call('HDEL', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
end
local live = redis.call('ZRANGEBYSCORE', KEYS[2], before(ARGV[1]):sub(2), '+inf')
if #live == 0 then
  return {}
end
return redis.call('HMGET', KEYS[1], unpack(live))
"""


class Presence:
    """Shows this process to the others, and the others to whoever asks."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._show = redis.register_script(_SHOW)
        self._live = redis.register_script(_LIVE)

    async def show(self, process: Process) -> None:
        await self._say(process, _PROCESS.dump_json(process))

    async def hide(self, process: Process) -> None:
        await self._say(process, b"")

    async def _say(self, process: Process, what: bytes) -> None:
        name = topics.process(process.role, process.host, process.pid)
        keys = [topics.PROCESSES, topics.PROCESSES_SEEN, topics.PROCESSES_SINCE]
        await self._show(keys=keys, args=[name, what])

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
        said: Any = await self._live(keys=[topics.PROCESSES, topics.PROCESSES_SEEN], args=[GONE_MS])
        found = []
        for value in said:
            try:
                found.append(_PROCESS.validate_json(value or b""))
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
