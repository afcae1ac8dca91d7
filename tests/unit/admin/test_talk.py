from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from admin.talk import exchanges, heard_from, murmurs, murmurs_since
from calls.turns import Run
from storage.record import CallRecord, EventRecord
from storage.turns import AsideRecord, TurnRecord

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


def aside(number: int, why: str, position: int | None = None) -> AsideRecord:
    """An aside of a second, heard from `position` on, or never."""
    heard = position is not None
    return AsideRecord(
        number=number,
        why=why,
        due_at=NOON,
        text="One moment.",
        heard_text="One moment." if heard else "",
        samples=8000,
        heard_samples=8000 if heard else 0,
        cached=False,
        runs=(Run(0, 8000, position),) if position is not None else (),
    )


def dropped(turn: int, position: int, why: str = "backchannel", **said: str) -> EventRecord:
    payload = {"turn": turn, "position": position, "why": why, **said}
    return EventRecord(seq=position, at=NOON, kind="speech.dropped", payload=payload)


def places(call: CallRecord) -> tuple[list[int], list[int]]:
    (one,) = exchanges(call)
    return [each.number for each in one.before], [each.number for each in one.after]


def test_asides_stand_where_they_were_heard(kept_call: CallRecord, turn: TurnRecord) -> None:
    said = (aside(0, "filler", 26_000), aside(1, "trouble", 41_000), aside(2, "reprompt", 60_000))
    assert places(replace(kept_call, turns=(replace(turn, asides=said),))) == ([0], [1, 2])


@pytest.mark.parametrize(
    ("why", "place"),
    [
        ("filler", ([0], [])),
        ("trouble", ([0], [])),
        ("reprompt", ([], [0])),
        ("goodbye", ([], [0])),
        ("apology", ([], [0])),
        ("a_later_versions_word", ([0], [])),
    ],
)
def test_an_aside_that_nobody_heard_or_with_no_answer_stands_where_its_reason_says(
    kept_call: CallRecord, turn: TurnRecord, why: str, place: tuple[list[int], list[int]]
) -> None:
    unheard = replace(turn, asides=(aside(0, why),))
    unanswered = replace(turn, asides=(aside(0, why, 50_000),), sentences=())
    for each in (unheard, unanswered):
        assert places(replace(kept_call, turns=(each,))) == place


def test_a_murmur_stands_before_the_turn_that_came_after_it(
    kept_call: CallRecord, turn: TurnRecord
) -> None:
    events = (dropped(1, 8000, text="mhm"), dropped(2, 36_000, text="yeah"))
    call = replace(kept_call, turns=(turn,), events=events)
    (one,) = exchanges(call)
    assert [each.text for each in one.murmurs] == ["mhm"]
    assert [each.text for each in murmurs_since(call)] == ["yeah"]


def test_speech_that_went_on_and_became_a_turn_is_told_once(
    kept_call: CallRecord, turn: TurnRecord
) -> None:
    events = (dropped(1, turn.speech_start or 0, text="yes"),)
    assert murmurs(replace(kept_call, events=events)) == []
    # Keys pressed meanwhile are another matter.
    keyed = replace(turn, rule="keypad")
    assert len(murmurs(replace(kept_call, turns=(keyed,), events=events))) == 1


def test_what_the_first_version_dropped_is_shown_too(kept_call: CallRecord) -> None:
    (cough,) = murmurs(replace(kept_call, events=(dropped(2, 40_000, "no_words"),)))
    assert (cough.why, cough.text) == ("no_words", "")


def test_an_answer_is_heard_from_its_first_run(kept_call: CallRecord) -> None:
    (one,) = exchanges(kept_call)
    assert one.answered_from == 32_000
    assert heard_from((), (Run(4, 9, 700), Run(0, 4, 300))) == 300
    assert heard_from(()) is None
