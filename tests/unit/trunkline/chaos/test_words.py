"""Words compared: what is lost, what is doubled, and which turns are to blame."""

from __future__ import annotations

from trunkline.chaos.words import compare

SAID = ["with doctor smith", "yes that is right", "when do you open"]


def test_the_same_turns_differ_in_nothing() -> None:
    assert compare(SAID, SAID) == compare([], [])


def test_a_turn_that_nobody_heard_loses_its_words_and_no_others() -> None:
    difference = compare(SAID, [SAID[0], SAID[2]])
    assert difference.lost == ("yes", "that", "is", "right")
    assert difference.added == ()
    assert difference.turns == (((SAID[1],), ()),)


def test_a_turn_that_was_heard_twice_doubles_its_words() -> None:
    difference = compare(SAID, [SAID[0], SAID[0], *SAID[1:]])
    assert difference.lost == ()
    assert difference.added == ("with", "doctor", "smith")


def test_a_word_misheard_is_lost_and_another_is_added() -> None:
    difference = compare(SAID, [SAID[0], "yes that was right", SAID[2]])
    assert difference.lost == ("is",)
    assert difference.added == ("was",)


def test_a_turn_cut_in_two_is_wrong_though_no_word_is_missing() -> None:
    difference = compare(SAID, [SAID[0], "yes", "that is right", SAID[2]])
    assert (difference.lost, difference.added) == ((), ())
    assert difference.turns == (((SAID[1],), ("yes", "that is right")),)
