"""Where a turn's time went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls import events as e
from calls.conversation import Conversation, Turn
from calls.ids import ReplyId
from calls.timing import STAGES, stages_ms, voice_to_voice_ms
from tests.support.facts import playing, reply_started, sentence, synthesis_started, turn


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
