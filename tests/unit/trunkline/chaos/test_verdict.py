"""A call is judged whole only if it is: each way of losing something shows in the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from calls import events as e
from calls.ending import Ending
from tests.support.facts import (
    ended,
    playing,
    reply_ended,
    reply_started,
    sentence,
    started,
    stopped,
    synthesis_ended,
    turn,
)
from trunkline.chaos.script import Recording, Script
from trunkline.chaos.verdict import Verdict, judge
from trunkline.phone.caller import Said, Story

ANSWER = ("You said hello.", "Second sentence.", "Third sentence.")
SCRIPT = Script((), (Recording(Path("hello.wav"), "hello", (), ANSWER),))
SAMPLES = 8000


def story(**fields: str) -> Story:
    said = Said(0, began_at=1.0, ended_at=2.0, answered_at=2.6)
    return Story("caller", said=[said], answered_at=0.0, hung_up_at=9.0, **fields)


def spoken(reply: str, index: int, text: str, position: int) -> list[e.AnyEvent]:
    return [
        sentence(reply, index, text),
        synthesis_ended(reply, index, SAMPLES),
        playing(reply, index, 0, position),
        stopped(reply, index, SAMPLES, position + SAMPLES),
    ]


def a_call() -> list[e.AnyEvent]:
    log: list[e.AnyEvent] = [started(), turn(1), reply_started("1.0")]
    for index, text in enumerate(ANSWER):
        log += spoken("1.0", index, text, index * SAMPLES)
    return [*log, reply_ended("1.0", 3), ended()]


def verdict_on(log: list[e.AnyEvent]) -> Verdict:
    return judge(story(), SCRIPT, log)


def test_a_good_call_is_whole() -> None:
    found = verdict_on(a_call())
    assert found.whole
    assert found.remarks == []
    assert (found.turns, found.sentences) == (1, 3)
    assert found.waits_ms == [pytest.approx(600)]


def test_a_sentence_that_was_not_finished_is_skipped() -> None:
    log = [event for event in a_call() if not (event.kind.startswith("playback") and _of(event, 1))]
    found = verdict_on(log)
    assert found.sentences_skipped == [ANSWER[1]]
    assert not found.whole


def test_a_sentence_that_was_finished_twice_is_repeated() -> None:
    again = [playing("1.0", 2, 0, 90_000), stopped("1.0", 2, SAMPLES, 98_000)]
    found = verdict_on([*a_call()[:-1], *again, ended()])
    assert found.sentences_repeated
    assert not found.whole


def test_audio_that_comes_again_is_a_repetition_and_a_hole_in_it_an_omission() -> None:
    def with_runs(*runs: tuple[int, int]) -> Verdict:
        log = [event for event in a_call() if not (event.kind.startswith("play") and _of(event, 0))]
        played = [
            fact
            for number, (offset, end) in enumerate(runs)
            for fact in (
                playing("1.0", 0, offset, number * 20_000),
                stopped("1.0", 0, end, 0, "finished" if end == SAMPLES else "starved"),
            )
        ]
        return verdict_on([*log, *played])

    assert with_runs((0, 4000), (4000, SAMPLES)).whole
    assert with_runs((0, 4000), (4000, SAMPLES)).gaps_ms == [2000.0]
    assert with_runs((0, 4000), (3840, SAMPLES)).sentences_repeated == [ANSWER[0]]
    assert with_runs((0, 4000), (4160, SAMPLES)).sentences_skipped == [ANSWER[0]]


def test_the_same_sentence_in_two_places_is_repeated() -> None:
    log = [*a_call()[:-1], *spoken("1.0", 3, ANSWER[2], 80_000), ended()]
    assert verdict_on(log).sentences_repeated == [ANSWER[2]]


def test_an_answer_to_a_guess_that_was_heard_besides_the_answer_is_repeated() -> None:
    log = [*a_call()[:-1], *spoken("1.1", 0, ANSWER[0], 80_000), ended()]
    assert verdict_on(log).sentences_repeated == [ANSWER[0]]


def test_a_turn_without_an_answer_is_told() -> None:
    found = verdict_on([started(), turn(1), ended()])
    assert found.replies_missing == [1]
    assert found.sentences_skipped == list(ANSWER)


def test_words_that_were_not_heard_are_lost() -> None:
    found = verdict_on([started(), ended()])
    assert found.words_lost == ("hello",)
    assert not found.whole


@pytest.mark.parametrize(
    "why", [Ending.AGENT_HUNG_UP, Ending.MEDIA_TIMEOUT, Ending.BUS_LOST, Ending.INGRESS_LOST]
)
def test_a_call_that_its_caller_did_not_end_was_dropped(why: Ending) -> None:
    assert verdict_on([*a_call()[:-1], ended(why=why)]).dropped
    assert verdict_on(a_call()[:-1]).dropped
    assert judge(story(dropped="hung up by the far end"), SCRIPT, a_call()).dropped


def _of(event: e.AnyEvent, index: int) -> bool:
    return getattr(event, "index", None) == index
