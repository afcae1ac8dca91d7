from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.conversation import Message
from workers.providers.dialogue import Answer, Dialogue, exchanges
from workers.providers.receptionist import Receptionist

OPTIONS = Receptionist.model_validate(
    {
        "slots": {
            "day": {"type": "day", "ask": "Which day?"},
            "part": {"type": "part_of_day", "ask": "Morning or afternoon?"},
            "hour": {"type": "clock", "ask": "At what time?"},
        },
        "intents": {
            "book": {
                "phrases": ["i would like to book an appointment", "book me in for {day}"],
                "slots": ["day", "part"],
                "confirm": "{day}, {part}?",
                "say": "Booked {day}, {part}.",
            },
            "cancel": {
                "phrases": ["cancel my appointment on {day}"],
                "slots": ["day"],
                "say": "Cancelled {day}.",
            },
            "call": {"phrases": ["call me back"], "slots": ["hour"], "say": "At {hour}."},
            "hours": {"phrases": ["what are your opening hours"], "say": "Eight to six."},
            "law": {"phrases": ["read me the law"], "say": "This is it.", "interruptible": False},
            "human": {"phrases": ["talk to a human"], "say": "We call you.", "then": "hangup"},
        },
        "give_up": "human",
        "patience": 3,
    }
)
SORRY = OPTIONS.reprompt


def talk(*lines: str, confidence: float | None = None) -> Answer:
    """The last answer in a conversation in which every answer was heard."""
    dialogue, conversation = Dialogue(OPTIONS), [Message("assistant", "Hello.")]
    for line in lines[:-1]:
        conversation.append(Message("user", line))
        conversation.append(Message("assistant", dialogue.answer(conversation).text))
    return dialogue.answer([*conversation, Message("user", lines[-1])], confidence)


BOOK = "i would like to book an appointment"


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([BOOK], "Which day?"),
        (["Hello, I'd like to book an appointment, please!"], "Which day?"),
        (["book me in for tuesday"], "Morning or afternoon?"),
        ([BOOK, "on tuesday morning"], "Tuesday, morning?"),
        ([BOOK, "in the morning"], "Which day?"),
        ([BOOK, "in the morning", "tuesday"], "Tuesday, morning?"),
        ([BOOK, "tuesday no wednesday morning"], "Wednesday, morning?"),
        ([BOOK, "tuesday morning", "yes please"], "Booked Tuesday, morning."),
        ([BOOK, "tuesday morning", "no"], f"{OPTIONS.again} Which day?"),
        ([BOOK, "tuesday morning", "no", "friday"], "Morning or afternoon?"),
        ([BOOK, "tuesday morning", "no wednesday"], "Wednesday, morning?"),
        ([BOOK, "tuesday morning", "yes but on wednesday"], "Wednesday, morning?"),
        ([BOOK, "tuesday morning", "yes tuesday"], "Booked Tuesday, morning."),
        ([BOOK, "tuesday morning", "no not tuesday"], f"{OPTIONS.again} Which day?"),
        ([BOOK, "tuesday morning", "no let me talk to a human"], "We call you."),
        ([BOOK, "tuesday morning", "no wednesday", "yes"], "Booked Wednesday, morning."),
        ([BOOK, "tuesday morning", "banana"], f"{SORRY} Tuesday, morning?"),
        ([BOOK, "tuesday morning", "yes", "yes"], SORRY),
        ([BOOK, BOOK], "Which day?"),
        ([BOOK, "yes"], f"{SORRY} Which day?"),
        ([BOOK, "what are your opening hours"], "Eight to six. Which day?"),
        ([BOOK, "what are your opening hours", "friday evening"], "Friday, evening?"),
        ([BOOK, "cancel my appointment on monday"], "Cancelled Monday."),
        ([BOOK, "cancel my appointment on monday", "tuesday"], SORRY),
        (["call me back at half past nine"], "At half past nine."),
        (["call me back at nine thirty"], "At half past nine."),
        (["call me back at nine"], "At nine o'clock."),
        (["what are your opening hours"], "Eight to six."),
        (["tuesday"], SORRY),
        (["my grandmother lives in france"], SORRY),
    ],
)
def test_what_is_answered(lines, answer):
    assert talk(*lines).text == answer


def test_hang_up_is_an_action_of_its_answer():
    assert talk("can i talk to a human") == Answer("We call you.", "hangup")


def test_what_may_not_be_interrupted_ends_where_a_question_begins():
    assert talk("read me the law") == Answer("This is it.", None, protected=11)
    assert talk(BOOK, "read me the law") == Answer("This is it. Which day?", None, protected=11)
    assert talk("what are your opening hours").protected == 0


def test_a_transcript_of_low_confidence_is_not_acted_on():
    assert talk(BOOK, confidence=0.1).text == SORRY
    assert talk(BOOK, confidence=0.9).text == "Which day?"
    assert talk(BOOK, "tuesday morning", "yes", confidence=0.1).text == f"{SORRY} Tuesday, morning?"


def test_what_drew_a_reprompt_changes_nothing_later():
    heard_badly = [
        Message("user", BOOK),
        Message("assistant", "Which day?"),
        Message("user", "tuesday morning"),
        Message("assistant", f"{SORRY} Which day?"),
        Message("user", "friday"),
    ]
    assert Dialogue(OPTIONS).answer(heard_badly).text == "Morning or afternoon?"
    heard_badly[3] = Message("assistant", "Sorry, could you")  # the caller spoke over it
    assert Dialogue(OPTIONS).answer(heard_badly).text == "Morning or afternoon?"


def test_a_read_back_that_nobody_heard_is_not_confirmed_by_a_yes():
    unheard = [
        Message("user", BOOK),
        Message("assistant", "Which day?"),
        Message("user", "tuesday morning"),
        Message("user", "yes"),
    ]
    assert Dialogue(OPTIONS).answer(unheard).text == "Tuesday, morning?"


def test_it_gives_up_after_three_misses_in_a_row():
    assert talk("banana", "banana", "banana") == Answer("We call you.", "hangup")
    assert talk("banana", "banana", "what are your opening hours", "banana").text == SORRY


def test_lines_without_an_answer_between_them_are_one():
    lines = [("assistant", "Hi."), ("user", "i want"), ("user", "to book"), ("assistant", "When?")]
    assert [*exchanges([Message(*line) for line in lines])] == [
        ("i want to book", "When?"),
        ("", None),
    ]


lines = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant"]),
        st.sampled_from(
            [BOOK, "yes", "no", "tuesday", "morning", "banana", SORRY, "Which day?", ""]
        ),
    ),
    max_size=12,
)


@given(lines, st.sampled_from([None, 0.1, 1.0]))
def test_every_conversation_has_one_answer(conversation, confidence):
    first = Dialogue(OPTIONS).answer(conversation, confidence)
    assert first.text
    assert Dialogue(OPTIONS).answer(conversation, confidence) == first
