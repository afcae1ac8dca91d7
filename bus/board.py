"""A board on the bus: what live processes say of themselves, gone when they stop saying it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

# Times are the server's: hosts' clocks differ. KEYS: hash, sorted set, since. ARGV: process, what
# it says; nothing said: it leaves.
_SAY: Final = """
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


class BoardKeys(NamedTuple):
    """A board's keys: a hash of what each says, a sorted set of when it last did, and since when
    the bus knows any (ms, by the server's clock).
    """

    said: str
    seen: str
    since: str


class Board:
    """One kind of what processes say."""

    def __init__(self, redis: Redis, keys: BoardKeys, gone_ms: int) -> None:
        """Who has said nothing for `gone_ms` is gone."""
        self._keys = keys
        self._gone_ms = gone_ms
        self._say = redis.register_script(_SAY)
        self._live = redis.register_script(_LIVE)

    async def say(self, name: str, what: bytes) -> None:
        """Say this, in place of what was said before; nothing (b"") takes the name off."""
        await self._say(keys=list(self._keys), args=[name, what])

    async def live(self) -> list[bytes]:
        """What those say who are there."""
        keys = [self._keys.said, self._keys.seen]
        said: Any = await self._live(keys=keys, args=[self._gone_ms])
        return [what or b"" for what in said]
