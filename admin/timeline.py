"""A call as a picture: who spoke when, and where each turn's milliseconds went. Pure geometry.

Shapes are SVG attributes in percent, not inline styles: the content security policy forbids those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from calls.timing import STAGES
from storage.record import SAMPLES_PER_MS, CallRecord, TurnRecord

#: Steps between ticks under a timeline, s: the first that needs no more than _MAX_TICKS is taken.
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_MAX_TICKS = 7


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of speech. `x` and `width` in percent of the timeline, `start_s` into the call."""

    side: Literal["caller", "agent"]
    turn: int
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
class Timeline:
    """The speech of both sides over a call of `length_s` seconds."""

    length_s: float
    blocks: tuple[Block, ...]
    ticks: tuple[Tick, ...]

    @classmethod
    def of(cls, call: CallRecord) -> Timeline | None:
        """Lay out a call; None if nobody spoke."""
        spans = [span for turn in call.turns for span in _spans(turn)]
        if not spans:
            return None
        total = max(end for _, _, _, end in spans)
        if call.recording is not None:
            total = max(total, call.recording.duration_ms * SAMPLES_PER_MS)
        rate = SAMPLES_PER_MS * 1000
        blocks = (
            Block(
                side=side,
                turn=turn,
                start_s=start / rate,
                x=_percent(start, total),
                width=max(0.3, _percent(end - start, total)),
            )
            for side, turn, start, end in spans
        )
        seconds = total / rate
        step = next((step for step in _STEPS_S if seconds / step <= _MAX_TICKS), _STEPS_S[-1])
        # The last tick leaves room for its label.
        marks = range(0, int(seconds * 0.97) + 1, step)
        return cls(
            length_s=seconds,
            blocks=tuple(blocks),
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


def slowest_turn_ms(turns: Sequence[TurnRecord]) -> float:
    """Measure the longest bar, ms; never 0."""
    return max((sum(turn.stages_ms.values()) for turn in turns), default=0.0) or 1.0


def answered_from(turn: TurnRecord) -> int | None:
    """Where the agent's reply begins to be heard: a position on the media clock, or None."""
    return min((run.position for part in turn.sentences for run in part.runs), default=None)


def _spans(turn: TurnRecord) -> list[tuple[Literal["caller", "agent"], int, int, int]]:
    """Side, turn, and positions [start, end) of all that was spoken in a turn."""
    spans: list[tuple[Literal["caller", "agent"], int, int, int]] = []
    if turn.speech_start is not None and turn.speech_end is not None:
        spans.append(("caller", turn.number, turn.speech_start, turn.speech_end))
    for sentence in turn.sentences:
        for run in sentence.runs:
            end = run.position + run.end - run.offset
            if end > run.position:
                spans.append(("agent", turn.number, run.position, end))
    return spans


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3)
