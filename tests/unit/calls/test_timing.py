"""Where a turn's time went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls import events as e
from calls.conversation import Conversation
from calls.ids import ReplyId
from calls.timing import STAGES, hidden_ms, ready_early_ms, stages_ms, voice_to_voice_ms
from calls.turns import Turn
from tests.support.facts import (
    guessed,
    playing,
    reply_started,
    sentence,
    synthesis_started,
    turn,
    withdrawn,
)


def facts(times: list[float]) -> list[e.Event]:
    """The facts of turn 1 at nine times: speech ended, decided, final, ... , played."""
    spoke, decided, final, asked, token, ready, taken, audio, heard = times
    reply = ReplyId("1.0")
    return [
        turn(1, at=final, speech_ended_at=spoke, decided_at=decided),
        reply_started(reply, at=asked),
        e.SentenceReady(at=ready, reply=reply, index=0, text="Yes.", first_token_at=token),
        e.SynthesisStarted(at=audio, reply=reply, index=0, taken_at=taken),
        playing(reply, 0, at=heard),
    ]


def test_each_stage_has_its_own_time() -> None:
    times = [1000.0, 1600.0, 1610.0, 1613.0, 1700.0, 1750.0, 1752.0, 1790.0, 1810.0]
    folded = Conversation.of(facts(times)).turns[1]
    assert stages_ms(folded) == {
        "endpoint": 600.0,
        "asr": 10.0,
        "llm_queue": 3.0,
        "llm_first_token": 87.0,
        "llm_sentence": 50.0,
        "tts_queue": 2.0,
        "tts_first_audio": 38.0,
        "playout": 20.0,
    }
    assert voice_to_voice_ms(folded) == 810.0


@given(st.lists(st.integers(0, 60_000), min_size=9, max_size=9).map(sorted))
def test_the_stages_add_up_to_the_whole(times: list[int]) -> None:
    folded = Conversation.of(facts([float(time) for time in times])).turns[1]
    spans = stages_ms(folded)
    assert tuple(spans) == STAGES
    assert sum(spans.values()) == times[-1] - times[0] == voice_to_voice_ms(folded)


@pytest.mark.parametrize("known", range(5))
def test_a_turn_on_its_way_has_the_stages_known_so_far(known: int) -> None:
    times = [float(time) for time in range(9)]
    folded = Conversation.of(facts(times)[:known]).turns.get(1, Turn(1))
    assert len(stages_ms(folded)) == [0, 2, 3, 5, 7][known]
    assert voice_to_voice_ms(folded) is None


def test_a_greeting_answers_nobody() -> None:
    greeting = [reply_started("0.0"), sentence("0.0", 0, "Hi."), synthesis_started("0.0", 0)]
    assert stages_ms(Conversation.of(greeting).turns[0]) == {}


def test_a_later_run_does_not_move_the_first_packet() -> None:
    times = [float(time) for time in range(0, 900, 100)]
    resumed = [*facts(times), playing("1.0", 0, offset=800, position=4000, at=5000.0)]
    assert voice_to_voice_ms(Conversation.of(resumed).turns[1]) == 800.0


def prepared(guessed_at: int, audio_at: int, decided_at: int) -> Turn:
    """A turn that ended with its second guess; the first was wrong."""
    log = [
        guessed(1, 0, at=0.0),
        withdrawn(1, 0, at=1.0),
        guessed(1, 1, at=float(guessed_at)),
        synthesis_started("1.1", 0, at=float(audio_at)),
        turn(1, revision=1, decided_at=float(decided_at)),
    ]
    return Conversation.of(log).turns[1]


@pytest.mark.parametrize(
    ("audio_at", "hidden", "early"),
    [(300, 200.0, 150.0), (450, 350.0, 0.0), (500, 350.0, -50.0)],
)
def test_a_preparation_hides_what_was_done_before_the_turn_ended(
    audio_at: int, hidden: float, early: float
) -> None:
    folded = prepared(guessed_at=100, audio_at=audio_at, decided_at=450)
    assert (hidden_ms(folded), ready_early_ms(folded)) == (hidden, early)


def test_a_guess_that_was_wrong_or_came_to_no_sound_saved_nothing() -> None:
    wrong = Conversation.of([guessed(1, 0), synthesis_started("1.0", 0), turn(1, revision=1)])
    silent = Conversation.of([guessed(1, 0), reply_started("1.0"), turn(1)])
    for call in (wrong, silent):
        assert (hidden_ms(call.turns[1]), ready_early_ms(call.turns[1])) == (0.0, None)


@given(st.lists(st.integers(0, 60_000), min_size=3, max_size=3))
def test_no_more_is_hidden_than_was_waited_or_worked(times: list[int]) -> None:
    guessed_at, audio_at, decided_at = times
    hidden = hidden_ms(prepared(guessed_at, audio_at, decided_at))
    assert 0 <= hidden <= max(0, decided_at - guessed_at)
    assert hidden <= max(0, audio_at - guessed_at)
