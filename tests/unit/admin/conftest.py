"""A call as it is kept: one turn, spoken from 2 to 3 s, answered from 4 to 5 s of 8 s."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from calls.ids import CallId
from calls.timing import STAGES
from calls.turns import Run
from storage.record import CallRecord, RecordingRecord
from storage.turns import SentenceRecord, TurnRecord

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


@pytest.fixture
def turn() -> TurnRecord:
    return TurnRecord(
        number=1,
        caller_text="when do you open",
        confidence=None,
        rule="silence",
        guesses=0,
        guesses_withdrawn=0,
        hidden_ms=0.0,
        ready_early_ms=None,
        agent_text="At eight.",
        heard_text="At eight.",
        interrupted=False,
        speech_start=16_000,
        speech_end=24_000,
        started_at=NOON,
        ended_at=NOON,
        voice_to_voice_ms=1000.0,
        stages_ms=dict.fromkeys(STAGES, 125.0),
        replies=("1.0",),
        sentences=(
            SentenceRecord(
                number=0,
                text="At eight.",
                heard_text="At eight.",
                samples=8000,
                heard_samples=8000,
                protected=False,
                cached=False,
                runs=(Run(0, 8000, 32_000),),
            ),
        ),
        asides=(),
    )


@pytest.fixture
def kept_call(turn: TurnRecord) -> CallRecord:
    return CallRecord(
        id=CallId("20260921t120000-0badcafe"),
        carrier="sip",
        carrier_call="x",
        agent_name="clinic",
        agent={},
        caller="1",
        called="2",
        codec="PCMU",
        remote="",
        direction="inbound",
        trunk="",
        started_at=NOON,
        answered_at=NOON,
        ended_at=NOON,
        ending="caller_hung_up",
        duration_ms=8000,
        turn_count=1,
        failure_count=0,
        voice_to_voice_ms=None,
        mos=None,
        turns=(turn,),
        actions=(),
        events=(),
        recording=RecordingRecord(path="a.wav", bytes=1, duration_ms=8000, channels=2, sha256="ab"),
        quality=None,
    )
