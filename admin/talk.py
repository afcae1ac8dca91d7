"""The conversation in the order it was heard: turns, and what was said beside them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calls.turns import Run
from storage.record import CallRecord
from storage.turns import AsideRecord, TurnRecord

#: Said when the answer was over, or when there was none. The others wait for an answer.
_AFTER = frozenset({"reprompt", "goodbye", "apology", "transfer_failed"})


@dataclass(frozen=True, slots=True)
class Murmur:
    """Speech of the caller that was no turn: the agent went on."""

    #: The turn that it might have become.
    turn: int
    #: Where it began, samples of the media clock.
    position: int
    why: str
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn, in between what was said and heard beside it."""

    turn: TurnRecord
    #: What the caller murmured since the turn before.
    murmurs: tuple[Murmur, ...]
    #: What the agent said beside the answer, before and after it.
    before: tuple[AsideRecord, ...]
    after: tuple[AsideRecord, ...]
    #: Where the answer begins to be heard: a position on the media clock, or None.
    answered_from: int | None


def murmurs(call: CallRecord) -> list[Murmur]:
    """Find the speech that was dropped, in order; not what became a turn after all."""
    return [each for each in _dropped(call) if not _became_a_turn(each, call.turns)]


def exchanges(call: CallRecord) -> list[Exchange]:
    """Put each turn between its asides and the murmurs before it."""
    heard = murmurs(call)
    return [
        Exchange(
            turn=turn,
            murmurs=tuple(each for each in heard if each.turn == turn.number),
            before=tuple(aside for aside in turn.asides if not _is_after(aside, turn)),
            after=tuple(aside for aside in turn.asides if _is_after(aside, turn)),
            answered_from=heard_from(*(sentence.runs for sentence in turn.sentences)),
        )
        for turn in call.turns
    ]


def murmurs_since(call: CallRecord) -> list[Murmur]:
    """Find what the caller murmured after the last turn."""
    turns = {turn.number for turn in call.turns}
    return [each for each in murmurs(call) if each.turn not in turns]


def heard_from(*runs: Sequence[Run]) -> int | None:
    """Tell where these began to be heard: a position on the media clock, or None."""
    return min((run.position for part in runs for run in part), default=None)


def _dropped(call: CallRecord) -> Iterator[Murmur]:
    for event in call.events:
        if event.kind == "speech.dropped":
            said = event.payload
            # The first version's events say less.
            yield Murmur(said["turn"], said["position"], said["why"], said.get("text", ""))


def _became_a_turn(murmur: Murmur, turns: Sequence[TurnRecord]) -> bool:
    return any(
        turn.number == murmur.turn
        and turn.rule != "keypad"
        and turn.speech_start is not None
        and turn.speech_start <= murmur.position
        for turn in turns
    )


def _is_after(aside: AsideRecord, turn: TurnRecord) -> bool:
    heard = heard_from(aside.runs)
    answered = heard_from(*(sentence.runs for sentence in turn.sentences))
    if heard is not None and answered is not None:
        return heard > answered
    return aside.why in _AFTER
