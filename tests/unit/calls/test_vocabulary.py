"""Agents, names and endings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from calls.agent import Agent, Agents
from calls.ending import FAULTS, Ending
from calls.ids import (
    ReplyId,
    new_call_id,
    parse_call_id,
    parse_reply_id,
    reply_id,
    turn_of,
)

SALES = Agent(name="sales", numbers=("+1555*", "sales"))
DESK = Agent(name="desk")


def test_the_first_agent_that_answers_a_number_gets_the_call() -> None:
    agents = Agents(agents=(SALES, DESK))
    assert agents.for_number("+15551234") is SALES
    assert agents.for_number("sales") is SALES
    assert agents.for_number("anything") is DESK
    assert Agents(agents=(SALES,)).for_number("anything") is None


def test_numbers_are_told_apart_by_case() -> None:
    assert not SALES.answers("SALES")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Sales"},
        {"name": ""},
        {"name": "a", "numbers": ()},
        {"name": "a", "numbers": ("",)},
        {"name": "a", "language": "english"},
        {"name": "a", "endpointing": {"silence_ms": 5}},
        {"name": "a", "unknown": 1},
    ],
)
def test_a_wrong_agent_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Agent.model_validate(fields)


def test_two_agents_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two agents are named 'desk'"):
        Agents(agents=(DESK, DESK))


def test_an_agent_survives_its_wire_form() -> None:
    assert Agent.model_validate_json(SALES.model_dump_json()) == SALES


def test_call_ids_sort_by_their_start() -> None:
    first, second = new_call_id(1_700_000_000_000, "ffffffff"), new_call_id(1_700_000_001_000, "00")
    assert first < second
    assert first == "20231114t221320-ffffffff"


@pytest.mark.parametrize(
    "text", ["", "short", "../../etc/passwd", "A" * 20, "a" * 65, "abc\n12345"]
)
def test_what_is_no_call_id_becomes_no_key_and_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="not a call id"):
        parse_call_id(text)


def test_our_own_call_ids_are_accepted() -> None:
    call = new_call_id(1_700_000_000_000, "0123456789")
    assert parse_call_id(call) == call


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_a_reply_is_named_by_its_turn_and_revision(turn: int, revision: int) -> None:
    name = reply_id(turn, revision)
    assert parse_reply_id(name) == name
    assert turn_of(name) == turn


@given(st.text(max_size=12))
def test_what_is_no_reply_id_is_refused(text: str) -> None:
    try:
        parse_reply_id(text)
    except ValueError:
        return
    turn, _, revision = text.partition(".")
    assert reply_id(int(turn), int(revision)) == text


def test_a_reply_of_nothing_has_no_turn() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        turn_of(ReplyId("x.0"))


def test_a_call_that_somebody_meant_to_end_is_no_fault() -> None:
    meant = {
        Ending.CALLER_HUNG_UP,
        Ending.AGENT_HUNG_UP,
        Ending.CANCELLED,
        Ending.SHUTDOWN,
        Ending.TOO_LONG,
        Ending.TRANSFERRED,
        Ending.BUSY,
        Ending.NO_ANSWER,
        Ending.REJECTED,
    }
    assert not FAULTS & {*meant, Ending.REFUSED}
    assert FAULTS | meant | {Ending.REFUSED} == set(Ending)
