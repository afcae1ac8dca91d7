"""A call as it is kept: frozen records, built from a conversation and its log alone.

Pure: the same log gives the same record, which is what makes writing it twice harmless. The
dashboard shows a live call as the record that would be written if it ended now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Self

from pydantic import TypeAdapter

from calls import events as e
from calls.conversation import Conversation
from calls.ids import CallId
from storage.actions import ActionRecord
from storage.turns import TurnRecord, moment

_EVENT: TypeAdapter[e.AnyEvent] = TypeAdapter(e.AnyEvent)


def worth_keeping(event: e.Event) -> bool:
    """Say whether an event is kept: all are, but for partial transcripts.

    Partials are the bulk of a log, and each is outlived by the final that follows it.
    """
    return not isinstance(event, e.TranscriptPartial)


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
        return cls(seq=seq, at=moment(event.at), kind=event.kind, payload=payload)

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
    """How the caller's audio arrived: RTP packets, and an estimated mean opinion score (1..5).

    And ours there, as the peer reports it: None where it reports nothing.
    """

    packets: int
    lost: int
    late: int
    concealed: int
    jitter_ms: float
    round_trip_ms: float | None
    mos: float
    sent: int
    peer_lost: int | None
    peer_jitter_ms: float | None

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
            sent=quality.sent,
            peer_lost=quality.peer_lost,
            peer_jitter_ms=quality.peer_jitter_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummary:
    """A call in one line, for lists."""

    id: CallId
    carrier: str
    agent_name: str
    caller: str
    called: str
    #: "inbound" or "outbound": then `called` is who was to answer.
    direction: str
    #: The trunk that it came or went by; empty for none.
    trunk: str
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
    actions: tuple[ActionRecord, ...]
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
            if turn.ended or turn.reply or turn.asides or number in unfinished
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
            codec=quality.codec if quality and quality.codec else started.codec,
            direction=started.direction,
            trunk=conversation.rerouted.trunk if conversation.rerouted else started.trunk,
            remote=started.remote,
            started_at=moment(started.at),
            answered_at=moment(conversation.answered_at) if conversation.answered_at else None,
            ended_at=moment(ended.at) if ended else None,
            ending=ended.why.value if ended else None,
            duration_ms=round(ended.at - (conversation.answered_at or ended.at)) if ended else None,
            turn_count=sum(1 for turn in conversation.turns.values() if turn.ended),
            failure_count=len(conversation.failures),
            voice_to_voice_ms=round(median(answers), 1) if answers else None,
            mos=quality.mos if quality else None,
            turns=turns,
            actions=ActionRecord.all_of(conversation),
            events=EventRecord.all_of(log),
            recording=recording,
            quality=QualityRecord.of(quality) if quality else None,
        )


def _unfinished_turns(events: Iterable[e.Event]) -> set[int]:
    """Turns the caller was speaking when the log stopped (speech that was dropped is none)."""
    speaking: set[int] = set()
    for event in events:
        if isinstance(event, e.TranscriptPartial | e.TurnGuessed):
            speaking.add(event.turn)
        elif isinstance(event, e.TurnEnded | e.SpeechDropped):
            speaking.discard(event.turn)
    return speaking
