from __future__ import annotations

import pytest

from calls.agent import Agent
from calls.conversation import Message
from calls.transfer import Destination, Transfer
from workers.ports import Action, Ask, ProviderError, Token
from workers.providers.receptionist import Receptionist
from workers.providers.rules import RulesResponder, responder

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
            "human": {
                "phrases": ["a human please"],
                "say": "One moment.",
                "then": "transfer",
                "to": "front",
            },
            "menu": {
                "phrases": ["press the key"],
                "say": "Here.",
                "then": "send_digits",
                "digits": "1 w 2",
            },
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


async def test_a_rule_transfers_and_presses_keys():
    assert (await reply("a human please"))[-1] == Action("transfer", {"destination": "front"})
    assert (await reply("press the key"))[-1] == Action("send_digits", {"digits": "1w2"})


async def test_a_note_is_not_taken_for_the_callers_words():
    conversation = [
        Message("note", "read me the law"),
        Message("user", "book me in"),
        Message("assistant", "Which day?"),
        Message("note", "The transfer to front failed."),
        Message("user", "tuesday"),
    ]
    stream = RulesResponder(OPTIONS).reply(conversation, confidence=1.0)
    assert words([piece async for piece in stream]) == "Booked."


def test_a_rule_that_transfers_to_nobody_known_is_refused():
    options = OPTIONS.model_dump(mode="json")
    front = Transfer(destinations={"front": Destination(target="100")})
    responder(Ask(Agent(name="desk", transfer=front), options, lambda _: None))
    with pytest.raises(ProviderError, match=r"intents\.human\.to: .*no 'front'"):
        responder(Ask(Agent(name="desk"), options, lambda _: None))
