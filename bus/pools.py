"""A picture of the pools, about a second old: who is there, what they can own, and what waits.

An ingress keeps it to know, without asking, whether one more caller would be heard and answered,
and whether those who wait for an answer wait for somebody who is there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import topics
from bus.presence import BEAT_S, GONE_MS, Presence, Process
from bus.topics import POOLS, PoolName
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: A picture older than this tells nothing, s.
_STALE_S: Final = 3.0
#: Pictures this far apart have a pause between them, in which processes could not show themselves.
_PAUSE_S: Final = 2.0
#: Without one of these a caller would not be heard, or not answered. Recordings can wait.
NEEDED: Final[frozenset[PoolName]] = frozenset({"asr", "llm", "tts"})
#: Of these pools a backlog is heard as silence. What the asr pool owes is calls, not moments.
_PROMPT: Final[tuple[PoolName, ...]] = ("llm", "tts")

Shortage = Literal["pool_missing", "pool_full", "pool_late"]

# KEYS: since when processes are known, queues. ARGV: their groups. Returns for how long processes
# are known, ms, and for each queue: jobs in all, jobs that nobody has taken yet, and how long the
# first of these has waited, ms.
_QUEUES: Final = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local found = {ms - tonumber(redis.call('GET', KEYS[1]) or ms)}
for i, group_name in ipairs(ARGV) do
  local key = KEYS[i + 1]
  local length = redis.call('XLEN', key)
  local taken, last = 0, '0-0'
  local groups = length > 0 and redis.call('XINFO', 'GROUPS', key) or {}
  for _, group in ipairs(groups) do
    local about = {}
    for field = 1, #group, 2 do about[group[field]] = group[field + 1] end
    if about['name'] == group_name then
      taken, last = about['pending'], about['last-delivered-id']
    end
  end
  local first = redis.call('XRANGE', key, '(' .. last, '+', 'COUNT', 1)[1]
  local age = first and ms - tonumber(first[1]:match('^%d+')) or 0
  found[i + 1] = {length, math.max(0, length - taken), math.max(0, age)}
end
return found
"""


@dataclass(frozen=True, slots=True)
class Queue:
    """A pool's queue: jobs in all, those that nobody has taken, and how long the first of these
    waits, ms.
    """

    jobs: int = 0
    waiting: int = 0
    oldest_ms: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """The pools at one moment: `at` by the watch's clock, s."""

    at: float
    processes: tuple[Process, ...] = ()
    queues: Mapping[PoolName, Queue] = field(default_factory=dict)
    #: For how long the bus has known processes, ms: one that lost its data has to learn them anew.
    known_ms: float = math.inf

    def capacity(self, pool: PoolName) -> int:
        """How many jobs the pool's live processes can own."""
        return sum(process.capacity for process in self.processes if process.role == pool)

    def is_there(self, pool: PoolName) -> bool:
        """Does anybody take the pool's jobs? Whoever drains says that it can own none."""
        return self.capacity(pool) > 0


class PoolWatch:
    """Keeps the picture. Start `run` as a task."""

    def __init__(
        self,
        redis: Redis,
        presence: Presence,
        clock_s: Callable[[], float],
        *,
        grace_s: float = 10.0,
        max_lag_s: float = 3.0,
    ) -> None:
        """`clock_s` never jumps. A pool may be away for `grace_s`, and jobs wait for `max_lag_s`,
        before new calls are refused.
        """
        self._queues = redis.register_script(_QUEUES)
        self._presence = presence
        self._clock_s = clock_s
        self._grace_s = grace_s
        self._max_lag_s = max_lag_s
        self._picture = Picture(-math.inf)
        self._missing: frozenset[PoolName] = frozenset(POOLS)
        #: Since when the pictures follow each other without a pause.
        self._watching_since = math.inf
        #: When each pool was last seen, or first looked for.
        self._seen: dict[PoolName, float] = {}

    async def run(self) -> None:
        """Look once a second until cancelled; a bus that is away is waited for."""
        while True:
            try:
                self.take(await self.look())
            except (RedisError, OSError) as error:
                _log.warning("bus.look_failed", error=str(error))
            await asyncio.sleep(BEAT_S)

    async def look(self) -> Picture:
        """Look at the pools once: two short commands.

        Raises:
            BusError
        """
        at = self._clock_s()
        groups: list[str | int | bytes] = [topics.group(pool) for pool in POOLS]
        keys = [topics.PROCESSES_SINCE, *(topics.jobs(pool) for pool in POOLS)]
        known_ms, *found = cast(list[Any], await self._queues(keys=keys, args=groups))
        queues = {pool: Queue(*numbers) for pool, numbers in zip(POOLS, found, strict=True)}
        return Picture(at, tuple(await self._presence.processes()), queues, known_ms)

    def take(self, picture: Picture) -> None:
        """Take a new picture. One that comes after a pause does not yet tell who is missing."""
        if picture.at - self._picture.at > _PAUSE_S:
            self._watching_since = picture.at
            self._seen.clear()
        self._picture = picture
        self._missing = frozenset(pool for pool in POOLS if not picture.is_there(pool))
        for pool in POOLS:
            if picture.is_there(pool) or pool not in self._seen:
                self._seen[pool] = picture.at
            metrics.POOL_CAPACITY.labels(pool).set(picture.capacity(pool))

    @property
    def taken_at(self) -> float:
        """When the picture was taken, by the watch's clock, s."""
        return self._picture.at

    @property
    def missing(self) -> frozenset[PoolName]:
        """Pools without a live process; none where the bus has told nothing lately."""
        return self._missing if self._is_sure() else frozenset()

    def shortage(self, coming: int) -> Shortage | None:
        """Why one more call would not be served well; None when it would, or when nobody knows.

        Args:
            coming: Calls that were let in, and that the asr pool was not yet asked to hear when the
                picture was taken.
        """
        if not self._is_sure():
            return None
        now, missing = self._clock_s(), self.missing
        if any(now - self._seen[pool] > self._grace_s for pool in NEEDED & missing):
            return "pool_missing"
        # Each call has its job in the asr queue from its beginning to its end.
        calls = self._picture.queues.get("asr", Queue()).jobs + coming
        if "asr" not in missing and calls >= self._picture.capacity("asr"):
            return "pool_full"
        if any(self._lag_s(pool) > self._max_lag_s for pool in _PROMPT if pool not in missing):
            return "pool_late"
        return None

    def _lag_s(self, pool: PoolName) -> float:
        return self._picture.queues.get(pool, Queue()).oldest_ms / 1000

    def _is_sure(self) -> bool:
        """Is the picture fresh, and did every process have the time to show itself?"""
        return (
            self._clock_s() - self._picture.at <= _STALE_S
            and self._picture.at - self._watching_since >= GONE_MS / 1000
            and self._picture.known_ms >= GONE_MS
        )
