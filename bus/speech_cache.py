"""The cache of speech: what was said before is not synthesized again.

Audio stands under a hash of the words and of all that makes the voice: the provider, its options,
the agent's voice and language. So two agents with one voice share it, and a change of any of these
asks anew. Audio is PCMU, 8000 Hz: a whole sentence as the agent's first provider said it, never
a part, nor the voice of one that stood in for it.

Sentences may hold what is nobody else's business, as a caller's name or number. So only these are
kept: what the agent's configuration says word for word, at once; and any other sentence once a
second call asks for it, within the hour. Until then there is only its hash, with the call that
asked. What is read back to one caller, however often, is not kept.

The bound is on the bytes of audio, the least recently used goes first, and nothing is older than
its time to live: a voice may change under its name. One script does each write, so the bound holds
whoever writes. The cache is a help and no more: what is in it and cannot be right is passed over,
and where its keys are not what we wrote it begins anew.
"""

from __future__ import annotations

import json
import struct
import zlib
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from bus import topics
from calls.agent import Agent
from calls.ids import CallId
from media.frames import FRAME_SAMPLES, SAMPLE_RATE
from telemetry import metrics

_log = structlog.get_logger(__name__)
_KEYS: Final = [topics.SPEECH, topics.SPEECH_USED, topics.SPEECH_MADE, topics.SPEECH_ASKED]
_ASKED_S: Final = 3600
#: So many questions are remembered; then their memory begins anew.
_ASKED_MOST: Final = 50_000
#: Version and CRC-32 of the audio that follows.
_HEAD: Final = struct.Struct(">BI")
_VERSION: Final = 1

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: audio, used, made, asked. ARGV: key, time to live (ms), the call that asks or nothing, how
# long a question is remembered (s), how many are. Returns the audio, and whether another call asked
# for it before.
_LOOK: Final = f"""{_NOW}
local made = redis.call('ZSCORE', KEYS[3], ARGV[1])
if made and now - made < tonumber(ARGV[2]) then
  local speech = redis.call('HGET', KEYS[1], ARGV[1])
  if speech then
    redis.call('ZADD', KEYS[2], now, ARGV[1])
    return {{speech, 0}}
  end
end
if ARGV[3] == '' then
  return {{false, 0}}
end
local first = redis.call('HGET', KEYS[4], ARGV[1])
if not first then
  if redis.call('HLEN', KEYS[4]) >= tonumber(ARGV[5]) then
    redis.call('DEL', KEYS[4])
  end
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[3])
  if redis.call('TTL', KEYS[4]) < 0 then
    redis.call('EXPIRE', KEYS[4], ARGV[4])
  end
end
return {{false, first and first ~= ARGV[3] and 1 or 0}}
"""

# KEYS: audio, used, made. ARGV: key, time to live (ms), bound (bytes), audio.
# How many bytes there are stands beside the audio, in the field `bytes`. Returns how many sentences
# had to go, and the bytes.
_PUT: Final = f"""{_NOW}
local function drop(key)
  local size = redis.call('HSTRLEN', KEYS[1], key)
  redis.call('HDEL', KEYS[1], key)
  redis.call('ZREM', KEYS[2], key)
  redis.call('ZREM', KEYS[3], key)
  return redis.call('HINCRBY', KEYS[1], 'bytes', 0 - size)
end
local old = redis.call(
  'ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now - ARGV[2]), 'LIMIT', 0, 100)
for _, key in ipairs(old) do
  drop(key)
end
local bytes = drop(ARGV[1])
local evicted = 0
while bytes + #ARGV[4] > tonumber(ARGV[3]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest then
    redis.call('DEL', KEYS[1], KEYS[3])
    bytes = 0
    break
  end
  bytes = drop(oldest)
  evicted = evicted + 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
bytes = redis.call('HINCRBY', KEYS[1], 'bytes', #ARGV[4])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[2])
end
return {{evicted, bytes}}
"""

# KEYS: made. ARGV: key, time to live (ms). Has it more than half of its time before it?
_FRESH: Final = f"""{_NOW}
local made = redis.call('ZSCORE', KEYS[1], ARGV[1])
return made and (now - made) * 2 < tonumber(ARGV[2]) and 1 or 0
"""


def speech_key(agent: Agent, text: str) -> str:
    """What these words, in this agent's voice, are kept under: 32 hex digits."""
    voice = [agent.tts.provider, agent.tts.options, agent.voice, agent.language]
    spoken = json.dumps([voice, " ".join(text.split())], sort_keys=True, default=str)
    return blake2b(spoken.encode(), digest_size=16).hexdigest()


class Found(NamedTuple):
    """What the cache has of a sentence."""

    #: PCMU, 8000 Hz, in whole frames; None where it must be synthesized.
    speech: bytes | None
    #: Is it worth keeping, whatever it says, because another call asked for it before?
    again: bool = False


class SpeechCache:
    """Sentences that were synthesized, by their keys (`speech_key`).

    A method that reads or writes raises BusError only when the bus is away.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        longest_s: float = 30.0,
        ttl_s: float = 24 * 3600.0,
    ) -> None:
        """`max_bytes` of audio at most, of sentences no longer than `longest_s`."""
        self.longest_bytes = int(min(longest_s * SAMPLE_RATE, max_bytes - _HEAD.size))
        self._redis = redis
        self._max_bytes = max_bytes
        self._ttl_ms = int(ttl_s * 1000)
        self._look = redis.register_script(_LOOK)
        self._put = redis.register_script(_PUT)
        self._fresh = redis.register_script(_FRESH)

    async def get(self, key: str) -> bytes | None:
        """The sentence: PCMU, 8000 Hz, in whole frames; None when it is not there."""
        return (await self.look(key)).speech

    async def look(self, key: str, call: CallId | None = None) -> Found:
        """Get the sentence, for a call that would otherwise have it synthesized."""
        args = [key, self._ttl_ms, call or "", _ASKED_S, _ASKED_MOST]
        answer = await self._run(self._look, _KEYS, args) or (None, 0)
        speech = None if answer[0] is None else _read(answer[0])
        metrics.SPEECH_CACHE_LOOKUPS.labels("miss" if speech is None else "hit").inc()
        # What was kept and cannot be read was worth keeping.
        return Found(speech, again=bool(answer[1]) or (speech is None and answer[0] is not None))

    async def fresh(self, key: str) -> bool:
        """Is it there, with more than half of its time to live before it?"""
        return bool(await self._run(self._fresh, [topics.SPEECH_MADE], [key, self._ttl_ms]))

    async def put(self, key: str, speech: bytes) -> None:
        """Keep a whole sentence; what is empty or too long is not kept."""
        if not 0 < len(speech) <= self.longest_bytes or len(speech) % FRAME_SAMPLES:
            return
        kept = _HEAD.pack(_VERSION, zlib.crc32(speech)) + speech
        answer = await self._run(self._put, _KEYS[:3], [key, self._ttl_ms, self._max_bytes, kept])
        if answer:
            evicted, stands = answer
            metrics.SPEECH_CACHE_EVICTIONS.inc(evicted)
            metrics.SPEECH_CACHE_BYTES.set(stands)

    async def _run(self, script: AsyncScript, keys: list[str], args: list[Any]) -> Any:
        """Run a script; None where the server refused it: its memory is full, or the keys wrong."""
        try:
            return await script(keys=keys, args=args)
        except ResponseError as error:
            _log.warning("speech_cache.begun_anew", error=str(error))
            with suppress(ResponseError):
                await self._redis.unlink(*_KEYS)
            return None


def _read(kept: bytes) -> bytes | None:
    """The audio in an entry; None when it is none of ours."""
    speech = kept[_HEAD.size :]
    if len(kept) <= _HEAD.size or len(speech) % FRAME_SAMPLES:
        return None
    version, checksum = _HEAD.unpack_from(kept)
    return speech if version == _VERSION and checksum == zlib.crc32(speech) else None
