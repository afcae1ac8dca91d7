"""Tool calls come in pieces, and models get them wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.conversation import Message
from calls.transfer import Destination, Transfer
from workers.ports import Action
from workers.providers.openai_chat import lines_of
from workers.providers.openai_tools import ToolCalls, tools

BOTH = Transfer(destinations={"front": Destination(target="100")}, numbers=("+1555*",))
NAMED = BOTH.model_copy(update={"numbers": ()})
OFFERED = frozenset({"hangup", "transfer", "send_digits"})


def piece(
    index: int | None = 0, name: str | None = None, arguments: str | None = None, **more: Any
) -> dict[str, Any]:
    numbered = {} if index is None else {"index": index}
    return {**numbered, "function": {"name": name, "arguments": arguments}, **more}


def actions(*chunks: list[dict[str, Any]], offered: frozenset[str] = OFFERED) -> list[Action]:
    calls = ToolCalls()
    for chunk in chunks:
        calls.add(chunk)
    return list(calls.actions(offered))


def test_a_transfer_is_offered_only_where_there_is_somebody():
    assert list(tools(("hangup", "transfer"), Transfer())) == ["hangup"]
    assert list(tools(("hangup", "transfer"), NAMED)) == ["hangup", "transfer"]
    assert list(tools(("send_digits",), BOTH)) == ["send_digits"]
    assert tools((), BOTH) == {}


def test_a_destination_is_one_of_the_files_and_a_number_only_where_allowed():
    def parameters(transfer: Transfer) -> Any:
        function: Any = tools(("transfer",), transfer)["transfer"]["function"]
        return function["parameters"]

    named = parameters(NAMED)
    assert named["properties"]["destination"]["enum"] == ["front"]
    assert (list(named["properties"]), named["required"]) == (["destination"], ["destination"])
    both = parameters(BOTH)
    assert list(both["properties"]) == ["destination", "number"]
    assert "required" not in both


def test_arguments_are_put_together_from_their_pieces():
    assert actions(
        [piece(0, "transfer", ""), piece(1, "send_digits", '{"dig')],
        [piece(0, None, '{"destination"')],
        [piece(1, None, 'its": "12"}'), piece(0, None, ': "front", "number": null}')],
    ) == [Action("transfer", {"destination": "front"}), Action("send_digits", {"digits": "12"})]


def test_a_service_that_numbers_no_calls_sends_each_whole():
    calls = [
        piece(None, "send_digits", f'{{"digits": {number}}}', id=f"c{number}") for number in (1, 2)
    ]
    digits = [action.arguments["digits"] for action in actions(calls)]
    assert digits == ["1", "2"]
    anonymous = [piece(None, "send_digits", '{"digits": "3"}') for _ in range(2)]
    assert len(actions(anonymous)) == 2


def test_the_same_thing_is_wanted_once_but_keys():
    assert actions([piece(0, "hangup"), piece(1, "hangup", "{}")]) == [Action("hangup")]
    keys = [piece(n, "send_digits", '{"digits": "1"}') for n in range(2)]
    assert len(actions(keys)) == 2


@pytest.mark.parametrize("arguments", ["{", "[]", '"front"', '{"destination": ["x"]}', "x" * 3000])
def test_bad_arguments_are_a_problem_and_no_exception(arguments):
    [action] = actions([piece(0, "transfer", arguments)])
    assert "no JSON object" in action.problem
    assert action.arguments == {}


def test_a_tool_that_was_not_offered_is_a_problem():
    [action] = actions([piece(0, "transfer", "{}")], offered=frozenset({"hangup"}))
    assert "no tool of ours: 'transfer'" in action.problem


def test_an_answer_asks_for_no_more_than_a_few_things():
    assert len(actions([piece(n, "send_digits", '{"digits": "1"}') for n in range(100)])) == 8


@given(st.text(max_size=60))
def test_any_arguments_can_be_read(arguments):
    [action] = actions([piece(0, "send_digits", arguments)])
    assert action.name == "send_digits"


def test_a_note_stands_before_what_the_caller_said_next():
    said = [
        Message("user", "a human"),
        Message("assistant", "One moment."),
        Message("note", "It failed."),
        Message("note", "They know."),
        Message("user", "so what now"),
        Message("note", "And this."),
    ]
    assert lines_of(said) == [
        ("user", "a human"),
        ("assistant", "One moment."),
        ("user", "(It failed.)\n(They know.)\nso what now"),
        ("user", "(And this.)"),
    ]
    assert lines_of([Message("note", "x"), Message("assistant", "y")]) == [
        ("user", "(x)"),
        ("assistant", "y"),
    ]
