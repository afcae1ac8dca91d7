from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

import pytest

from admin import wording
from admin.talk import Murmur
from bus.trunk_state import TrunkState
from calls import events as e
from storage.actions import ActionRecord
from storage.turns import TurnRecord

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


def _words(event: type[Any], name: str) -> set[str]:
    return set(get_args(get_type_hints(event)[name]))


def test_every_word_of_the_log_has_a_name() -> None:
    assert set(wording.RULE_NAMES) == _words(e.TurnEnded, "rule")
    assert set(wording.ASIDE_REASONS) == _words(e.AsideDue, "why")
    assert set(wording.MURMURS) == _words(e.SpeechDropped, "why")
    assert set(wording.REGISTRATIONS) == _words(TrunkState, "registered")
    assert set(wording.REACHABILITY) == _words(TrunkState, "reachable")


@pytest.mark.parametrize("registered", ["no", "yes", "failed", "off"])
@pytest.mark.parametrize("reachable", ["yes", "no", "unknown"])
def test_every_state_of_a_trunk_has_a_colour(registered: Any, reachable: Any) -> None:
    trunk = TrunkState(name="a", registered=registered, reachable=reachable)
    assert wording.registration_tone(trunk)
    assert wording.reachable_tone(trunk)


@pytest.mark.parametrize(
    ("value", "shown", "tone"),
    [
        (4.41, "4.4, good", "good"),
        (4.03, "4.0, good", "good"),
        (3.7, "3.7, fair", "plain"),
        (3.2, "3.2, poor", "bad"),
        (1.0, "1.0, bad", "bad"),
    ],
)
def test_a_mos_is_told_in_words(value: float, shown: str, tone: str) -> None:
    assert (wording.mos(value), wording.mos_tone(value)) == (shown, tone)


def _done(action: str, outcome: str | None = "done", detail: str = "", **given: str) -> Any:
    return ActionRecord(
        number=0, turn=1, action=action, arguments=given, asked_at=NOON, done_at=None,
        outcome=outcome, detail=detail, status=None, steps=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("done", "shown", "outcome", "tone"),
    [
        (_done("transfer", target="100", mode="blind"), "Transfer to 100, blind", "done", "good"),
        (
            _done("transfer", "failed", "486 Busy Here", target="100", destination="front"),
            "Transfer to front (100), blind", "failed: 486 Busy Here", "bad",
        ),
        (_done("send_digits", None, digits="12#"), "Keys 12#", "not done", "plain"),
        (_done("hangup"), "Hang up", "done", "good"),
        (_done("a_later_word"), "A later word", "done", "good"),
    ],
)  # fmt: skip
def test_an_action_is_told_with_what_came_of_it(
    done: ActionRecord, shown: str, outcome: str, tone: str
) -> None:
    assert wording.action(done) == shown
    assert (wording.outcome(done), wording.outcome_tone(done)) == (outcome, tone)


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ("complete", "complete answer, 125 ms"),
        ("keypad", "keypad, 125 ms"),
        ("hung_up", "end of the call"),
        ("a_later_word", "a later word, 125 ms"),
        (None, ""),
    ],
)
def test_what_ended_a_turn_is_told_with_its_wait(
    turn: TurnRecord, rule: str | None, shown: str
) -> None:
    assert wording.turn_end(replace(turn, rule=rule)) == shown


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({}, ""),
        ({"guesses": 1, "guesses_withdrawn": 1}, "1 guess, 1 withdrawn"),
        (
            {"guesses": 2, "guesses_withdrawn": 1, "hidden_ms": 90.0, "ready_early_ms": 120.4},
            "2 guesses, 1 withdrawn; reply ready 120 ms before the turn ended",
        ),
        (
            {"guesses": 1, "hidden_ms": 90.0, "ready_early_ms": -30.0},
            "1 guess; 90 ms of the reply made before the turn ended",
        ),
        ({"guesses": 1, "ready_early_ms": -30.0}, "1 guess"),
    ],
)
def test_guesses_are_told_with_what_they_saved(
    turn: TurnRecord, told: dict[str, Any], shown: str
) -> None:
    assert wording.guesses(replace(turn, **told)) == shown


def test_a_murmur_is_told_in_its_words_but_noise_is_not_taken_at_its_word() -> None:
    assert wording.murmur(Murmur(1, 0, "backchannel", "mhm"))[0] == "mhm"
    said, why = wording.murmur(Murmur(1, 0, "noise", "the"))
    assert said == "noise"
    assert "\u201cthe\u201d" in why
    assert wording.murmur(Murmur(1, 0, "a_later_word", "")) == ("a later word", "")


def test_thousands_are_set_apart() -> None:
    assert wording.ms(1234.5) == "1\u2009234"
