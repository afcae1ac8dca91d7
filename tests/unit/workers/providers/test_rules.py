from __future__ import annotations

import pytest

from calls.conversation import Message
from workers.ports import Action, Token
from workers.providers.receptionist import Receptionist
from workers.providers.rules import RulesResponder

LAW = {
    "phrases": ["read me the law"],
    "say": "This call is recorded. By law!",
    "then": "hangup",
    "interruptible": False,
}
OPTIONS = Receptionist.model_validate(
    {
        "slots": {"day": {"type": "day", "ask": "Which day?"}},
        "intents": {
            "book": {"phrases": ["book me in"], "slots": ["day"], "say": "Booked."},
            "law": LAW,
            "rules": {**LAW, "phrases": ["read me the rules"], "then": None},
        },
    }
)


async def reply(*lines: str, said: tuple[str, ...] = ()) -> list[Token | Action]:
    conversation = [
        Message("user" if index % 2 == 0 else "assistant", line) for index, line in enumerate(lines)
    ]
    stream = RulesResponder(OPTIONS).reply(conversation, confidence=1.0, said=said)
    return [piece async for piece in stream]


def words(pieces: list[Token | Action]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Token))


async def test_what_may_not_be_interrupted_is_marked_and_a_question_after_it_is_not():
    pieces = await reply("book me in", "Which day?", "read me the rules")
    marked = [piece for piece in pieces if isinstance(piece, Token) and not piece.interruptible]
    assert words(marked) == "This call is recorded. By law! "
    assert words(pieces) == "This call is recorded. By law! Which day?"


@pytest.mark.parametrize(
    ("said", "rest"),
    [
        ((), "This call is recorded. By law!"),
        (("This call is recorded.",), "By law!"),
        (("This call", "is recorded."), "By law!"),
        (("This call is recorded.", "By law!"), ""),
        (("Sure, let me see.",), "This call is recorded. By law!"),
    ],
)
async def test_what_stands_is_passed_over_if_it_is_how_this_answer_begins(said, rest):
    pieces = await reply("read me the law", said=said)
    assert words(pieces) == rest
    assert pieces[-1] == Action("hangup")
