from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest

from admin import wording
from admin.talk import Murmur
from calls import events as e
from storage.turns import TurnRecord


def _words(event: type[e.Event], name: str) -> set[str]:
    return set(get_args(get_type_hints(event)[name]))


def test_every_word_of_the_log_has_a_name() -> None:
    assert set(wording.RULE_NAMES) == _words(e.TurnEnded, "rule")
    assert set(wording.ASIDE_REASONS) == _words(e.AsideDue, "why")
    assert set(wording.MURMURS) == _words(e.SpeechDropped, "why")


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
