"""Keys become inputs: by the terminator, by time, by length."""

from __future__ import annotations

from calls.agent import Keypad
from calls.events import DigitPressed
from calls.keypad import Keyed, KeypadInput

SECOND = 8000
HOW = Keypad(timeout_ms=1000, max_digits=4)


def key(digit: str, position: int) -> DigitPressed:
    return DigitPressed(at=position / 8, digit=digit, duration_ms=100, position=position)


def pressed(digits: str, how: Keypad = HOW) -> KeypadInput:
    keys = KeypadInput(how)
    for number, digit in enumerate(digits):
        keys.press(key(digit, number * 800))
    return keys


def test_the_terminator_ends_the_input_and_is_no_part_of_it() -> None:
    assert pressed("12#").take(1600) == Keyed("12", 0, 1600, 200.0)


def test_a_terminator_alone_is_an_input() -> None:
    taken = pressed("#").take(0)
    assert taken is not None
    assert taken.digits == "#"


def test_keys_after_the_terminator_are_the_next_input() -> None:
    keys = pressed("1#2#")
    assert [taken.digits for _ in range(2) if (taken := keys.take(2400))] == ["1", "2"]
    assert keys.take(10 * SECOND) is None


def test_time_ends_the_input() -> None:
    keys = pressed("12")
    assert keys.take(800 + SECOND - 1) is None
    assert keys.take(800 + SECOND) == Keyed("12", 0, 800, 100.0)
    assert keys.take(100 * SECOND) is None


def test_a_full_input_is_taken_at_once() -> None:
    taken = pressed("1234", Keypad(terminator="", max_digits=4)).take(2400)
    assert taken is not None
    assert taken.digits == "1234"


def test_a_key_told_twice_is_one_key() -> None:
    keys = pressed("1")
    keys.press(key("1", 0))
    taken = keys.take(2 * SECOND)
    assert taken is not None
    assert taken.digits == "1"


def test_after_a_take_over_keys_that_were_turns_already_are_left_out() -> None:
    keys = KeypadInput(HOW)
    keys.take_up([key("1", 800), key("2", 1600)], after=800)
    taken = keys.take(10 * SECOND)
    assert taken is not None
    assert taken.digits == "2"


def test_an_agent_without_a_keypad_collects_nothing() -> None:
    assert pressed("1#", Keypad(enabled=False)).take(SECOND) is None
