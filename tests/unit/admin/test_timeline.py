from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from admin.timeline import Block, Timeline, answered_from, segments, slowest_turn_ms
from calls.conversation import Run
from calls.timing import STAGES
from storage.record import CallRecord, RecordingRecord, TurnRecord


def test_blocks_lie_where_speech_was(kept_call: CallRecord) -> None:
    timeline = Timeline.of(kept_call)
    assert timeline is not None
    assert timeline.length_s == 8.0  # the recording's
    assert timeline.blocks == (
        Block(side="caller", turn=1, start_s=2.0, x=25.0, width=12.5),
        Block(side="agent", turn=1, start_s=4.0, x=50.0, width=12.5),
    )


def test_without_a_recording_it_ends_with_the_last_word(kept_call: CallRecord) -> None:
    timeline = Timeline.of(replace(kept_call, recording=None))
    assert timeline is not None
    assert timeline.length_s == 5.0


def test_a_call_of_silence_has_no_picture(kept_call: CallRecord) -> None:
    assert Timeline.of(replace(kept_call, turns=())) is None


@pytest.mark.parametrize("seconds", [1, 7, 43, 600, 7200, 90_000])
def test_ticks_are_few_and_inside(kept_call: CallRecord, seconds: int) -> None:
    recording = RecordingRecord(
        path="a.wav", bytes=0, duration_ms=seconds * 1000, channels=2, sha256=""
    )
    timeline = Timeline.of(replace(kept_call, recording=recording))
    assert timeline is not None
    assert 1 <= len(timeline.ticks) <= 26
    assert all(0 <= tick.x <= 100 for tick in timeline.ticks)


def test_stages_stand_end_to_end_on_the_slowest_turns_scale(turn: TurnRecord) -> None:
    laid = segments(turn, 2 * slowest_turn_ms([turn]))
    assert [part.stage for part in laid] == list(STAGES)
    for before, after in pairwise(laid):
        assert after.x == pytest.approx(before.x + before.width)
    assert laid[-1].x + laid[-1].width == pytest.approx(50, abs=0.01)


def test_a_stage_that_went_backwards_is_drawn_as_nothing(turn: TurnRecord) -> None:
    laid = segments(replace(turn, stages_ms={"endpoint": 600.0, "asr": -2.0}), 600)
    assert [part.width for part in laid] == [100.0, 0.0]


def test_an_answer_is_heard_from_its_first_run(turn: TurnRecord) -> None:
    assert answered_from(turn) == 32_000
    silent = replace(turn, sentences=())
    assert answered_from(silent) is None
    assert turn.sentences[0].runs == (Run(0, 8000, 32_000),)
