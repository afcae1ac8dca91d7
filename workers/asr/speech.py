"""One stretch of the caller's speech: from its onset, over its pauses, to the end of the turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from bus.log import CallLog, Ownership
from bus.tasks import stop
from calls import events as e
from calls.agent import Agent
from calls.backchannel import expects_answer, is_backchannel
from calls.completeness import Completeness
from calls.conversation import Conversation
from calls.ids import ReplyId, reply_id
from calls.turn_taking import TurnTaking
from media.frames import SAMPLE_RATE
from telemetry import metrics
from workers.asr.ear import Ear
from workers.asr.judge import Judge
from workers.ports import ProviderError, Transcriber, Transcript, Utterance

_log = structlog.get_logger(__name__)
#: Partials come at most this often, in samples of the media clock.
_PARTIAL_EVERY: Final = SAMPLE_RATE // 5
#: The transcriber is asked at no more pauses of a turn than these.
_MOST_PAUSES: Final = 20
#: The judge hears no more than the end of an utterance, in bytes of PCM: 8 s.
_JUDGED: Final = 8 * SAMPLE_RATE * 2
#: No turn ends while its words are being guessed at: they say how long to wait, ms.
_UNTIL_GUESSED: Final = 60_000

Rule = Literal["silence", "complete", "unfinished"]
NoTurn = Literal["no_words", "noise", "backchannel"]
_RULES: Final[dict[Completeness, Rule]] = {
    Completeness.COMPLETE: "complete",
    Completeness.UNSURE: "silence",
    Completeness.UNFINISHED: "unfinished",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """The call that is heard, and whoever helps to hear it."""

    agent: Agent
    owner: Ownership
    log: CallLog
    transcriber: Transcriber
    ear: Ear
    judge: Judge
    #: The live fold of the call.
    conversation: Conversation
    #: Unix epoch, ms.
    now_ms: Callable[[], float]
    #: Has somebody write a reply.
    ask: Callable[[ReplyId], Awaitable[None]]

    async def tell(self, *facts: e.Event) -> None:
        """Write facts. Raises SupersededError when another worker owns the call."""
        await self.log.commit(self.owner, *facts)

    def next_revision(self, turn: int) -> int:
        """The revision that the next reply to a turn has."""
        known = self.conversation.turns.get(turn)
        return max(known.guesses, default=-1) + 1 if known else 0


@dataclass(slots=True)
class Guess:
    """What speech is taken for at a pause. Made by a task of its own: the frames go on."""

    task: asyncio.Task[None] | None = None
    #: None while it is being made, and where the transcriber failed.
    transcript: Transcript | None = None
    judged: Completeness = Completeness.UNSURE
    #: The revision of the reply that is being prepared to it; None when none is.
    revision: int | None = None

    @property
    def rule(self) -> Rule:
        """What ends the turn, if this guess is right."""
        return _RULES[self.judged]


class Speech:
    """Speech in progress. Used by one task, but for the guesses that it makes."""

    def __init__(self, scene: Scene, taking: TurnTaking, turn: int, position: int) -> None:
        """It belongs to turn number `turn`, and its audio begins at `position` (samples)."""
        self.turn = turn
        self.begin = position
        self._scene = scene
        self._taking = taking
        self._utterance: Utterance | None = scene.transcriber.listen()
        self._unwritten = bytearray()
        self._judged = bytearray()
        self._partial = ""
        self._partial_at = position
        self._guess: Guess | None = None
        self._pauses = 0
        self._prepared = 0
        #: Our own guesses come back from the log a little later than we make the next.
        self._free_revision = 0
        #: Where it last began to hold up the agent, and whether the agent was speaking then.
        self._onset = position
        self._over_agent = False
        #: It was taken for nothing, and the playback goes on.
        self._dropped = False
        scene.ear.begin()

    def next_revision(self) -> int:
        """A revision for a reply to other words than all before."""
        revision = max(self._free_revision, self._scene.next_revision(self.turn))
        self._free_revision = revision + 1
        return revision

    def add(self, pcm: bytes) -> None:
        """Take the next audio."""
        self._unwritten += pcm

    async def started(self, position: int | None = None) -> None:
        """Tell that the caller speaks: since `position` (samples), or still."""
        if position is not None:
            self._onset = position
            self._over_agent = self._scene.ear.over_agent(position)
        self._dropped = False
        await self._scene.tell(
            e.SpeechStarted(at=self._scene.now_ms(), turn=self.turn, position=self._onset)
        )

    async def becomes(self, turn: int) -> None:
        """It is another turn now: what it was to be has ended without it."""
        self.turn, self._free_revision = turn, 0
        await self.started()

    async def write(self, position: int, *, stale: bool) -> bool:
        """Give the transcriber what has come up to `position`, in one piece.

        `stale`: it was said long ago, and nobody wants the partials.

        Returns:
            Whether the transcriber hears that the caller has finished.
        """
        pcm, self._unwritten = bytes(self._unwritten), bytearray()
        if not pcm or self._utterance is None:
            return False
        if self._scene.agent.endpointing.smart_turn is not None:
            self._judged += pcm
            del self._judged[:-_JUDGED]
        try:
            partial = await self._utterance.write(pcm)
        except ProviderError as error:
            await self._failed(error)
            return False
        due = position - self._partial_at >= _PARTIAL_EVERY
        if partial.text != self._partial and due and not stale:
            self._partial, self._partial_at = partial.text, position
            await self._scene.tell(
                e.TranscriptPartial(
                    at=self._scene.now_ms(), turn=self.turn, position=position, text=partial.text
                )
            )
        return partial.ended and self._scene.agent.endpointing.provider

    async def paused(self, *, wait: bool) -> None:
        """The caller may have finished: guess what was said, and prepare the reply to it.

        `wait` for the guess, where what follows was said long ago and must not overtake it.
        """
        if self._utterance is None or self._pauses >= _MOST_PAUSES:
            return
        self._pauses += 1
        self._taking.wait(_UNTIL_GUESSED)
        guess = self._guess = Guess()
        guess.task = asyncio.create_task(self._make(guess, self._utterance), name="guess")
        if wait:
            await asyncio.wait({guess.task})

    async def resumed(self, position: int) -> None:
        """The caller goes on, at `position`."""
        await self.withdraw()
        if self._dropped:
            await self.started(position)

    async def withdraw(self, guess: Guess | None = None) -> None:
        """The guess that stands, if any, was wrong; or `guess`, which stood until now."""
        guess, self._guess = guess or self._guess, None
        if guess is None or guess.task is None:
            return
        await stop(guess.task)
        if guess.revision is not None:
            metrics.GUESSES.labels("withdrawn").inc()
            await self._scene.tell(
                e.GuessWithdrawn(at=self._scene.now_ms(), turn=self.turn, revision=guess.revision)
            )

    def check(self) -> None:
        """Raise what the guess being made has raised."""
        if self._guess is not None and self._guess.task is not None and self._guess.task.done():
            self._guess.task.result()

    async def transcript(self) -> tuple[Guess, Transcript | None]:
        """It is over: its words, and the guess at them if the caller did not go on since.

        No words, when the transcriber failed, now or before.
        """
        guess, self._guess = self._guess or Guess(), None
        if guess.task is not None:
            await guess.task
        if guess.transcript is not None:
            await self.cancel()
            return guess, guess.transcript
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return Guess(), None
        try:
            return Guess(), await utterance.finish()
        except ProviderError as error:
            await self._failed(error)
            return Guess(), None

    def no_turn(self, transcript: Transcript) -> NoTurn | None:
        """Why these words ask for no answer; None when they do."""
        if not transcript.text:
            return "no_words"
        if self._scene.ear.is_noise:
            return "noise"
        extra = self._scene.agent.interruption.backchannels
        if (
            self._over_agent
            and is_backchannel(transcript.text, extra)
            and not _answer_expected(self._scene.conversation)
        ):
            return "backchannel"
        return None

    async def drop(self, why: NoTurn, text: str) -> None:
        """It was nothing: the playback may go on."""
        if self._dropped:
            return
        self._dropped = True
        metrics.SPEECH_DROPPED.labels(why).inc()
        await self._scene.tell(
            e.SpeechDropped(
                at=self._scene.now_ms(), turn=self.turn, position=self._onset, why=why, text=text
            )
        )

    async def cancel(self) -> None:
        """Nobody wants it any more. Its guess is forgotten, not withdrawn."""
        if self._guess is not None and self._guess.task is not None:
            await stop(self._guess.task)
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.cancel()

    async def _make(self, guess: Guess, utterance: Utterance) -> None:
        how = self._scene.agent.endpointing
        wait = how.silence_ms
        try:
            guess.transcript = await utterance.guess()
            text = guess.transcript.text
            if (why := self.no_turn(guess.transcript)) is not None:
                await self.drop(why, text)
                return
            if how.semantic:
                spoken = self._scene.conversation.spoken
                guess.judged = await self._scene.judge.judge(
                    bytes(self._judged), text, spoken.text if spoken else ""
                )
                wait = {
                    Completeness.COMPLETE: how.complete_ms,
                    Completeness.UNSURE: how.silence_ms,
                    Completeness.UNFINISHED: how.unfinished_ms,
                }[guess.judged]
            if self._worth_a_reply(guess):
                self._prepared += 1
                await self._prepare(guess, guess.transcript)
        except ProviderError as error:
            # When the turn is over, the transcriber is asked once more.
            _log.warning("asr.guess_failed", error=str(error))
        finally:
            self._taking.wait(wait)

    def _worth_a_reply(self, guess: Guess) -> bool:
        """Within the budget, and no clause that asks for more."""
        how = self._scene.agent.speculation
        may_be_over = guess.judged is not Completeness.UNFINISHED
        return how.enabled and may_be_over and self._prepared < how.guesses

    async def _prepare(self, guess: Guess, transcript: Transcript) -> None:
        """Have the reply written, and held back until the turn has ended with these words."""
        known = self._scene.conversation.turns.get(self.turn)
        standing = known.guess if known else None
        if standing is not None and standing.text == transcript.text:
            guess.revision = standing.revision  # a previous owner's
        else:
            guess.revision = self.next_revision()
            metrics.GUESSES.labels("made").inc()
            await self._scene.tell(
                e.TurnGuessed(
                    at=self._scene.now_ms(),
                    turn=self.turn,
                    revision=guess.revision,
                    text=transcript.text,
                    confidence=transcript.confidence,
                    speech_end=self._taking.last_speech,
                )
            )
        reply = reply_id(self.turn, guess.revision)
        if self._scene.conversation.reply(reply) is None:
            await self._scene.ask(reply)

    async def _failed(self, error: ProviderError) -> None:
        metrics.ERRORS.labels("asr", error.error_type).inc()
        _log.error("asr.provider_failed", error=str(error))
        await self.cancel()
        await self._scene.tell(
            e.StageFailed(
                at=self._scene.now_ms(),
                stage="asr",
                error_type=error.error_type,
                message=str(error),
            )
        )


def _answer_expected(conversation: Conversation) -> bool:
    """Has the agent all but asked its question? Then "yeah" is an answer."""
    spoken = conversation.spoken
    if spoken is None or not expects_answer(spoken.text) or spoken.samples is None:
        return False
    return spoken.samples - spoken.heard_samples <= SAMPLE_RATE
