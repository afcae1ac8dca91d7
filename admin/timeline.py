"""A call as a picture: who spoke when, and where each turn's milliseconds went. Pure geometry.

Shapes are SVG attributes in percent, not inline styles: the content security policy forbids those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from admin import wording
from admin.talk import murmurs
from calls.timing import STAGES
from calls.turns import Run
from storage.record import CallRecord
from storage.turns import SAMPLES_PER_MS, TurnRecord

#: Steps between ticks under a timeline, s: the first that needs no more than _MAX_TICKS is taken.
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_MAX_TICKS = 7


Side = Literal["caller", "agent"]
#: answer and speech are turns; aside: said beside the answer; keys: keyed in; murmur: of speech
#: that was no turn, the beginning.
Kind = Literal["speech", "answer", "aside", "keys", "murmur"]


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of speech. `x` and `width` in percent of the timeline, `start_s` into the call."""

    side: Side
    kind: Kind
    #: None for what belongs to no turn.
    turn: int | None
    #: What is to be said of it.
    note: str
    start_s: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stage of a turn. `x` and `width` in percent of the slowest turn of the call."""

    stage: str
    ms: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of time. `x` in percent of the timeline."""

    at_s: int
    x: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done, or a step of it. `x` in percent of the timeline."""

    #: A badge's class (wording.outcome_tone).
    tone: str
    note: str
    x: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The speech of both sides over a call of `length_s` seconds."""

    length_s: float
    blocks: tuple[Block, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]

    @classmethod
    def of(cls, call: CallRecord) -> Timeline | None:
        """Lay out a call; None if nobody spoke."""
        spans = sorted(_spans(call), key=lambda span: span.start)
        if not spans:
            return None
        total = max(span.end for span in spans)
        if call.recording is not None:
            total = max(total, call.recording.duration_ms * SAMPLES_PER_MS)
        rate = SAMPLES_PER_MS * 1000
        blocks = (
            Block(
                side=span.side,
                kind=span.kind,
                turn=span.turn,
                note=span.note,
                start_s=span.start / rate,
                x=_percent(span.start, total),
                width=max(0.3, _percent(span.end - span.start, total)),
            )
            for span in spans
        )
        seconds = total / rate
        step = next((step for step in _STEPS_S if seconds / step <= _MAX_TICKS), _STEPS_S[-1])
        # The last tick leaves room for its label.
        marks = range(0, int(seconds * 0.97) + 1, step)
        return cls(
            length_s=seconds,
            blocks=tuple(blocks),
            marks=tuple(_marks(call, seconds)),
            ticks=tuple(Tick(mark, _percent(mark, seconds)) for mark in marks),
        )


def segments(turn: TurnRecord, slowest_ms: float) -> tuple[Segment, ...]:
    """Lay out a turn's stages, beside those of a turn that took `slowest_ms`."""
    laid: list[Segment] = []
    begin = 0.0
    for stage in STAGES:
        taken = turn.stages_ms.get(stage)
        if taken is None:
            break
        # Clocks of two machines may disagree by a hair: no stage is drawn backwards.
        width = _percent(max(0.0, taken), slowest_ms)
        laid.append(Segment(stage, taken, begin, width))
        begin += width
    return tuple(laid)


def prepared(turn: TurnRecord, slowest_ms: float) -> Segment | None:
    """Lay out what of the reply was made during the end-of-turn wait; None if nothing was.

    It lies within that stage, on the scale of `segments`.
    """
    wait = turn.stages_ms.get("endpoint", 0.0)
    end = wait - max(0.0, turn.ready_early_ms or 0.0)
    begin = max(0.0, end - turn.hidden_ms)
    if turn.hidden_ms <= 0 or end <= begin:
        return None
    return Segment(
        "prepared", turn.hidden_ms, _percent(begin, slowest_ms), _percent(end - begin, slowest_ms)
    )


def slowest_turn_ms(turns: Sequence[TurnRecord]) -> float:
    """Measure the longest bar, ms; never 0."""
    return max((sum(turn.stages_ms.values()) for turn in turns), default=0.0) or 1.0


class _Span(NamedTuple):
    """Something spoken, at positions [start, end) of the media clock."""

    side: Side
    kind: Kind
    turn: int | None
    note: str
    start: int
    end: int


def _spans(call: CallRecord) -> Iterator[_Span]:
    for turn in call.turns:
        if turn.speech_start is not None and turn.speech_end is not None:
            kind: Kind = "keys" if turn.rule == "keypad" else "speech"
            yield _Span("caller", kind, turn.number, "", turn.speech_start, turn.speech_end)
        for sentence in turn.sentences:
            for start, end in _played(sentence.runs):
                yield _Span("agent", "answer", turn.number, "", start, end)
        for aside in turn.asides:
            for start, end in _played(aside.runs):
                yield _Span("agent", "aside", turn.number, aside.why, start, end)
    for murmur in murmurs(call):
        yield _Span(
            "caller", "murmur", None, murmur.text or murmur.why, murmur.position, murmur.position
        )


def _marks(call: CallRecord, length_s: float) -> Iterator[Mark]:
    """What was done, by the clock: media flow from the answer on."""
    if call.answered_at is None:
        return
    answered_at = call.answered_at

    def place(at: datetime) -> float:
        after_s = (at - answered_at).total_seconds()
        return _percent(min(max(0.0, after_s), length_s), length_s)

    for done in call.actions:
        what = wording.action(done)
        for step in done.steps:
            at = done.asked_at + timedelta(milliseconds=step.after_ms)
            yield Mark("plain", f"{what}: {step.status} {step.text}".rstrip(), place(at))
        if done.done_at is not None:
            note = f"{what}: {wording.outcome(done)}"
            yield Mark(wording.outcome_tone(done), note, place(done.done_at))


def _played(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    for run in runs:
        end = run.position + run.end - run.offset
        if end > run.position:
            yield run.position, end


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)
