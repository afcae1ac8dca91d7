"""Which words tell the agent to go on."""

from __future__ import annotations

import pytest

from calls.backchannel import expects_answer, is_backchannel


@pytest.mark.parametrize(
    "said",
    [
        "mhm",
        "Mm-hmm.",
        "uh-huh",
        "yeah yeah",
        "Yeah, right.",
        "okay, I see",
        "hahaha",
        "Ha, ha, ha!",
        "(laughs)",
        "[cough]",
        "hmmmm",
        "ahem",
    ],
)
def test_a_listener_does_not_interrupt(said: str) -> None:
    assert is_backchannel(said)


@pytest.mark.parametrize(
    "said",
    ["", "no", "wait", "yeah but", "yeah yeah yeah yeah yeah", "okay monday", "(laughs) stop"],
)
def test_words_of_their_own_do(said: str) -> None:
    assert not is_backchannel(said)


def test_an_agent_adds_its_own() -> None:
    assert not is_backchannel("roger that")
    assert is_backchannel("Roger that, okay.", extra=("roger that",))


@pytest.mark.parametrize(
    "sentence",
    [
        "Shall I book it for you?",
        "Please tell me your name.",
        "You are not insured. Is that right",
        "And which day would suit you",
    ],
)
def test_a_question_expects_an_answer(sentence: str) -> None:
    assert expects_answer(sentence)


@pytest.mark.parametrize("sentence", ["", "You are booked for Monday.", "Great!", "We open at 9."])
def test_a_statement_expects_none(sentence: str) -> None:
    assert not expects_answer(sentence)
