"""What is said beside the answers, and when."""

from __future__ import annotations

import pytest

from calls import events as e
from calls.agent import Agent, Silence, Waiting
from calls.conversation import Conversation
from calls.ids import ReplyId
from calls.patience import aside_due
from tests.support.facts import (
    aside,
    ended,
    playing,
    reply_ended,
    reply_started,
    sentence,
    speech,
    started,
    stopped,
    synthesis_ended,
    synthesis_started,
    turn,
)

AGENT = Agent(
    name="desk",
    waiting=Waiting(filler_after_ms=1000, fillers=("Hm.", "Wait."), trouble_after_ms=5000),
    silence=Silence(reprompt_after_ms=8000, reprompts=("Hello?", "Anyone?"), goodbye="Bye."),
)
ANSWERED = e.CallAnswered(at=1000.0)
ASKED = [started(agent=AGENT), ANSWERED, turn(1, at=2000.0)]
HEARD = [
    *ASKED,
    reply_started("1.0"),
    sentence("1.0", 0, "Yes."),
    synthesis_started("1.0", 0),
    synthesis_ended("1.0", 0, 800),
    reply_ended("1.0", 1),
    playing("1.0", 0),
    stopped("1.0", 0, 800),
]


def due(facts: list[e.Event], now_ms: float, *, deaf: bool = False) -> tuple[str, str, str] | None:
    found = aside_due(Conversation.of(facts), now_ms, deaf=deaf)
    return None if found is None else (found.reply, found.why, found.text)


def first_due(facts: list[e.Event], until_ms: int = 60_000) -> tuple[int, str] | None:
    """When something is first due, in steps of 100 ms, and why."""
    for now in range(1000, until_ms, 100):
        if (found := due(facts, now)) is not None:
            return now, found[1]
    return None


def test_a_filler_comes_when_the_answer_is_late() -> None:
    assert first_due(list(ASKED)) == (3000, "filler")
    assert due(list(ASKED), 3000) == ("1.a0", "filler", "Wait.")


def test_no_filler_comes_once_the_answer_is_on_its_way() -> None:
    on_its_way = [*ASKED, reply_started("1.0"), synthesis_started("1.0", 0, at=2900)]
    assert first_due(on_its_way) == (7000, "trouble")


def test_one_filler_a_turn_then_trouble_again_and_again() -> None:
    facts = [*ASKED, aside("1.a0", at=3000), playing("1.a0", 0, at=3010)]
    assert first_due(facts) is None  # it is being heard
    facts.append(e.PlaybackStopped(
        at=4000, reply=ReplyId("1.a0"), index=0, offset=800, position=0, why="finished"
    ))  # fmt: skip
    assert first_due(facts) == (9000, "trouble")
    facts.append(aside("1.a1", "trouble", at=9000))
    assert due(facts, 14_000) == ("1.a2", "trouble", AGENT.waiting.trouble)


def test_the_agent_asks_again_and_then_hangs_up() -> None:
    facts = list(HEARD)
    seen = []
    for number in range(3):
        first = first_due(facts)
        assert first is not None
        seen.append(first)
        facts.append(aside(f"1.a{number}", first[1], at=first[0]))  # type: ignore[arg-type]
    assert seen == [(10_500, "reprompt"), (18_500, "reprompt"), (26_500, "goodbye")]
    assert first_due(facts) is None


def test_who_speaks_or_presses_keys_is_not_silent() -> None:
    assert first_due([*HEARD, speech(2, at=3000)]) is None
    key = e.DigitPressed(at=9000, digit="1", duration_ms=100, position=0)
    assert first_due([*HEARD, key]) == (17_000, "reprompt")


def test_a_silent_caller_without_a_greeting_is_asked_too() -> None:
    assert first_due([started(agent=AGENT), ANSWERED]) == (9000, "reprompt")


def test_an_answer_that_could_not_be_spoken_is_apologised_for_once() -> None:
    facts = [
        *ASKED,
        reply_started("1.0"),
        sentence("1.0", 0, "Yes."),
        synthesis_ended("1.0", 0, 0, why="failed"),
        reply_ended("1.0", 1),
    ]
    assert due(facts, 2400) == ("1.a0", "apology", AGENT.apology)
    facts.append(aside("1.a0", "apology", at=2400))
    assert first_due(facts) == (10_400, "reprompt")


def test_a_caller_whom_nobody_hears_is_told_at_once_even_while_speaking() -> None:
    facts = [*HEARD, speech(2, at=3000)]
    assert due(facts, 3100, deaf=True) == ("1.a0", "trouble", AGENT.waiting.trouble)
    facts.append(aside("1.a0", "trouble", at=3100))
    assert due(facts, 8000, deaf=True) is None
    assert due(facts, 8100, deaf=True) is not None


@pytest.mark.parametrize("facts", [[], [started(agent=AGENT)], [*HEARD, ended()]])
def test_nothing_is_said_where_nobody_listens(facts: list[e.Event]) -> None:
    assert due(facts, 1e9, deaf=True) is None
