"""One call's ear: frames in; speech, partials, guesses and turns out, committed with their place.

    onset -> pause: a guess, and a reply is prepared to it
             -> silence for as long as the guess's words ask: the turn is over
             -> speech goes on: the guess is withdrawn

The checkpoint stands where nothing is in progress: before the utterance being heard. Whoever takes
over reads the audio again from there, faster than real time, and writes the same facts under the
same keys; so no word is lost and none comes twice.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import structlog

from bus import audio
from calls import events as e
from calls.ids import reply_id
from calls.keypad import Keyed, KeypadInput
from calls.turn_taking import Onset, Pause, Resumed, TurnOver, TurnTaking
from media.frames import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE
from telemetry import metrics
from workers.asr.speech import Scene, Speech

_log = structlog.get_logger(__name__)
#: A silent call's checkpoint moves this often, in samples.
_CHECKPOINT_EVERY: Final = SAMPLE_RATE
#: To look a counter up takes longer than to count.
_HEARD: Final = metrics.AUDIO_CHUNKS.labels("asr", "in")
#: Frames older than this are a backlog, as after a take-over, ms.
_BEHIND_MS: Final = 500


class Hearing:
    """Hears one call for as long as this worker owns it. Used by one task."""

    def __init__(self, scene: Scene) -> None:
        """Speech that a previous owner did not hear to its end holds up the playback until this one
        says what becomes of it.
        """
        self._scene = scene
        self._agent = scene.agent
        self._unresolved = scene.conversation.speech
        saved = scene.owner.checkpoint or {}
        self.position: int = saved.get("position", 0)
        self._turn: int = saved.get("turn", 1)
        self._taking = TurnTaking(self._agent.endpointing, self._agent.speculation)
        how = self._agent.endpointing
        onset_ms = how.pad_ms + 2 * how.min_speech_ms
        #: Frames, by position, that may turn out to be the soft beginning of speech.
        self._before: deque[tuple[int, bytes]] = deque(maxlen=max(1, onset_ms // FRAME_MS))
        self._speech: Speech | None = None
        self._captured_ms = 0
        self._checkpoint_at = self.position
        self._keys = KeypadInput(self._agent.keypad)
        self._keys.take_up(scene.conversation.digits, scene.conversation.keyed_until)

    @property
    def checkpoint(self) -> str:
        """The stream id to read after."""
        return audio.after_position(self.position)

    def press(self, key: e.DigitPressed) -> None:
        """The caller pressed a key."""
        self._keys.press(key)

    async def hear(self, frames: list[audio.InFrame]) -> None:
        """Take the next frames, in order; those heard before are passed over.

        Raises:
            SupersededError: another worker owns the call.
        """
        _HEARD.inc(len(frames))
        for frame in frames:
            if frame.position < self.position:
                continue
            if frame.position > self.position:
                await self._gap(frame.position)
            self.position = frame.position + FRAME_SAMPLES
            await self._hear_frame(frame)
        await self._write()
        if (keyed := self._keys.take(self.position)) is not None:
            await self._keyed(keyed)
        if self._speech is not None:
            self._speech.check()
        elif self.position - self._checkpoint_at >= _CHECKPOINT_EVERY:
            await self._commit(*self._resolved())

    async def end(self) -> None:
        """The call is over: what was being said is a turn too, though nobody will answer it."""
        if (over := self._taking.finish()) is not None:
            await self._write()
            await self._over(over, "hung_up")
        await self._commit(e.HearingEnded(at=self._scene.now_ms(), position=self.position))

    async def cancel(self) -> None:
        """Leave the call to another worker."""
        if self._speech is not None:
            await self._speech.cancel()

    async def _hear_frame(self, frame: audio.InFrame) -> None:
        pcm, speaks = self._scene.ear.hear(frame)
        # A frame is captured when its last sample is there.
        self._captured_ms = frame.captured_ms
        signal = self._taking.feed(frame.position, speaks)
        if self._speech is None:
            self._before.append((frame.position, pcm))
        else:
            self._speech.add(pcm)
        match signal:
            case Onset():
                await self._begin(signal)
            case Pause() if self._speech is not None:
                await self._write()
                await self._speech.paused(wait=self._behind)
            case Resumed() if self._speech is not None:
                await self._speech.resumed(signal.position)
            case TurnOver():
                await self._write()
                await self._over(signal, "longest" if signal.longest else None)
            case _:
                pass

    async def _begin(self, onset: Onset) -> None:
        metrics.SPEECH_SEGMENTS.inc()
        self._unresolved = None
        heard_from = onset.position - self._agent.endpointing.pad_ms * SAMPLE_RATE // 1000
        soft = [(position, pcm) for position, pcm in self._before if position >= heard_from]
        self._before.clear()
        begin = soft[0][0] if soft else onset.position
        self._speech = Speech(self._scene, self._taking, self._turn, begin)
        for _, pcm in soft:
            self._speech.add(pcm)
        await self._speech.started(onset.position)

    async def _write(self) -> None:
        if self._speech is None:
            return
        ended = await self._speech.write(self.position, stale=self._behind)
        if ended and (over := self._taking.finish()) is not None:
            await self._over(over, "provider")

    async def _over(
        self, over: TurnOver, rule: Literal["longest", "provider", "hung_up"] | None
    ) -> None:
        speech, self._speech = self._speech, None
        if speech is None:
            return
        decided_at = self._scene.now_ms()
        self._before.clear()
        guess, transcript = await speech.transcript()
        if transcript is not None and (why := speech.no_turn(transcript)) is not None:
            await speech.drop(why, transcript.text)
            await speech.withdraw(guess)
            await self._commit()
            return
        prepared = guess.revision is not None
        ended = e.TurnEnded(
            at=self._scene.now_ms(),
            turn=self._turn,
            # Nobody could hear it: the turn is there, without words, and is answered all the same.
            text=transcript.text if transcript else "",
            confidence=transcript.confidence if transcript else 0.0,
            speech_start=over.start,
            speech_end=over.end,
            speech_ended_at=self._captured_at(over.end),
            decided_at=decided_at,
            revision=speech.next_revision() if guess.revision is None else guess.revision,
            rule=rule or guess.rule,
        )
        self._turn += 1
        await self._commit(ended)
        if prepared:
            metrics.GUESSES.labels("confirmed").inc()
        elif rule != "hung_up":
            await self._scene.ask(reply_id(ended.turn, ended.revision))

    async def _keyed(self, keyed: Keyed) -> None:
        """Keys are a turn; speech that is in progress becomes the next."""
        if self._speech is not None:
            await self._speech.withdraw()
        ended = e.TurnEnded(
            at=self._scene.now_ms(),
            turn=self._turn,
            text=keyed.digits,
            confidence=1.0,
            speech_start=keyed.start,
            speech_end=keyed.end,
            speech_ended_at=keyed.at,
            decided_at=self._scene.now_ms(),
            revision=(
                self._speech.next_revision()
                if self._speech is not None
                else self._scene.next_revision(self._turn)
            ),
            rule="keypad",
        )
        self._turn += 1
        await self._commit(ended)
        if self._speech is not None:
            await self._speech.becomes(self._turn)
        await self._scene.ask(reply_id(ended.turn, ended.revision))

    @property
    def _behind(self) -> bool:
        return self._scene.now_ms() - self._captured_ms > _BEHIND_MS

    def _captured_at(self, position: int) -> float:
        """When the sample before `position` was heard (epoch ms)."""
        return self._captured_ms - (self.position - position) * 1000 / SAMPLE_RATE

    def _resolved(self) -> tuple[e.SpeechDropped, ...]:
        """What the previous owner took for speech, if this one hears none there."""
        waits, heard = self._unresolved, self.position - len(self._before) * FRAME_SAMPLES
        if waits is None or heard <= waits.position:
            return ()
        self._unresolved = None
        return (
            e.SpeechDropped(
                at=self._scene.now_ms(), turn=waits.turn, position=waits.position, why="no_words"
            ),
        )

    async def _gap(self, position: int) -> None:
        _log.warning("asr.gap", samples=position - self.position)
        await self._scene.tell(
            e.MediaGap(
                at=self._scene.now_ms(),
                stage="asr",
                position=self.position,
                samples=position - self.position,
            )
        )

    async def _commit(self, *facts: e.Event) -> None:
        """Write facts with the checkpoint after them. Recorded audio is the recorder's to trim.

        The checkpoint keeps the frames that may turn out to belong to speech: who takes over hears
        its soft beginning too.
        """
        self._checkpoint_at = self.position
        begin = self._before[0][0] if self._before else self.position
        if self._speech is not None:
            begin = self._speech.begin
        await self._scene.log.commit(
            self._scene.owner,
            *facts,
            checkpoint={"position": begin, "turn": self._turn},
            trim_before="" if self._agent.recording else audio.frame_id(begin // FRAME_SAMPLES),
        )
