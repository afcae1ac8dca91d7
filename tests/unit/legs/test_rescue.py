"""What the pools are asked for again, by a log that was written anew."""

from __future__ import annotations

from bus.jobs import AnswerTurn, HearCall, Job, SpeakSentence
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import ReplyId
from legs.rescue import due
from tests.support.facts import (
    CALL,
    aside,
    ended,
    guessed,
    reply_ended,
    reply_started,
    sentence,
    started,
    synthesis_ended,
    turn,
)

HEAR = HearCall(call=CALL)
GREETING = AnswerTurn(call=CALL, turn=0)
ANSWER = AnswerTurn(call=CALL, turn=1)
POLITE = Agent(name="desk", greeting="Hello.")


def owed(*log: e.Event) -> list[Job]:
    return due(CALL, Conversation.of([started(), *log]))


def speak(reply: str, index: int, text: str) -> SpeakSentence:
    return SpeakSentence(call=CALL, reply=ReplyId(reply), index=index, text=text)


def test_a_call_is_always_to_be_heard() -> None:
    assert owed() == [HEAR]
    assert owed(turn(1), ended()) == [HEAR]


def test_a_greeting_that_was_not_written_is_due_until_the_caller_speaks() -> None:
    polite = started(agent=POLITE)
    assert due(CALL, Conversation.of([polite])) == [HEAR, GREETING]
    assert due(CALL, Conversation.of([polite, reply_started("0.0")])) == [HEAR, GREETING]
    written = [polite, reply_started("0.0"), sentence("0.0", 0, "Hello."), reply_ended("0.0", 1)]
    assert due(CALL, Conversation.of(written)) == [HEAR, speak("0.0", 0, "Hello.")]
    spoken = Conversation.of([*written, synthesis_ended("0.0", 0, 800)])
    assert due(CALL, spoken) == [HEAR]
    assert due(CALL, Conversation.of([polite, turn(1)])) == [HEAR, ANSWER]


def test_a_reply_is_due_until_its_writer_has_ended_it() -> None:
    assert owed(turn(1)) == [HEAR, ANSWER]
    assert owed(turn(1), reply_started("1.0"), sentence("1.0", 0, "Well.")) == [HEAR, ANSWER]


def test_of_a_reply_that_is_written_the_sentences_are_due_that_nobody_has_spoken() -> None:
    log = [turn(1), reply_started("1.0")]
    log += [sentence("1.0", index, text) for index, text in enumerate(("One.", "Two.", "Three."))]
    log += [reply_ended("1.0", 3), synthesis_ended("1.0", 0, 800)]
    assert owed(*log) == [HEAR, speak("1.0", 1, "Two."), speak("1.0", 2, "Three.")]


def test_what_the_caller_spoke_over_is_due_no_more() -> None:
    log = [turn(1), reply_started("1.0"), sentence("1.0", 0, "Well."), reply_ended("1.0", 1)]
    assert owed(*log, turn(2)) == [HEAR, AnswerTurn(call=CALL, turn=2)]


def test_a_reply_is_asked_for_in_the_revision_that_was_guessed_or_ended() -> None:
    second = AnswerTurn(call=CALL, turn=1, revision=2)
    assert owed(guessed(1, 2)) == [HEAR, second]
    assert owed(guessed(1, 2), turn(1, revision=2)) == [HEAR, second]


def test_an_aside_that_nobody_has_spoken_is_due() -> None:
    log = [turn(1), reply_started("1.0"), aside("1.a0", text="One moment.")]
    assert owed(*log) == [HEAR, ANSWER, speak("1.a0", 0, "One moment.")]
