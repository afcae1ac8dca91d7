"""One call's ear: frames in; speech, partials and turns out, committed with the place they reach.

The checkpoint stands where nothing is in progress: before the utterance being heard. Whoever takes
over reads the audio again from there, faster than real time, and writes the same facts under the
same keys; so no word is lost and none comes twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from bus import audio
from bus.log import CallLog, Ownership
from calls import events as e
from calls.agent import Agent
from calls.turn_taking import Onset, TurnOver, TurnTaking
from media import g711
from media.frames import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE
from media.vad import Vad
from telemetry import metrics
from workers.ports import ProviderError, Transcriber, Transcript, Utterance

_log = structlog.get_logger(__name__)
#: Partials come at most this often, in samples of the media clock.
_PARTIAL_EVERY: Final = SAMPLE_RATE // 5
#: A silent call's checkpoint moves this often, in samples.
_CHECKPOINT_EVERY: Final = SAMPLE_RATE


class Hearing:
    """Hears one call for as long as this worker owns it. Used by one task."""

    def __init__(
        self,
        agent: Agent,
        owner: Ownership,
        log: CallLog,
        transcriber: Transcriber,
        vad: Vad,
        *,
        now_ms: Callable[[], float],
        turn_ended: Callable[[int], Awaitable[None]],
        unresolved: e.SpeechStarted | None = None,
    ) -> None:
        """`turn_ended(number)` asks for the reply to a turn, once the turn is in the log.

        `unresolved` is speech that a previous owner wrote of and did not hear to its end: the
        playback waits for what becomes of it.
        """
        self._agent = agent
        self._owner = owner
        self._log = log
        self._transcriber = transcriber
        self._vad = vad
        self._now_ms = now_ms
        self._turn_ended = turn_ended
        self._unresolved = unresolved
        saved = owner.checkpoint or {}
        self.position: int = saved.get("position", 0)
        self._turn: int = saved.get("turn", 1)
        self._taking = TurnTaking(agent.endpointing)
        onset_ms = agent.endpointing.pad_ms + 2 * agent.endpointing.min_speech_ms
        self._before: deque[audio.InFrame] = deque(maxlen=max(1, onset_ms // FRAME_MS))
        self._utterance: Utterance | None = None
        self._unwritten = bytearray()
        self._onset = 0
        self._partial = ""
        self._partial_at = 0
        self._last_speech_heard_at = 0.0
        self._checkpoint_at = self.position

    @property
    def checkpoint(self) -> str:
        """The stream id to read after."""
        return audio.after_position(self.position)

    async def hear(self, frames: list[audio.InFrame]) -> None:
        """Take the next frames, in order; those heard before are passed over.

        Raises:
            SupersededError: another worker owns the call.
        """
        metrics.AUDIO_CHUNKS.labels("asr", "in").inc(len(frames))
        for frame in frames:
            if frame.position < self.position:
                continue
            if frame.position > self.position:
                await self._gap(frame.position)
            self.position = frame.position + FRAME_SAMPLES
            await self._hear_frame(frame)
        await self._write()
        if not self._taking.speaking and self.position - self._checkpoint_at >= _CHECKPOINT_EVERY:
            await self._commit(*self._resolved())

    async def end(self) -> None:
        """The call is over: what was being said is a turn too, though nobody will answer it."""
        if (over := self._taking.finish()) is not None:
            await self._write()
            await self._over(over, answer=False)
        await self._commit(e.HearingEnded(at=self._now_ms(), position=self.position))

    async def cancel(self) -> None:
        """Leave the call to another worker."""
        if self._utterance is not None:
            await self._utterance.cancel()
            self._utterance = None

    async def _hear_frame(self, frame: audio.InFrame) -> None:
        pcm = g711.decode(frame.payload, frame.codec)
        speech = self._vad.is_speech(pcm)
        signal = self._taking.feed(frame.position, speech)
        if speech:
            # A frame is taken when its last sample is there.
            self._last_speech_heard_at = float(frame.captured_ms)
        if self._utterance is None:
            self._before.append(frame)
        else:
            self._unwritten += pcm
        if isinstance(signal, Onset):
            await self._begin(signal)
        elif isinstance(signal, TurnOver):
            await self._write()
            await self._over(signal, answer=True)

    async def _begin(self, onset: Onset) -> None:
        metrics.SPEECH_SEGMENTS.inc()
        self._onset = onset.position
        self._unresolved = None
        self._partial, self._partial_at = "", self.position
        self._utterance = self._transcriber.listen()
        heard_from = onset.position - self._agent.endpointing.pad_ms * SAMPLE_RATE // 1000
        for frame in self._before:
            if frame.position >= heard_from:
                self._unwritten += g711.decode(frame.payload, frame.codec)
        self._before.clear()
        await self._log.commit(
            self._owner,
            e.SpeechStarted(at=self._now_ms(), turn=self._turn, position=onset.position),
        )

    async def _write(self) -> None:
        """Give the transcriber what has come, in one piece."""
        if self._utterance is None or not self._unwritten:
            return
        pcm, self._unwritten = bytes(self._unwritten), bytearray()
        try:
            partial = await self._utterance.write(pcm)
        except ProviderError as error:
            await self._failed(error)
            return
        if partial != self._partial and self.position - self._partial_at >= _PARTIAL_EVERY:
            self._partial, self._partial_at = partial, self.position
            await self._log.commit(
                self._owner,
                e.TranscriptPartial(
                    at=self._now_ms(), turn=self._turn, position=self.position, text=partial
                ),
            )

    async def _over(self, over: TurnOver, *, answer: bool) -> None:
        decided_at = self._now_ms()
        self._before.clear()
        transcript = await self._transcript()
        if transcript is not None and not transcript.text:
            await self._commit(
                e.SpeechDropped(
                    at=self._now_ms(), turn=self._turn, position=self._onset, why="no_words"
                )
            )
            return
        ended = e.TurnEnded(
            at=self._now_ms(),
            turn=self._turn,
            # Nobody could hear it: the turn is there, without words, and is answered all the same.
            text=transcript.text if transcript else "",
            confidence=transcript.confidence if transcript else 0.0,
            speech_start=over.start,
            speech_end=over.end,
            speech_ended_at=self._last_speech_heard_at,
            decided_at=decided_at,
        )
        self._turn += 1
        await self._commit(ended)
        if answer:
            await self._turn_ended(ended.turn)

    async def _transcript(self) -> Transcript | None:
        """The utterance's words; None when its transcriber failed, now or before."""
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return None
        try:
            return await utterance.finish()
        except ProviderError as error:
            await self._failed(error)
            return None

    def _resolved(self) -> tuple[e.SpeechDropped, ...]:
        """What the previous owner took for speech, if this one hears none there."""
        waits, heard = self._unresolved, self.position - len(self._before) * FRAME_SAMPLES
        if waits is None or heard <= waits.position:
            return ()
        self._unresolved = None
        return (
            e.SpeechDropped(
                at=self._now_ms(), turn=waits.turn, position=waits.position, why="no_words"
            ),
        )

    async def _gap(self, position: int) -> None:
        _log.warning("asr.gap", samples=position - self.position)
        await self._log.commit(
            self._owner,
            e.MediaGap(
                at=self._now_ms(),
                stage="asr",
                position=self.position,
                samples=position - self.position,
            ),
        )

    async def _failed(self, error: ProviderError) -> None:
        metrics.ERRORS.labels("asr", error.error_type).inc()
        _log.error("asr.provider_failed", error=str(error))
        if self._utterance is not None:
            await self._utterance.cancel()
            self._utterance = None
        await self._log.commit(
            self._owner,
            e.StageFailed(
                at=self._now_ms(), stage="asr", error_type=error.error_type, message=str(error)
            ),
        )

    async def _commit(self, *facts: e.Event) -> None:
        """Write facts with the checkpoint after them. Recorded audio is the recorder's to trim.

        The checkpoint keeps the frames that may turn out to belong to speech: who takes over hears
        its soft beginning too.
        """
        self._checkpoint_at = self.position
        begin = self._before[0].position if self._before else self.position
        await self._log.commit(
            self._owner,
            *facts,
            checkpoint={"position": begin, "turn": self._turn},
            trim_before="" if self._agent.recording else audio.frame_id(begin // FRAME_SAMPLES),
        )
