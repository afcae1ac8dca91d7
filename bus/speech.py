"""A sentence's audio on its way to `{call}:out`: each sample once, in order, with the facts of it.

One script does every write: the chunks, how far the sentence stands now, and the facts, so that
what a reader finds belongs together. Whoever writes a sentence that stands already, in part or as a
whole, adds what is missing and no more: a job done twice, a repeated write and a worker that wakes
up from the dead change nothing.

A take-over in mid-sentence therefore keeps the dead worker's audio, for the caller may have heard
it, and goes on at its last sample with the new take's sample of the same number. With a voice that
says a sentence at the same pace each time nobody hears the seam: eSpeak's takes are apart by 18 ms
at the end of 3 s. With one that does not, they are apart by what their paces differ up to there,
and the seam cuts or doubles that much, once; the sentence is neither begun anew nor broken off. A
take that ends before the seam adds nothing but the end.

The audio of a provider that is ahead of the caller is gathered, for each write costs about the same
however much it holds: at most half of what the caller has yet to hear is held back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from bus import audio, topics
from bus.events import encode
from bus.log import APPEND_FACTS
from calls import events as e
from calls.ids import CallId, ReplyId
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Codec, samples_in
from telemetry import metrics

#: A chunk holds at most this much, so that a long sentence is no single large entry. In samples.
_CHUNK: Final = SAMPLE_RATE // 5
#: No more than this is held back: a worker that dies takes it along. In samples.
_HELD: Final = SAMPLE_RATE
_WHOLE: Final = -1

# KEYS: out, owners, events, facts. ARGV: ttl s, longest stream, chunks' field, the sentence's field
# in owners, where the audio begins, where it ends (-1: and so does the sentence), how many chunks,
# the chunks, then a fact's key and its event, alternating.
# Returns whether it was written, and how far the sentence stands. A bus that lost its data may
# stand short of the audio: then the hole is there, and the rest is still wanted.
_WRITE: Final = f"""{APPEND_FACTS}
local stands = tonumber(redis.call('HGET', KEYS[2], ARGV[4]) or 0)
if stands == -1 or stands > tonumber(ARGV[5]) then
  return {{0, stands}}
end
local facts = 8 + tonumber(ARGV[7])
for i = 8, facts - 1 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', ARGV[3], ARGV[i])
end
redis.call('HSET', KEYS[2], ARGV[4], ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
append(KEYS[3], KEYS[4], facts)
return {{1, tonumber(ARGV[6])}}
"""


class Speech:
    """Writes `{call}:out`."""

    def __init__(self, redis: Redis) -> None:
        self._write = redis.register_script(_WRITE)

    def sentence(
        self, call: CallId, reply: ReplyId, index: int, now_ms: Callable[[], float]
    ) -> SentenceWriter:
        """Begin a take of a sentence: nothing is written yet."""
        return SentenceWriter(self._write, call, reply, index, now_ms)


class SentenceWriter:
    """One take of a sentence. Audio is PCMU, 8000 Hz, in whole frames. Used by one task.

    Every method that writes raises BusError when the bus does not take it.
    """

    def __init__(
        self,
        script: AsyncScript,
        call: CallId,
        reply: ReplyId,
        index: int,
        now_ms: Callable[[], float],
    ) -> None:
        self._script = script
        self._call = call
        self._reply = reply
        self._index = index
        self._now_ms = now_ms
        self._taken_at = now_ms()
        #: The take's next samples, and where they begin.
        self._held = bytearray()
        self._offset = 0
        #: How far the sentence stands on the bus, as far as we know: never short of `_offset`.
        self._stands = 0
        self._started: e.SynthesisStarted | None = None
        self._done = False

    @property
    def done(self) -> bool:
        """The sentence stands as a whole, by this take or by another: nothing more is wanted."""
        return self._done

    async def write(self, payload: bytes) -> None:
        """Go on with the sentence."""
        self._held += payload
        if self._held and len(self._held) >= min(self._ahead() / 2, _HELD):
            await self._send()

    async def whole(self, payload: bytes) -> None:
        """Say all of the sentence at once, from the cache of speech."""
        self._held += payload
        await self._end("complete", cached=True)

    async def end(self, why: Literal["complete", "failed"], *facts: e.Event) -> None:
        """The sentence ends with what was written; `facts` come before the one that says so."""
        await self._end(why, *facts)

    async def cancel(self) -> None:
        """Nobody wants it any more: what was held back is not written."""
        self._held.clear()
        await self._end("cancelled")

    def _ahead(self) -> float:
        """How much the caller has yet to hear of what is written, at least. In samples."""
        if self._started is None:
            return 0.0
        return max(0.0, self._stands - samples_in(self._now_ms() - self._started.at))

    async def _end(
        self,
        why: Literal["complete", "cancelled", "failed"],
        *facts: e.Event,
        cached: bool = False,
    ) -> None:
        if not self._done:
            await self._send(why, *facts, cached=cached)
            self._done = True

    async def _send(
        self,
        why: Literal["complete", "cancelled", "failed"] | None = None,
        *facts: e.Event,
        cached: bool = False,
    ) -> None:
        """Write what is held and not there yet; `why` where the take ends with it."""
        while not self._done:
            begin = self._stands
            payload = bytes(self._held[begin - self._offset :])
            if not payload and why is None:
                break
            end = begin + len(payload)
            happened = [*self._beginning(end, cached), *facts]
            if why is not None:
                happened.append(self._ending(end, why))
            last = why in {"complete", "failed"}
            if await self._written(begin, end, self._chunks(begin, payload, last), happened, last):
                break
        self._offset += len(self._held)
        self._held.clear()

    async def _written(
        self, begin: int, end: int, chunks: list[bytes], facts: list[e.Event], last: bool
    ) -> bool:
        """Write; False where more stands already than we knew."""
        args: list[str | int | bytes] = [
            topics.CALL_TTL_S, topics.AUDIO_MAXLEN, audio.OUT_FIELD,
            f"{topics.sentence_task(self._reply, self._index)}:checkpoint",
            begin, _WHOLE if last else end, len(chunks), *chunks,
        ]  # fmt: skip
        for fact in facts:
            args += (fact.key, encode(fact))
        keys = [
            topics.audio_out(self._call), topics.owners(self._call),
            topics.events(self._call), topics.facts(self._call),
        ]  # fmt: skip
        written, stands = await self._script(keys=keys, args=args)
        if stands == _WHOLE:
            self._done = True
        else:
            self._stands = stands
        if written:
            metrics.AUDIO_CHUNKS.labels("tts", "out").inc(len(chunks))
        return bool(written)

    def _chunks(self, begin: int, payload: bytes, last: bool) -> list[bytes]:
        pieces = [payload[place : place + _CHUNK] for place in range(0, len(payload), _CHUNK)]
        if last and not pieces:
            pieces = [b""]
        chunks = []
        for number, piece in enumerate(pieces, 1):
            chunk = audio.OutChunk(
                self._reply, self._index, begin, Codec.PCMU, piece, last and number == len(pieces)
            )
            chunks.append(audio.encode_chunk(chunk))
            begin += len(piece)
        return chunks

    def _beginning(self, end: int, cached: bool) -> list[e.Event]:
        if self._started is not None or not end:
            return []  # where a write was refused, another's stands, and its fact with it
        # Before the write: the ingress may play it before we hear that it is there.
        self._started = e.SynthesisStarted(
            at=self._now_ms(),
            reply=self._reply,
            index=self._index,
            taken_at=self._taken_at,
            cached=cached,
        )
        return [self._started]

    def _ending(self, end: int, why: Literal["complete", "cancelled", "failed"]) -> e.Event:
        return e.SynthesisEnded(
            at=self._now_ms(), reply=self._reply, index=self._index, samples=end, why=why
        )


assert _CHUNK % FRAME_SAMPLES == 0
