"""What an agent may have done, and what a model is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from calls import events as e
from calls.actions import ActionError, accept
from calls.agent import Agent
from calls.conversation import Conversation, Message
from calls.ids import ReplyId
from calls.transfer import Destination, Transfer, parse_target
from tests.support.facts import (
    aside,
    playing,
    reply_ended,
    reply_started,
    sentence,
    started,
    stopped,
    synthesis_ended,
    turn,
)

DESK = Agent.model_validate(
    {
        "name": "desk",
        "transfer": {
            "destinations": {
                "front": {"target": "+1 (555) 0111", "mode": "attended"},
                "night": {"target": "sip:night@pbx.example.com;transport=tcp"},
            },
            "numbers": ["+1555*", "0800??????"],
        },
    }
)


@pytest.mark.parametrize(
    ("name", "asked", "granted"),
    [
        ("hangup", {"reason": "done"}, {}),
        (
            "transfer",
            {"destination": "front"},
            {"target": "+15550111", "mode": "attended", "destination": "front"},
        ),
        ("transfer", {"number": "+1 555-0199"}, {"target": "+15550199", "mode": "blind"}),
        ("send_digits", {"digits": "1 2 3#"}, {"digits": "123#"}),
        ("send_digits", {"digits": "w1,a*"}, {"digits": "w1,A*"}),
    ],
)
def test_what_the_file_allows_is_granted(name, asked, granted) -> None:
    assert accept(DESK, name, asked) == (name, granted)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("dance", {}),
        ("", {}),
        ("transfer", {}),
        ("transfer", {"destination": "boss"}),
        ("transfer", {"number": "+44900123456"}),
        ("transfer", {"number": "+1555" + "0" * 40}),
        ("transfer", {"number": "sip:+15550100@evil.example.com"}),
        ("transfer", {"number": "+1555*"}),
        ("transfer", {"target": "+15550100"}),
        ("send_digits", {}),
        ("send_digits", {"digits": ",w"}),
        ("send_digits", {"digits": "12x"}),
        ("send_digits", {"digits": "1" * 65}),
        ("send_digits", {"digits": "\u0661"}),
    ],
)
def test_whatever_else_a_model_wants_is_refused(name, asked) -> None:
    with pytest.raises(ActionError):
        accept(DESK, name, asked)


def test_without_a_section_nobody_is_transferred_to() -> None:
    for asked in ({"destination": "front"}, {"number": "+15550100"}):
        with pytest.raises(ActionError):
            accept(Agent(name="desk"), "transfer", asked)
    assert Agent(name="desk").transfer.phrases == ()


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=200), max_size=3), st.text(max_size=9))
def test_any_wish_is_granted_or_an_error(asked, name) -> None:
    for wish in (name, "transfer", "send_digits", "hangup"):
        try:
            accept(DESK, wish, asked)
        except ActionError:
            continue


@pytest.mark.parametrize(
    "target", ["", "+", "bob", "sip:", "sip:a b@c", "sip:a@b?Replaces=x", "sip:a@b\r\nX: y",
               "http://x", "sip:" + "a" * 125, "+1555,0100", "<sip:a@b>"],
)  # fmt: skip
def test_what_is_no_target_is_refused(target) -> None:
    with pytest.raises(ValueError, match="write a number"):
        parse_target(target)


@pytest.mark.parametrize(
    "target", ["100", "*98", "+15550100", "sip:a@b", "sips:a@[2001:db8::1]:5061", "tel:+15550100"]
)
def test_a_number_and_a_uri_are_targets(target) -> None:
    assert parse_target(target) == target


@pytest.mark.parametrize(
    "section",
    [
        {"destinations": {"Front Desk": {"target": "1"}}},
        {"destinations": {"front": {"target": "nowhere at all"}}},
        {"destinations": {"front": {"target": "1", "mode": "warm"}}},
        {"failed": " "},
    ],
)
def test_a_wrong_section_is_refused(section) -> None:
    with pytest.raises(ValidationError):
        Transfer.model_validate(section)


def test_the_phrases_of_transfers_are_worth_having_in_the_cache() -> None:
    agent = Agent(
        name="desk",
        transfer=Transfer(
            destinations={
                "a": Destination(target="1", announce="One moment."),
                "b": Destination(target="2"),
            },
            failed="Gone.",
        ),
    )
    assert agent.phrases[-2:] == ("One moment.", "Gone.")


# -- what the model is told


def wanted(action: e.ActionName, index: int = 0, **arguments: str) -> e.ActionRequested:
    return e.ActionRequested(
        at=2100.0, reply=ReplyId("1.0"), action=action, arguments=arguments, index=index
    )


def done(
    action: e.ActionName, outcome: str = "done", index: int = 0, detail: str = ""
) -> e.ActionDone:
    return e.ActionDone(
        at=3000.0, reply=ReplyId("1.0"), action=action, index=index,
        outcome=outcome, detail=detail,  # type: ignore[arg-type]
    )  # fmt: skip


def step(status: int, text: str = "") -> e.TransferProgressed:
    return e.TransferProgressed(
        at=2900.0, reply=ReplyId("1.0"), target="+15550111", status=status, text=text
    )


SAID = [started(), turn(1), reply_started("1.0"), sentence("1.0", 0, "One moment.")]
TRANSFER = wanted("transfer", target="+15550111", destination="front")


def notes(*facts: e.Event) -> list[str]:
    call = Conversation.of([*SAID, *facts, reply_ended("1.0", 1)])
    return [line.text for line in call.messages() if line.role == "note"]


def test_what_is_not_done_yet_is_not_told() -> None:
    assert notes(TRANSFER, wanted("hangup")) == []


def test_a_transfer_under_way_is_known_and_over_once_it_is_done() -> None:
    assert notes(TRANSFER, step(100)) == ["The transfer to front is under way."]
    call = Conversation.of([*SAID, TRANSFER, step(100), step(180)])
    assert call.transferring
    call.apply(done("transfer", "failed"))
    assert not call.transferring
    assert call.failed_transfers == 1


def test_a_failed_transfer_is_told_with_its_reason_and_what_the_caller_heard() -> None:
    failed = [TRANSFER, step(100), step(486), done("transfer", "failed", detail="486 Busy Here")]
    assert notes(*failed) == [
        "The transfer to front failed: 486 Busy Here. The caller is back. Tell them."
    ]
    assert notes(*failed, aside("1.a0", "transfer_failed", "Gone."))[0].endswith(
        'The caller is back. They were told: "Gone."'
    )


def test_keys_are_told_apart_by_their_place() -> None:
    first, second = (wanted("send_digits", digits="1"), wanted("send_digits", 1, digits="2"))
    assert first.key != second.key
    outcomes = (done("send_digits"), done("send_digits", "failed", 1, "no way"))
    assert notes(first, second, *outcomes) == [
        "You sent the keys 1.",
        "The keys 2 were not sent: no way.",
    ]


def test_notes_stand_where_it_happened_and_the_reply_that_is_written_has_none() -> None:
    call = Conversation.of(
        [
            *SAID,
            TRANSFER,
            reply_ended("1.0", 1),
            synthesis_ended("1.0", 0, 800),
            playing("1.0", 0),
            stopped("1.0", 0, 800),
            step(100),
            done("transfer", "failed"),
            turn(2),
        ]
    )
    roles = [line.role for line in call.messages(before=2)]
    assert roles == ["user", "assistant", "note", "user"]
    assert Message("note", "x") not in call.messages(before=1)


def test_an_agent_that_calls_knows_whom_and_what_it_was_told() -> None:
    placed = replace(
        started(agent=Agent(name="desk", greeting="Hello {name}, about {day} and {else}.")),
        direction="outbound",
        called="+15550100",
        variables={"name": "Ann", "day": "Tuesday"},
    )
    assert placed.greeting == "Hello Ann, about Tuesday and {else}."
    [note] = Conversation.of([placed]).messages()
    assert note.role == "note"
    assert "You placed this call, to +15550100" in note.text
    assert "name: Ann; day: Tuesday" in note.text
    assert Conversation.of([started()]).messages() == []
