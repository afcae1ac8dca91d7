"""The tts pool: speaks sentences, forwarding audio the moment the synthesizer has a frame of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final, Literal

import structlog

from bus import audio, topics
from bus.jobs import SpeakSentence
from bus.session import BusSession
from calls import events as e
from calls.agent import Agent
from media import g711
from media.frames import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_RATE, Codec
from media.resample import Resampler
from telemetry import metrics
from workers.ports import ProviderError, Synthesizer
from workers.wanted import while_wanted

_log = structlog.get_logger(__name__)
#: A chunk holds at most this much, so that a long sentence is no single large entry. In samples.
_CHUNK_SAMPLES: Final = SAMPLE_RATE // 5


class TtsWorker:
    """Does `SpeakSentence` jobs."""

    def __init__(
        self,
        session: BusSession,
        synthesizer_for: Callable[[Agent], Synthesizer],
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._synthesizer_for = synthesizer_for
        self._now_ms = now_ms

    async def speak(self, job: SpeakSentence) -> None:
        """Speak a sentence, while its reply is wanted."""
        fold = await self._session.folds.get(job.call)
        conversation = fold.conversation
        known = conversation.sentence(job.reply, job.index)
        if conversation.started is None or (known is not None and known.synthesis is not None):
            return
        synthesizer = self._synthesizer_for(conversation.started.agent)
        # The log has the sentence as its first writer put it; a second may have worded it anew.
        text = (known.text if known else "") or job.text
        voice = _Voice(self._session, job, self._now_ms)
        if not await while_wanted(
            self._session.folds, job.call, job.reply, voice.speak(synthesizer, text)
        ):
            await voice.end("cancelled")

    async def give_up(self, job: SpeakSentence, error: Exception) -> None:
        """A sentence that no worker could speak."""
        voice = _Voice(self._session, job, self._now_ms)
        await voice.failed(type(error).__name__, str(error))


class _Voice:
    """One sentence on its way to the call's audio stream."""

    def __init__(
        self, session: BusSession, job: SpeakSentence, now_ms: Callable[[], float]
    ) -> None:
        self._session = session
        self._job = job
        self._now_ms = now_ms
        self._taken_at = now_ms()
        self._written = 0

    async def speak(self, synthesizer: Synthesizer, text: str) -> None:
        try:
            await self._stream(synthesizer, text)
        except ProviderError as error:
            metrics.ERRORS.labels("tts", error.error_type).inc()
            _log.error("tts.provider_failed", error=str(error), reply=self._job.reply)
            await self.failed(error.error_type, str(error))
        else:
            await self.end("complete")

    async def _stream(self, synthesizer: Synthesizer, text: str) -> None:
        resampler = Resampler(synthesizer.sample_rate, SAMPLE_RATE)
        pcm = bytearray()
        async with aclosing(synthesizer.speak(text)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                pcm += resampler.process(piece)
                whole = len(pcm) // FRAME_BYTES * FRAME_BYTES
                if whole:
                    await self._send(bytes(pcm[:whole]))
                    del pcm[:whole]
        pcm += resampler.flush()
        pcm += bytes(-len(pcm) % FRAME_BYTES)
        await self._send(bytes(pcm), last=True)

    async def _send(self, pcm: bytes, *, last: bool = False) -> None:
        payload = g711.encode(pcm, Codec.PCMU)
        first = self._written == 0
        pieces = [
            payload[begin : begin + _CHUNK_SAMPLES]
            for begin in range(0, len(payload), _CHUNK_SAMPLES)
        ] or [b""]
        key = topics.audio_out(self._job.call)
        pipe = self._session.redis.pipeline(transaction=False)
        for piece in pieces:
            ends = last and piece is pieces[-1]
            chunk = audio.OutChunk(
                self._job.reply, self._job.index, self._written, Codec.PCMU, piece, ends
            )
            fields: dict[Any, Any] = {audio.OUT_FIELD: audio.encode_chunk(chunk)}
            pipe.xadd(key, fields, maxlen=topics.AUDIO_MAXLEN, approximate=True)
            self._written += len(piece)
        pipe.expire(key, topics.CALL_TTL_S)
        sent_at = self._now_ms()  # the ingress may play it before we hear that it is there
        await pipe.execute()
        metrics.AUDIO_CHUNKS.labels("tts", "out").inc(len(pieces))
        if first and self._written:
            await self._append(
                e.SynthesisStarted(
                    at=sent_at,
                    reply=self._job.reply,
                    index=self._job.index,
                    taken_at=self._taken_at,
                )
            )

    async def failed(self, error_type: str, message: str) -> None:
        await self._append(
            e.StageFailed(
                at=self._now_ms(),
                stage="tts",
                error_type=error_type,
                message=message,
                reply=self._job.reply,
            )
        )
        await self._send(b"", last=True)
        await self.end("failed")

    async def end(self, why: Literal["complete", "cancelled", "failed"]) -> None:
        await self._append(
            e.SynthesisEnded(
                at=self._now_ms(),
                reply=self._job.reply,
                index=self._job.index,
                samples=self._written,
                why=why,
            )
        )

    async def _append(self, event: e.Event) -> None:
        await self._session.log.append(self._job.call, event)


assert _CHUNK_SAMPLES % FRAME_SAMPLES == 0
