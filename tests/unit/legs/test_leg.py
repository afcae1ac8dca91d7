"""A call's leg: who may speak, and what the log is told."""

from __future__ import annotations

import pytest

from bus.audio import OUT_FIELD
from calls import events as e
from calls.agent import Agent, Silence, Waiting
from calls.ids import ReplyId
from legs.leg import Key
from tests.support.facts import (
    AGENT,
    guessed,
    reply_ended,
    reply_started,
    speech,
    turn,
    withdrawn,
)
from tests.support.leg import FRAME, Call


def speaking(agent: Agent = AGENT, frames: int = 20) -> Call:
    call = Call(agent)
    call.happens(turn(1), reply_started("1.0"))
    call.audio("1.0", 0, frames)
    assert call.ticks(2) == [True, True]
    return call


def test_frames_are_numbered_by_the_media_clock() -> None:
    call = Call()
    frames = [call.leg.tick(1000.5), call.leg.tick(1020.5)]
    assert [frame.seq for frame in frames] == [0, 1]
    assert frames[1].captured_ms == 1020
    assert call.leg.position == 320


def test_speech_pauses_the_agent_and_a_cough_lets_it_go_on() -> None:
    call = speaking()
    call.happens(speech(2, position=320))
    assert call.ticks(2) == [False, False]
    call.happens(e.SpeechDropped(at=0, turn=2, position=320, why="no_words"))
    assert call.ticks(2) == [True, True]
    stops = call.facts(e.PlaybackStopped)
    assert [(stop.offset, stop.position, stop.why) for stop in stops] == [(320, 320, "paused")]


def test_a_turn_drops_the_reply_it_interrupted() -> None:
    call = speaking()
    call.happens(speech(2), turn(2))
    assert call.ticks(2) == [False, False]
    call.happens(reply_started("2.0"))
    call.audio("2.0", 0, 2)
    assert call.ticks(1) == [True]


def test_an_agent_that_does_not_yield_speaks_on() -> None:
    call = speaking(Agent(name="monologue", barge_in=False))
    call.happens(speech(2), turn(2))
    assert call.ticks(3) == [True, True, True]


def test_a_farewell_is_heard_before_the_call_ends() -> None:
    call = speaking(frames=4)
    call.happens(
        e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"), reply_ended("1.0", 1)
    )
    call.ticks(1)
    assert call.phone.hung_up == 0
    call.ticks(4)
    assert call.phone.hung_up == 1


def test_a_farewell_that_was_talked_over_ends_nothing() -> None:
    call = speaking(frames=4)
    call.happens(
        e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"), reply_ended("1.0", 1)
    )
    call.happens(speech(2), turn(2))
    call.ticks(10)
    assert call.phone.hung_up == 0


def test_a_farewell_of_a_stale_reply_ends_nothing() -> None:
    call = Call()
    call.happens(turn(1), turn(2))
    call.happens(
        e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"), reply_ended("1.0", 0)
    )
    call.ticks(3)
    assert call.phone.hung_up == 0


def test_a_farewell_without_words_ends_the_call() -> None:
    call = Call()
    call.happens(turn(1), e.ActionRequested(at=0, reply=ReplyId("1.0"), action="hangup"))
    call.ticks(1)
    assert call.phone.hung_up == 0
    call.happens(reply_ended("1.0", 0))
    call.ticks(1)
    assert call.phone.hung_up == 1


def test_a_farewell_to_a_guess_waits_for_the_turn_and_goes_with_the_guess() -> None:
    bye = e.ActionRequested(at=0.0, reply=ReplyId("1.0"), action="hangup")
    call = Call()
    call.happens(guessed(1, 0), reply_started("1.0"), bye, reply_ended("1.0", 0))
    call.ticks(3)
    assert call.phone.hung_up == 0
    call.happens(withdrawn(1, 0), turn(1, revision=0))
    call.ticks(3)
    assert call.phone.hung_up == 0
    right = Call()
    right.happens(guessed(1, 0), reply_started("1.0"), bye, reply_ended("1.0", 0), turn(1))
    right.ticks(1)
    assert right.phone.hung_up == 1


def test_each_pressed_key_is_a_fact_of_its_own() -> None:
    call = Call()
    call.ticks(3)
    call.phone.keys = (Key("4", 100), Key("4", 90))
    call.ticks(1)
    digits = call.facts(e.DigitPressed)
    assert [(fact.digit, fact.position) for fact in digits] == [("4", 480), ("4", 481)]
    assert len({fact.key for fact in digits}) == 2


def test_what_is_no_audio_is_passed_over() -> None:
    call = Call()
    call.happens(turn(1))
    call.leg.audio_came([(b"1-0", {OUT_FIELD: b"garbage"}), (b"2-0", {})])
    call.audio("1.0", 0, 2)
    assert call.ticks(1) == [True]


def test_the_end_says_what_was_playing() -> None:
    call = speaking()
    call.leg.close()
    assert [stop.why for stop in call.facts(e.PlaybackStopped)] == ["dropped"]


def test_a_frame_tells_how_loud_the_agent_was_in_it() -> None:
    call = speaking(frames=3)
    assert call.leg.tick(2.0).agent_level < 60
    assert call.leg.tick(3.0).agent_level == 127


def test_in_a_late_tick_the_caller_is_heard_and_the_agent_goes_on_afterwards() -> None:
    call = speaking(frames=5)
    frames = [call.leg.tick(2.0, late_ms=late) for late in (400.0, 200.0)]
    assert [frame.seq for frame in frames] == [2, 3]
    assert call.phone.lapsed == 2
    assert call.ticks(4) == [True, True, True, False]
    runs = [(fact.offset, fact.position) for fact in call.facts(e.PlaybackStarted)]  # type: ignore[attr-defined]
    assert runs == [(0, 0), (2 * FRAME, 4 * FRAME)]


def test_a_reply_to_a_guess_is_heard_when_the_turn_ends_with_its_words() -> None:
    call = Call()
    call.happens(guessed(1, 0), withdrawn(1, 0), guessed(1, 1))
    call.audio("1.0", 0, 5)
    call.audio("1.1", 0, 5)
    assert call.ticks(2) == [False, False]
    call.happens(turn(1, revision=1))
    assert call.ticks(6) == [True] * 5 + [False]


def test_a_key_silences_the_agent_until_it_has_become_a_turn() -> None:
    call = speaking()
    call.phone.keys = (Key("1", 100),)
    assert call.ticks(3) == [True, False, False]  # the frame of that tick has left
    call.happens(turn(2, "1", rule="keypad"), reply_started("2.0"))
    call.audio("2.0", 0, 3)
    assert call.ticks(1) == [True]


def test_a_cough_between_two_keys_does_not_let_the_agent_go_on() -> None:
    call = speaking()
    call.phone.keys = (Key("1", 100),)
    call.ticks(1)
    call.happens(speech(2, position=480))
    call.happens(e.SpeechDropped(at=0, turn=2, position=480, why="noise"))
    assert call.ticks(2) == [False, False]
    call.happens(turn(2, "1", rule="keypad", speech_end=320), speech(3, position=800))
    call.happens(reply_started("2.0"), e.SpeechDropped(at=0, turn=3, position=800, why="noise"))
    call.audio("2.0", 0, 5)
    assert call.ticks(2) == [True, True]


def test_a_protected_sentence_goes_on_while_the_caller_speaks() -> None:
    call = Call()
    ready = e.SentenceReady(
        at=1.0, reply=ReplyId("1.0"), index=0, text="Recorded.", first_token_at=1.0, protected=True
    )
    call.happens(turn(1), ready)
    call.audio("1.0", 0, 5)
    call.ticks(1)
    call.happens(speech(2))
    assert call.ticks(6) == [True] * 4 + [False] * 2


WAITING = Agent(
    name="desk",
    waiting=Waiting(filler_after_ms=1000, fillers=("Hm.",)),
    silence=Silence(reprompt_after_ms=1000, reprompts=(), goodbye="Bye."),
)
ANSWERED = e.CallAnswered(at=0.0)


def test_a_late_answer_is_bridged_by_one_filler() -> None:
    call = Call(WAITING)
    call.happens(ANSWERED, turn(1, at=500.0))
    call.ticks(10, at=1400)
    assert call.leg.asides == []
    call.ticks(20, at=1500)
    [due] = call.leg.asides
    assert (due.reply, due.text) == ("1.a0", "Hm.")
    [told] = call.facts(e.AsideDue)
    call.happens(told)
    call.audio("1.a0", 0, 3)
    assert call.ticks(4, at=1600) == [True] * 3 + [False]


def test_the_agent_hangs_up_on_a_silent_caller_once_goodbye_is_said() -> None:
    call = Call(WAITING)
    call.happens(ANSWERED)
    call.ticks(10, at=1500)
    [due] = call.leg.asides
    assert due.why == "goodbye"
    assert call.phone.hung_up == 0
    call.audio(due.reply, 0, 3)
    call.ticks(4, at=1600)
    assert call.phone.hung_up == 1


def test_a_goodbye_that_nobody_can_speak_ends_the_call_all_the_same() -> None:
    call = Call(WAITING)
    call.happens(ANSWERED)
    call.ticks(10, at=1500)
    call.ticks(1, at=10_000)
    assert call.phone.hung_up == 0
    call.ticks(1, at=16_600)
    assert call.phone.hung_up == 1


@pytest.mark.parametrize("barge_in", [True, False])
def test_a_caller_who_speaks_over_the_goodbye_is_not_hung_up_on(barge_in: bool) -> None:
    call = Call(WAITING.model_copy(update={"barge_in": barge_in}))
    call.happens(ANSWERED)
    call.ticks(10, at=1500)
    [due] = call.leg.asides
    call.audio(due.reply, 0, 3)
    call.ticks(1, at=1600)
    call.happens(speech(1, position=1600))
    call.ticks(5, at=1700)
    call.ticks(1, at=17_000)  # they have much to say
    assert call.phone.hung_up == 0
    call.happens(turn(1))
    call.ticks(5, at=17_100)
    assert call.phone.hung_up == 0


def test_a_caller_whom_nobody_can_hear_is_told_in_the_middle_of_a_word() -> None:
    call = speaking(WAITING)
    call.happens(ANSWERED, speech(2))
    assert call.ticks(1) == [False]
    for number in range(10):
        call.leg.tick(3000.0 + number, deaf=True)
    [due] = call.leg.asides
    assert due.why == "trouble"
    call.audio(due.reply, 0, 3)
    assert call.ticks(5, at=3100) == [True] * 3 + [False] * 2
