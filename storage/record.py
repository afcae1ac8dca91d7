"""A call as it is kept: frozen records, built from a conversation and its log alone.

Pure: the same log gives the same record, which is what makes writing it twice harmless. The
dashboard shows a live call as the record that would be written if it ended now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, Self

from pydantic import TypeAdapter

from calls import events as e
from calls.conversation import Conversation, Reply, Run, Sentence, Turn
from calls.ids import CallId, ReplyId
from calls.timing import stages_ms, voice_to_voice_ms

#: Samples per ms of the media clock (calls/events.py: 8000 Hz).
SAMPLES_PER_MS = 8

_EVENT: TypeAdapter[e.AnyEvent] = TypeAdapter(e.AnyEvent)


def worth_keeping(event: e.Event) -> bool:
    """Say whether an event is kept: all are, but for partial transcripts.

    Partials are the bulk of a log, and each is outlived by the final that follows it.
    """
    return not isinstance(event, e.TranscriptPartial)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceRecord:
    """One sentence of a reply. Lengths in samples at 8000 Hz."""

    number: int
    text: str
    heard_text: str
    #: Length of its audio; None if synthesis never ended.
    samples: int | None
    heard_samples: int
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
            runs=tuple(sentence.runs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """One turn and its answer. Turn 0 is the greeting: it has no caller's side."""

    number: int
    caller_text: str
    #: 0..1, or None where the provider did not say.
    confidence: float | None
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
    #: All replies begun for this turn, in order of revision; the last one counts.
    replies: tuple[str, ...]
    sentences: tuple[SentenceRecord, ...]

    @classmethod
    def of(cls, turn: Turn) -> Self:
        reply = turn.reply or Reply(ReplyId(""))
        said = turn.ended
        return cls(
            number=turn.number,
            caller_text=turn.text,
            confidence=said.confidence if said else None,
            agent_text=reply.text,
            heard_text=reply.heard_text,
            interrupted=reply.cut and reply.heard_text != reply.text,
            speech_start=said.speech_start if said else None,
            speech_end=said.speech_end if said else None,
            started_at=_turn_start(turn),
            ended_at=_moment(said.decided_at) if said else None,
            voice_to_voice_ms=voice_to_voice_ms(turn),
            stages_ms=stages_ms(turn),
            replies=tuple(turn.replies),
            sentences=tuple(SentenceRecord.of(sentence) for sentence in reply.ordered),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One entry of the log. `seq` counts all entries, also those not kept, from 0."""

    seq: int
    at: datetime
    kind: str
    #: The event's other fields, as JSON.
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, seq: int, event: e.Event) -> Self:
        payload = _EVENT.dump_python(event, mode="json")  # type: ignore[arg-type]
        del payload["kind"], payload["at"]
        return cls(seq=seq, at=_moment(event.at), kind=event.kind, payload=payload)

    @classmethod
    def all_of(cls, events: Iterable[e.Event]) -> tuple[Self, ...]:
        """Number a whole log from its first entry, and keep what is worth keeping."""
        return tuple(cls.of(seq, event) for seq, event in enumerate(events) if worth_keeping(event))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRecord:
    """Where a call's audio lies. `path` is relative to the recordings directory."""

    path: str
    bytes: int
    duration_ms: int
    channels: int
    #: Hex digest of the file.
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRecord:
    """How the caller's audio arrived: RTP packets, and an estimated mean opinion score (1..5)."""

    packets: int
    lost: int
    late: int
    concealed: int
    jitter_ms: float
    round_trip_ms: float | None
    mos: float

    @classmethod
    def of(cls, quality: e.MediaQuality) -> Self:
        return cls(
            packets=quality.packets,
            lost=quality.lost,
            late=quality.late,
            concealed=quality.concealed,
            jitter_ms=quality.jitter_ms,
            round_trip_ms=quality.round_trip_ms,
            mos=quality.mos,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummary:
    """A call in one line, for lists."""

    id: CallId
    carrier: str
    agent_name: str
    caller: str
    called: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    #: A `calls.ending.Ending`; None while the call lasts. Text, as an old row may hold an old word.
    ending: str | None
    #: From answer to end; None while the call lasts, 0 if it was never answered.
    duration_ms: int | None
    #: Turns that the caller finished.
    turn_count: int
    failure_count: int
    #: The median over the call's turns.
    voice_to_voice_ms: float | None
    mos: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(CallSummary):
    """A whole call."""

    carrier_call: str
    codec: str
    remote: str
    #: The agent as it was configured then, as JSON: today's `Agent` may have other fields.
    agent: Mapping[str, Any]
    turns: tuple[TurnRecord, ...]
    #: Empty when read with `CallHistory.get`: the log is read by its own call, when asked for.
    events: tuple[EventRecord, ...]
    recording: RecordingRecord | None
    quality: QualityRecord | None

    @classmethod
    def of(
        cls,
        conversation: Conversation,
        events: Iterable[e.Event],
        recording: RecordingRecord | None,
    ) -> Self:
        """Build the record of a call, over or not.

        Args:
            conversation: the fold of `events`.
            events: the whole log, in order.
            recording: the stereo file, if one was made.

        Raises:
            ValueError: the log does not hold `call.started`, so there is no call to speak of.
        """
        started, ended = conversation.started, conversation.ended
        if started is None:
            raise ValueError("a log without call.started is no call")
        log = tuple(events)
        unfinished = _unfinished_turns(log)
        turns = tuple(
            TurnRecord.of(turn)
            for number, turn in sorted(conversation.turns.items())
            if turn.ended or turn.replies or number in unfinished
        )
        answers = [turn.voice_to_voice_ms for turn in turns if turn.voice_to_voice_ms is not None]
        quality = conversation.quality
        return cls(
            id=started.call,
            carrier=started.carrier,
            carrier_call=started.carrier_call,
            agent_name=started.agent.name,
            agent=started.agent.model_dump(mode="json"),
            caller=started.caller,
            called=started.called,
            codec=started.codec,
            remote=started.remote,
            started_at=_moment(started.at),
            answered_at=_moment(conversation.answered_at) if conversation.answered_at else None,
            ended_at=_moment(ended.at) if ended else None,
            ending=ended.why.value if ended else None,
            duration_ms=round(ended.at - (conversation.answered_at or ended.at)) if ended else None,
            turn_count=sum(1 for turn in conversation.turns.values() if turn.ended),
            failure_count=len(conversation.failures),
            voice_to_voice_ms=round(median(answers), 1) if answers else None,
            mos=quality.mos if quality else None,
            turns=turns,
            events=EventRecord.all_of(log),
            recording=recording,
            quality=QualityRecord.of(quality) if quality else None,
        )


def _unfinished_turns(events: Iterable[e.Event]) -> set[int]:
    """Turns the caller was speaking when the log stopped (speech that was dropped is none)."""
    speaking: set[int] = set()
    for event in events:
        if isinstance(event, e.TranscriptPartial):
            speaking.add(event.turn)
        elif isinstance(event, e.TurnEnded | e.SpeechDropped):
            speaking.discard(event.turn)
    return speaking


def _turn_start(turn: Turn) -> datetime | None:
    if (said := turn.ended) is not None:
        length_ms = (said.speech_end - said.speech_start) / SAMPLES_PER_MS
        return _moment(said.speech_ended_at - length_ms)
    if turn.reply is not None and turn.reply.started_at is not None:
        return _moment(turn.reply.started_at)
    return None


def _moment(epoch_ms: float) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
