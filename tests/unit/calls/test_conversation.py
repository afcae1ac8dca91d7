"""The conversation: golden sequences of a call's facts, and what holds for any sequence."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation, Message
from calls.ids import ReplyId
from calls.turns import Run
from tests.support.facts import (
    KINDS,
    aside,
    ended,
    events,
    guessed,
    playing,
    reply_ended,
    reply_started,
    sentence,
    speech,
    started,
    stopped,
    synthesis_ended,
    turn,
    withdrawn,
)

MONOLOGUE = Agent(name="monologue", barge_in=False)


def spoken(reply: str, *texts: str, samples: int = 8000) -> list[e.Event]:
    """A reply, written and synthesized, of which nothing was played."""
    facts: list[e.Event] = [reply_started(reply)]
    for index, text in enumerate(texts):
        facts += [sentence(reply, index, text), synthesis_ended(reply, index, samples)]
    return [*facts, reply_ended(reply, len(texts))]


def played(reply: str, index: int, samples: int = 8000) -> list[e.Event]:
    return [playing(reply, index), stopped(reply, index, samples)]


def test_a_plain_turn_is_asked_and_answered() -> None:
    call = Conversation.of(
        [started(), turn(1, "how late is it"), *spoken("1.0", "It is noon."), *played("1.0", 0)]
    )
    assert call.messages() == [
        Message("user", "how late is it"),
        Message("assistant", "It is noon."),
    ]
    reply = call.turns[1].reply
    assert reply is not None
    assert reply.played_out
    assert not reply.cut


def test_a_reply_counts_as_far_as_it_was_heard_when_the_caller_speaks_over_it() -> None:
    call = Conversation.of(
        [
            started(),
            turn(1, "tell me"),
            *spoken("1.0", "The first sentence.", "One two three four."),
            *played("1.0", 0),
            playing("1.0", 1, position=8000),
            speech(2, position=12_000),
            # A little over the half of the second sentence: "One two th", so two words of it.
            stopped("1.0", 1, offset=4320, position=12_320, why="paused"),
            turn(2, "stop"),
        ]
    )
    assert call.messages() == [
        Message("user", "tell me"),
        Message("assistant", "The first sentence. One two"),
        Message("user", "stop"),
    ]
    assert call.turns[1].replies[ReplyId("1.0")].cut
    assert not call.is_current(ReplyId("1.0"))
    assert call.is_current(ReplyId("2.0"))


def test_a_false_interruption_leaves_the_reply_whole() -> None:
    call = Conversation.of(
        [
            started(),
            turn(1),
            *spoken("1.0", "One two three four."),
            playing("1.0", 0),
            speech(2, position=4000),
            stopped("1.0", 0, offset=4000, position=4000, why="paused"),
            e.SpeechDropped(at=2600, turn=2, position=4000, why="no_words"),
            playing("1.0", 0, offset=4000, position=9000),
            stopped("1.0", 0, offset=8000, position=13_000),
        ]
    )
    reply = call.turns[1].replies[ReplyId("1.0")]
    assert reply.sentences[0].runs == [Run(0, 4000, 0), Run(4000, 8000, 9000)]
    assert reply.heard_text == "One two three four."
    assert not reply.cut
    assert call.speech is None


def test_the_greeting_is_a_reply_to_nobody() -> None:
    call = Conversation.of([started(), *spoken("0.0", "Good morning."), *played("0.0", 0)])
    assert call.messages() == [Message("assistant", "Good morning.")]
    assert call.current_turn == 0


def test_an_unheard_reply_is_absent() -> None:
    call = Conversation.of(
        [started(), turn(1, "one"), *spoken("1.0", "Never heard."), turn(2, "two")]
    )
    assert call.messages() == [Message("user", "one"), Message("user", "two")]


def test_a_reply_begun_after_its_turn_was_overtaken_is_cut_from_the_start() -> None:
    call = Conversation.of([started(), turn(1), turn(2), *spoken("1.0", "Too late.")])
    assert call.turns[1].replies[ReplyId("1.0")].cut
    assert [line.role for line in call.messages()] == ["user", "user"]


def test_the_reply_counts_that_answers_the_words_the_turn_ended_with() -> None:
    call = Conversation.of(
        [
            started(),
            guessed(1, 0, "a table"),
            *spoken("1.0", "For how many?"),
            withdrawn(1, 0),
            guessed(1, 1, "a table for two"),
            *spoken("1.1", "A table for two."),
        ]
    )
    assert call.turns[1].reply is None
    call.apply(turn(1, "a table for two", revision=1))
    reply = call.turns[1].reply
    assert reply is not None
    assert reply.id == "1.1"
    assert call.messages() == [
        Message("user", "a table for two"),
        Message("assistant", "A table for two."),
    ]


def test_a_reply_to_a_guess_is_wanted_until_the_guess_is_withdrawn_and_heard_if_it_was_right() -> (
    None
):
    call = Conversation.of([started(), guessed(1, 0)])
    first, second = ReplyId("1.0"), ReplyId("1.1")
    assert call.is_current(first)
    assert not call.is_confirmed(first)
    call.apply(withdrawn(1, 0))
    assert not call.is_current(first)
    call.apply(guessed(1, 1))
    assert call.is_current(second)
    call.apply(turn(1, revision=1))
    assert call.is_confirmed(second)
    assert not call.is_current(first)
    assert not call.is_confirmed(first)


def test_a_guess_is_answered_from_what_was_heard_of_the_reply_it_speaks_over() -> None:
    call = Conversation.of(
        [
            started(),
            turn(1, "tell me"),
            *spoken("1.0", "One two three four."),
            playing("1.0", 0),
            speech(2, position=4000),
            stopped("1.0", 0, offset=4320, why="paused"),
            guessed(2, 0, "stop"),
        ]
    )
    assert call.messages(before=2, words="stop") == [
        Message("user", "tell me"),
        Message("assistant", "One two"),
        Message("user", "stop"),
    ]


def test_a_protected_sentence_is_wanted_once_it_has_begun() -> None:
    call = Conversation.of(
        [
            started(),
            turn(1),
            e.SentenceReady(
                at=1, reply=ReplyId("1.0"), index=0, text="Calls are recorded.", first_token_at=1,
                protected=True,
            ),
            turn(2),
        ]
    )  # fmt: skip
    assert not call.is_wanted(ReplyId("1.0"), 0)
    call.apply(playing("1.0", 0))
    assert call.is_wanted(ReplyId("1.0"), 0)
    call.apply(stopped("1.0", 0, 8000))
    assert not call.is_wanted(ReplyId("1.0"), 0)


def test_a_protected_sentence_that_plays_will_have_been_heard() -> None:
    """The words said over it are answered before it is over."""
    call = Conversation.of(
        [
            started(),
            turn(1, "how much"),
            e.SentenceReady(
                at=1, reply=ReplyId("1.0"), index=0, text="Calls are recorded.", first_token_at=1,
                protected=True,
            ),
            playing("1.0", 0),
            speech(2),
            turn(2, "why"),
        ]
    )  # fmt: skip
    assert call.messages(2) == [
        Message("user", "how much"),
        Message("assistant", "Calls are recorded."),
        Message("user", "why"),
    ]


def test_what_was_dropped_as_no_turn_leaves_no_words() -> None:
    call = Conversation.of(
        [
            started(),
            speech(1),
            e.TranscriptPartial(at=1, turn=1, position=0, text="hm"),
            e.SpeechDropped(at=2, turn=1, position=0, why="backchannel", text="hm"),
        ]
    )
    assert call.turns[1].text == ""


def test_an_aside_is_no_reply_and_no_line_of_the_conversation() -> None:
    call = Conversation.of(
        [started(), turn(1, "hello"), aside("1.a0"), playing("1.a0", 0), stopped("1.a0", 0, 8000)]
    )
    assert call.turns[1].reply is None
    assert call.turns[1].asides[ReplyId("1.a0")].sentence.finished
    assert call.messages() == [Message("user", "hello")]
    assert call.is_current(ReplyId("1.a0"))
    call.apply(turn(2))
    assert not call.is_current(ReplyId("1.a0"))


def test_an_agent_that_does_not_yield_is_never_cut() -> None:
    call = Conversation.of(
        [started(agent=MONOLOGUE), turn(1, "hm"), *spoken("1.0", "Listen to me."), turn(2, "no")]
    )
    assert call.is_current(ReplyId("1.0"))
    assert Message("assistant", "Listen to me.") in call.messages()


def test_a_turn_is_answered_from_what_came_before_it() -> None:
    call = Conversation.of(
        [started(), turn(1, "one"), *spoken("1.0", "First."), *played("1.0", 0), turn(2, "two")]
    )
    call.apply(turn(3, "three"))
    call.apply(reply_started("2.0"))
    call.apply(sentence("2.0", 0, "Second."))
    assert call.messages(before=2) == [
        Message("user", "one"),
        Message("assistant", "First."),
        Message("user", "two"),
    ]


def test_nothing_is_current_once_the_call_is_over() -> None:
    call = Conversation.of([started(), turn(1), speech(2), ended()])
    assert not call.is_current(ReplyId("1.0"))
    assert call.speech is None


def test_a_reply_without_sentences_is_played_out_at_once() -> None:
    call = Conversation.of([started(), turn(1), reply_started("1.0")])
    reply = call.turns[1].replies[ReplyId("1.0")]
    assert not reply.played_out
    call.apply(reply_ended("1.0", 0))
    assert reply.played_out


def test_a_sentence_without_audio_holds_up_nothing() -> None:
    call = Conversation.of([started(), turn(1), *spoken("1.0", "Hm.", samples=0)])
    assert call.turns[1].replies[ReplyId("1.0")].played_out


def test_the_first_account_of_a_turn_stands() -> None:
    call = Conversation.of([started(), turn(1, "first"), turn(1, "second")])
    assert call.turns[1].text == "first"


def test_every_kind_of_event_is_generated_here() -> None:
    assert {kind.__dataclass_fields__["kind"].default for kind in KINDS} >= {
        "call.started",
        "turn.ended",
        "playback.stopped",
        "call.recorded",
    }
    assert len(KINDS) == 28


@given(st.lists(events(), max_size=40))
def test_any_events_in_any_order_can_be_folded(facts: list[e.Event]) -> None:
    call = Conversation.of(facts)
    call.messages()
    for each in call.turns.values():
        if each.reply is not None:
            _ = each.reply.played_out, each.reply.heard_text, each.text


@given(st.lists(st.tuples(events(), st.integers(1, 3)), max_size=30))
def test_a_fact_told_again_changes_nothing(facts: list[tuple[e.Event, int]]) -> None:
    once = Conversation.of(fact for fact, _ in facts)
    again = Conversation.of(fact for fact, times in facts for _ in range(times))
    assert again == once


@given(st.lists(events(), max_size=40))
def test_what_was_heard_is_the_beginning_of_what_was_said(facts: list[e.Event]) -> None:
    for each in Conversation.of(facts).turns.values():
        for reply in each.replies.values():
            for said in reply.sentences.values():
                words = said.heard_text.split(" ")
                assert said.text.startswith(said.heard_text)
                assert said.heard_text in ("", said.text) or said.text.split(" ")[: len(words)] == (
                    words
                )


@given(st.text("ab c", max_size=30), st.integers(1, 8000), st.integers(0, 9000))
def test_a_sentence_is_cut_between_words(text: str, samples: int, heard: int) -> None:
    facts = [
        sentence("1.0", 0, text),
        synthesis_ended("1.0", 0, samples),
        playing("1.0", 0),
        stopped("1.0", 0, heard, why="dropped"),
    ]
    said = Conversation.of(facts).turns[1].replies[ReplyId("1.0")].sentences[0]
    rest = said.text[len(said.heard_text) :]
    assert said.text.startswith(said.heard_text)
    assert not said.heard_text or not rest or rest[0] == " "
    assert len(said.heard_text) <= len(text) * heard / samples + 1


@given(st.lists(events(), max_size=40))
def test_no_unheard_word_of_a_cut_reply_is_remembered(facts: list[e.Event]) -> None:
    call = Conversation.of(facts)
    heard = {
        each.number: each.reply.heard_text
        for each in call.turns.values()
        if each.reply is not None and each.reply.cut
    }
    lines = call.messages()
    uncut = [
        each.reply.text
        for each in call.turns.values()
        if each.reply is not None and not each.reply.cut
    ]
    for line in lines:
        if line.role == "assistant":
            assert line.text in uncut or line.text in heard.values()
