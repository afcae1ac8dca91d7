"""A turn as it is kept: what was said, heard, guessed and waited for. Pure, as record.py is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from calls import events as e
from calls.ids import ReplyId, revision_of
from calls.timing import hidden_ms, ready_early_ms, stages_ms, voice_to_voice_ms
from calls.turns import Reply, Run, Sentence, Turn

#: Samples per ms of the media clock (calls/events.py: 8000 Hz).
SAMPLES_PER_MS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceRecord:
    """One sentence of a reply. Lengths in samples at 8000 Hz."""

    number: int
    text: str
    heard_text: str
    #: Length of its audio; None if synthesis never ended.
    samples: int | None
    heard_samples: int
    #: It was to be spoken to its end, even if the caller spoke.
    protected: bool
    #: It came from the cache of speech.
    cached: bool
    #: The stretches that were played, as places in the sentence and in the recording.
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, sentence: Sentence) -> Self:
        return cls(
            number=sentence.index,
            text=sentence.text,
            heard_text=sentence.heard_text,
            samples=sentence.samples,
            heard_samples=sentence.heard_samples,
            protected=sentence.protected,
            cached=sentence.cached,
            runs=tuple(sentence.runs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsideRecord:
    """Something said beside the answer to a turn. Lengths in samples at 8000 Hz."""

    #: In the order in which the turn's asides fell due, from 0.
    number: int
    #: A `calls.events.AsideReason`. Text, as an old row may hold an old word.
    why: str
    due_at: datetime
    text: str
    #: What the caller heard of it: nothing, if the answer came first.
    heard_text: str
    samples: int | None
    heard_samples: int
    cached: bool
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, due: e.AsideDue, spoken: Sentence) -> Self:
        return cls(
            number=revision_of(due.reply),
            why=due.why,
            due_at=moment(due.at),
            text=due.text,
            heard_text=spoken.heard_text,
            samples=spoken.samples,
            heard_samples=spoken.heard_samples,
            cached=spoken.cached,
            runs=tuple(spoken.runs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """One turn and its answer. Turn 0 is the greeting: it has no caller's side."""

    number: int
    caller_text: str
    #: 0..1, or None where the provider did not say.
    confidence: float | None
    #: What ended it, as `calls.events.TurnEnded.rule` says; None while it lasts, and in rows from
    #: before this was kept. "keypad": the caller's text is the keys pressed.
    rule: str | None
    #: How often it was taken to be over, and a reply prepared; how many of these were not used.
    guesses: int
    guesses_withdrawn: int
    #: What the preparation saved, and how long the reply had been ready (`calls.timing`).
    hidden_ms: float
    ready_early_ms: float | None
    #: All that the agent would have said.
    agent_text: str
    #: What the caller heard of it.
    heard_text: str
    #: The caller spoke over the reply, and missed words of it.
    interrupted: bool
    #: The caller's speech, as positions on the media clock (samples at 8000 Hz).
    speech_start: int | None
    speech_end: int | None
    #: When the caller began this turn, and when its end was decided. The greeting starts with the
    #: responder's work and has no end.
    started_at: datetime | None
    ended_at: datetime | None
    voice_to_voice_ms: float | None
    #: ms by `calls.timing.STAGES`; holds the stages that the turn reached.
    stages_ms: Mapping[str, float]
    #: All replies begun for this turn, those to withdrawn guesses too. One of them counts.
    replies: tuple[str, ...]
    sentences: tuple[SentenceRecord, ...]
    asides: tuple[AsideRecord, ...]

    @classmethod
    def of(cls, turn: Turn) -> Self:
        reply = turn.reply or Reply(ReplyId(""))
        said = turn.ended
        return cls(
            number=turn.number,
            caller_text=turn.guess.text if turn.guess and not said else turn.text,
            confidence=said.confidence if said else None,
            rule=said.rule if said else None,
            guesses=len(turn.guesses),
            guesses_withdrawn=_withdrawn(turn),
            hidden_ms=hidden_ms(turn),
            ready_early_ms=ready_early_ms(turn),
            agent_text=reply.text,
            heard_text=reply.heard_text,
            interrupted=reply.cut and reply.heard_text != reply.text,
            speech_start=said.speech_start if said else None,
            speech_end=said.speech_end if said else None,
            started_at=_start(turn),
            ended_at=moment(said.decided_at) if said else None,
            voice_to_voice_ms=voice_to_voice_ms(turn),
            stages_ms=stages_ms(turn),
            replies=tuple(turn.replies),
            sentences=tuple(SentenceRecord.of(sentence) for sentence in reply.ordered),
            asides=tuple(
                AsideRecord.of(aside.due, aside.sentence)
                for _, aside in sorted(turn.asides.items(), key=lambda item: revision_of(item[0]))
                if aside.due is not None
            ),
        )


def moment(epoch_ms: float) -> datetime:
    """A time of the log, as rows have it: UTC."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _withdrawn(turn: Turn) -> int:
    if turn.ended is not None:
        return len(turn.guesses) - (turn.ended.revision in turn.guesses)
    return len(turn.guesses) - (turn.guess is not None)


def _start(turn: Turn) -> datetime | None:
    if (said := turn.ended) is not None:
        length_ms = (said.speech_end - said.speech_start) / SAMPLES_PER_MS
        return moment(said.speech_ended_at - length_ms)
    if turn.reply is not None and turn.reply.started_at is not None:
        return moment(turn.reply.started_at)
    return None
