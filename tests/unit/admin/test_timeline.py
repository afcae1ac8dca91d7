from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from admin.timeline import Block, Timeline, prepared, segments, slowest_turn_ms
from calls.timing import STAGES
from calls.turns import Run
from storage.record import CallRecord, EventRecord, RecordingRecord
from storage.turns import AsideRecord, TurnRecord

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


def test_blocks_lie_where_speech_was(kept_call: CallRecord) -> None:
    timeline = Timeline.of(kept_call)
    assert timeline is not None
    assert timeline.length_s == 8.0  # the recording's
    assert timeline.blocks == (
        Block("caller", "speech", turn=1, note="", start_s=2.0, x=25.0, width=12.5),
        Block("agent", "answer", turn=1, note="", start_s=4.0, x=50.0, width=12.5),
    )


def test_asides_keys_and_murmurs_are_told_from_turns_and_all_stand_in_order(
    kept_call: CallRecord, turn: TurnRecord
) -> None:
    filler = AsideRecord(
        number=0, why="filler", due_at=NOON, text="Hm.", heard_text="Hm.", samples=4000,
        heard_samples=4000, cached=False, runs=(Run(0, 4000, 26_000),),
    )  # fmt: skip
    payload = {"turn": 2, "position": 36_000, "why": "backchannel", "text": "mhm"}
    mhm = EventRecord(seq=0, at=NOON, kind="speech.dropped", payload=payload)
    keyed = replace(turn, rule="keypad", asides=(filler,))
    timeline = Timeline.of(replace(kept_call, turns=(keyed,), events=(mhm,)))
    assert timeline is not None
    assert [(block.kind, block.turn, block.note) for block in timeline.blocks] == [
        ("keys", 1, ""),
        ("aside", 1, "filler"),
        ("answer", 1, ""),
        ("murmur", None, "mhm"),
    ]
    assert [block.start_s for block in timeline.blocks] == [2.0, 3.25, 4.0, 4.5]
    assert all(block.width > 0 for block in timeline.blocks)


def test_what_was_prepared_lies_within_the_wait_it_was_prepared_in(turn: TurnRecord) -> None:
    waited = replace(turn, stages_ms={"endpoint": 600.0})
    early = prepared(replace(waited, hidden_ms=300.0, ready_early_ms=200.0), 1000)
    late = prepared(replace(waited, hidden_ms=450.0, ready_early_ms=-80.0), 1000)
    assert early is not None
    assert late is not None
    assert (early.x, early.width) == (10.0, 30.0)
    assert (late.x, late.width) == (15.0, 45.0)
    assert prepared(waited, 1000) is None


def test_a_preparation_longer_than_its_wait_is_drawn_no_longer(turn: TurnRecord) -> None:
    odd = replace(turn, stages_ms={"endpoint": 100.0}, hidden_ms=300.0, ready_early_ms=50.0)
    drawn = prepared(odd, 1000)
    assert drawn is not None
    assert (drawn.x, drawn.width) == (0.0, 5.0)


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
