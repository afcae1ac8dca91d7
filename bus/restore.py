"""Writing a call's log anew, when the bus came back without it, or with an older one.

Entries keep their ids, so whoever follows the log reads on as if nothing had been. What was written
since the loss stays, in its place. The owners are forgotten: each notices with its next write, and
whoever is asked next goes on from what the log says (`CallLog.claim` never gives an epoch twice).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from bus import audio, topics
from bus.log import FIELD, CallLog, read_entry
from calls.events import TranscriptPartial
from calls.ids import CallId
from media.frames import FRAME_SAMPLES

#: An entry as it was written: its id, and the event's JSON.
Kept = tuple[bytes, bytes]

# KEYS: logs. ARGV: for each an entry that it must hold. Returns the numbers of those that do not.
_LOST: Final = """
local lost = {}
for i, key in ipairs(KEYS) do
  if #redis.call('XRANGE', key, ARGV[i], ARGV[i]) == 0 then
    lost[#lost + 1] = i
  end
end
return lost
"""

# KEYS: events, facts, owners. ARGV: ttl s, how many entries there are now, then each entry's id,
# its fact's key and its event. Returns 0 when somebody has written meanwhile.
_RESTORE: Final = """
if redis.call('XLEN', KEYS[1]) ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
for i = 3, #ARGV, 3 do
  if redis.call('SADD', KEYS[2], ARGV[i + 1]) == 1 then
    redis.call('XADD', KEYS[1], ARGV[i], 'e', ARGV[i + 2])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return 1
"""

#: How far back to look for the frame that the loss ended before: 10 s.
_LOOK_BACK: Final = 500


class Restorer:
    """Finds logs that were lost, and writes them anew."""

    def __init__(self, redis: Redis, log: CallLog) -> None:
        self._redis = redis
        self._log = log
        self._lost = redis.register_script(_LOST)
        self._restore = redis.register_script(_RESTORE)

    async def lost(self, seen: Mapping[CallId, bytes]) -> list[CallId]:
        """Of calls, each with the id of an entry in its log: those that do not hold it any more."""
        if not seen:
            return []
        calls = list(seen)
        numbers: Any = await self._lost(
            keys=[topics.events(call) for call in calls], args=[seen[call] for call in calls]
        )
        return [calls[number - 1] for number in numbers]

    async def restore(self, call: CallId, kept: Sequence[Kept]) -> bool:
        """Write a call's log anew, from all its entries. False: it is there, whole."""
        while True:
            there = [
                (entry_id, fields.get(FIELD, b""))
                for entry_id, fields in await self._log.entries(call)
            ]
            if kept[-1] in there:
                return False
            known = set(kept)
            late = [entry for entry in there if entry not in known]
            args: list[str | int | bytes] = [topics.CALL_TTL_S, len(there)]
            last = (0, 0)
            for entry_id, data in (*kept, *late):
                event = read_entry({FIELD: data})
                if event is None or isinstance(event, TranscriptPartial):
                    continue  # of partial transcripts, none is kept
                last = max(place(entry_id), (last[0], last[1] + 1))
                args += (f"{last[0]}-{last[1]}", event.key, data)
            keys = [topics.events(call), topics.facts(call), topics.owners(call)]
            if await self._restore(keys=keys, args=args):
                return True

    async def hole(self, call: CallId, position: int) -> tuple[int, int]:
        """The stretch of the caller's audio that was lost, as far as can be told: [begin, end).

        `position` is where the next frame begins. All in samples of the media clock; 0 for a begin
        before all there is.
        """
        frames: Any = await self._redis.xrevrange(topics.audio_in(call), count=_LOOK_BACK)
        begin = position
        for entry_id, _ in frames:
            end = audio.frame_end(entry_id)
            if end < begin:
                return end, begin
            begin = end - FRAME_SAMPLES
        return 0, begin

    async def is_waited_for(self, pool: topics.PoolName, call: CallId) -> bool:
        """Is there a job of this call in the pool's queue, taken or not?"""
        jobs: Any = await self._redis.xrange(topics.jobs(pool))
        name = call.encode()
        return any(name in value for _, fields in jobs for value in fields.values())


def place(entry_id: bytes) -> tuple[int, int]:
    """An entry's id as numbers, which sort as entries do."""
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)
