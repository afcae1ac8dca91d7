"""The callers' audio onto the bus: the frames of all calls at one tick, as one write.

A script, for a command and an answer per frame cost redis-py 10 us each. And from Redis 7.2 on it
wakes a reader that blocks on many calls once, with the frames of all of them; separate commands
wake it with the first, and it must ask again for the rest (redis/redis pull request 11012).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from bus import audio, topics
from calls.ids import CallId

# KEYS: the calls' streams. ARGV: longest stream, field, then each frame's id and its bytes.
# A frame that a retried write brings twice is refused by its id: no error of ours.
_WRITE: Final = """
local failed
for i, key in ipairs(KEYS) do
  local id, frame = ARGV[2 * i + 1], ARGV[2 * i + 2]
  local answer = redis.pcall('XADD', key, 'MAXLEN', '~', ARGV[1], id, ARGV[2], frame)
  if type(answer) == 'table' and not answer.err:find('equal or smaller', 1, true) then
    failed = answer
  end
end
return failed
"""


class Capture:
    """Writes `{call}:in`."""

    def __init__(self, redis: Redis) -> None:
        self._write = redis.register_script(_WRITE)

    async def write(self, frames: Sequence[tuple[CallId, audio.InFrame]]) -> None:
        """Write frames of any calls; those that are there already may come again.

        Raises:
            BusError: some were not written; the others were.
        """
        args: list[str | int | bytes] = [topics.AUDIO_MAXLEN, audio.IN_FIELD]
        for _, frame in frames:
            args += (audio.frame_id(frame.seq), audio.encode_frame(frame))
        await self._write(keys=[topics.audio_in(call) for call, _ in frames], args=args)
