"""Owning a job: its entry in the group's pending list is the lease.

The owner renews it every third of the lease; whoever finds it idle for longer claims it. Renewing
and finishing first check, in one script, that the entry is still ours: a bare XCLAIM would let a
worker that was stopped for a while steal its call back from the one that took it over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bus import topics

# KEYS: queue. ARGV: group, consumer, ids. Returns the ids that were ours.
_RENEW = """
local ours = {}
for i = 3, #ARGV do
  local entry = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if entry[1] and entry[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    ours[#ours + 1] = ARGV[i]
  end
end
return ours
"""

# The job goes to the queue's end as a new entry: a worker that waits there gets it within a
# millisecond, where one that looks for abandoned jobs would find it some time later.
# KEYS: queue. ARGV: group, consumer, ids.
_HAND_BACK = """
for i = 3, #ARGV do
  local entry = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if entry[1] and entry[1][2] == ARGV[2] then
    local job = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
    if job[1] then
      redis.call('XADD', KEYS[1], '*', unpack(job[1][2]))
    end
  end
end
"""

# KEYS: queue, failures. ARGV: group, consumer, id.
_DONE = """
local entry = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if entry[1] and entry[1][2] == ARGV[2] then
  redis.call('HDEL', KEYS[2], ARGV[3])
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
  redis.call('XDEL', KEYS[1], ARGV[3])
  return 1
end
return 0
"""

#: A consumer that has not read for this long is a process that ended.
_GONE_MS = 3600 * 1000


class Leases:
    """One worker's leases on its pool's queue."""

    def __init__(self, redis: Redis, pool: topics.QueueName, consumer: str) -> None:
        self._redis = redis
        self.queue = topics.jobs(pool)
        self._failures = topics.failures(pool)
        self.group = topics.group(pool)
        self.consumer = consumer
        self._renew = redis.register_script(_RENEW)
        self._hand_back = redis.register_script(_HAND_BACK)
        self._done = redis.register_script(_DONE)

    async def ensure_group(self) -> None:
        """Make the queue and its group, from the queue's first entry on, if they are not there."""
        try:
            await self._redis.xgroup_create(self.queue, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def renew(self, entries: Sequence[bytes]) -> set[bytes]:
        """Renew leases. Returns those that are still ours."""
        if not entries:
            return set()
        return set(await self._renew(keys=[self.queue], args=self._ours(entries)))

    async def hand_back(self, entries: Sequence[bytes]) -> None:
        """Give jobs up at once: the next worker that waits gets them, as new ones."""
        if entries:
            await self._hand_back(keys=[self.queue], args=self._ours(entries))

    def _ours(self, entries: Sequence[bytes]) -> list[str | bytes]:
        return [self.group, self.consumer, *entries]

    async def done(self, entry: bytes) -> bool:
        """The job is done: take it off the queue. False when it was no longer ours."""
        keys = [self.queue, self._failures]
        return bool(await self._done(keys=keys, args=[self.group, self.consumer, entry]))

    async def failed(self, entry: bytes) -> int:
        """The job failed here. Returns how often it has, on whichever workers.

        Deaths do not count: a call that outlives many workers has done nothing wrong.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hincrby(self._failures, entry.decode(), 1)
        pipe.expire(self._failures, topics.CALL_TTL_S)
        count, _ = await pipe.execute()
        return int(count)

    async def sweep(self) -> None:
        """Forget consumers that are long gone and own nothing."""
        consumers: Any = await self._redis.xinfo_consumers(self.queue, self.group)
        for consumer in consumers:
            if not consumer["pending"] and consumer["idle"] > _GONE_MS:
                await self._redis.xgroup_delconsumer(self.queue, self.group, consumer["name"])

    async def holders(self) -> dict[bytes, str | None]:
        """Each job's entry as it stands in the queue, by its own bytes: who holds it, None if
        nobody does yet. For onlookers; a job that was handed back keeps its bytes."""
        entries: Any = await self._redis.xrange(self.queue)
        pending: Any = await self._redis.xpending_range(
            self.queue, self.group, "-", "+", max(1, len(entries))
        )
        holder = {each["message_id"]: each["consumer"].decode() for each in pending}
        return {
            b"".join(value for _, value in sorted(fields.items())): holder.get(entry)
            for entry, fields in entries
        }

    async def lag(self) -> tuple[int, int]:
        """How many jobs wait untaken, and how many are being worked on, in the whole pool."""
        try:
            groups = await self._redis.xinfo_groups(self.queue)
        except ResponseError:
            return 0, 0
        length = await self._redis.xlen(self.queue)
        pending = next((g["pending"] for g in groups if g["name"] == self.group.encode()), 0)
        return max(0, length - pending), pending
