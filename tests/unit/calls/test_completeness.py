"""What the words of an unfinished transcript tell of the end of a turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.completeness import Completeness, completeness

PHONE = "What is your phone number?"
ACCOUNT = "Please tell me your account number."
BIRTH = "What is your date of birth?"
NAME = "May I have your name, please?"
HELP = "How can I help you?"
DAY = "Which day would suit you?"


def judged(said: str, asked: str = "") -> str:
    return completeness(said, asked=asked).name


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "yes"),
        ("", "no thanks"),
        ("", "at seven"),
        ("", "tuesday"),
        ("", "in may"),
        ("", "friday a.m."),
        ("", "yes i do"),
        ("", "what are your opening hours"),
        ("", "please cancel my appointment on monday"),
        (NAME, "john smith"),
        (NAME, "My name is John Smith."),
        (DAY, "on the third"),
        ("Which doctor would you like to see?", "with doctor garcia"),
        ("How many do you need?", "twenty five"),
        ("Is there anything else I can help you with?", "no"),
        ("Shall I book it?", "Yeah."),
        ("", "i think so"),
    ],
)
def test_a_plain_answer_is_complete_at_once(asked: str, said: str) -> None:
    assert judged(said, asked) == "COMPLETE"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "um"),
        ("", "i need uh"),
        ("", "i need a refill and"),
        ("", "i would like to"),
        ("", "I'd like"),
        ("", "my number is"),
        ("", "i want to see doctor"),
        ("", "can you please"),
        ("", "there are currently"),
        ("", "the time will be exactly"),
        ("", "hold on"),
        ("", "if i come on monday"),
        ("", "i have a question"),
        ("", "I wanted to ask about the..."),
        ("", "I'd like to book an appointment,"),
        (PHONE, "sure"),
        (NAME, "yes"),
        (BIRTH, "march third"),
    ],
)
def test_whoever_has_not_said_it_all_is_waited_for(asked: str, said: str) -> None:
    assert judged(said, asked) == "UNFINISHED"


@pytest.mark.parametrize(
    "said",
    [
        "i would like to book an appointment",
        "can i make an appointment",
        "my prescription has run out",
        "hello",
    ],
)
def test_a_clause_that_may_go_on_is_left_to_the_voice(said: str) -> None:
    assert judged(said, HELP) == "UNSURE"


@pytest.mark.parametrize(
    ("asked", "said", "verdict"),
    [
        (PHONE, "two four six", "UNFINISHED"),
        (PHONE, "two four six um one five seven", "UNFINISHED"),
        (PHONE, "555-246", "UNFINISHED"),
        (PHONE, "two four six one five seven nine", "UNSURE"),  # without its area code
        (PHONE, "double five two four six one five seven nine oh", "COMPLETE"),
        (PHONE, "555-246-1579", "COMPLETE"),
        (ACCOUNT, "four two", "UNFINISHED"),
        (ACCOUNT, "four two one eight eight zero", "UNSURE"),
        ("What is your PIN?", "four two", "UNFINISHED"),
        ("What is your PIN?", "forty two eighteen", "COMPLETE"),
        ("", "my card number is 4242", "UNFINISHED"),
        ("", "one two three", "UNFINISHED"),
        (BIRTH, "march third nineteen eighty four", "COMPLETE"),
        ("Which extension?", "one two three four", "COMPLETE"),
    ],
)
def test_a_number_is_complete_when_it_has_its_digits(asked: str, said: str, verdict: str) -> None:
    assert judged(said, asked) == verdict


def test_a_full_stop_proves_nothing_but_its_absence_tells() -> None:
    assert judged("I would like to.") == "UNFINISHED"
    assert judged("Yes, on Tuesday.", DAY) == "COMPLETE"
    assert judged("Yes, on Tuesday", DAY) == "UNSURE"


def test_an_unknown_language_has_its_punctuation_only() -> None:
    assert completeness("मुझे अपॉइंटमेंट चाहिए", language="hi-IN") is Completeness.UNSURE
    assert completeness("und dann ...", language="de-DE") is Completeness.UNFINISHED
    assert completeness("my number is", language="de-DE") is Completeness.UNSURE


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_has_a_verdict(said: str, asked: str) -> None:
    assert completeness(said, asked=asked) in Completeness


@given(st.lists(st.sampled_from(["yes", "um", "two", "the", "tuesday", "is", "i"]), min_size=1))
def test_case_and_a_full_stop_change_nothing(words: list[str]) -> None:
    plain = " ".join(words)
    assert completeness(f"{plain.capitalize()}.") is completeness(plain)
