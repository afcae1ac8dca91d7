"""The recorder on a real bus: rows, a recording aligned to the sample, and calls left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus import audio, topics
from bus.jobs import RecordCall
from bus.session import BusSession
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import ReplyId
from media import g711
from media.correlate import find
from media.frames import Codec, to_pcm
from media.wav import read_channels
from storage.errors import DatabaseUnavailableError
from storage.record import CallRecord
from tests.integration.conftest import Eventually
from tests.support.facts import (
    CALL,
    aside,
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
from workers.recorder import worker as recorder_worker
from workers.recorder.worker import Recorder, sweep

FRAMES = 150
NOW = 1_000_000.0


class History:
    """A database that may be away for a while."""

    def __init__(self, away: int = 0) -> None:
        self.rows: dict[str, CallRecord] = {}
        self.away = away
        self.writes = 0

    async def record(self, call: CallRecord) -> None:
        self.writes += 1
        if self.writes <= self.away:
            raise DatabaseUnavailableError("nobody there")
        self.rows[call.id] = call


def recorder(session: BusSession, history: Any, folder: Path) -> Recorder:
    return Recorder(session, history, folder, lambda: NOW)


def noise(seed: int, samples: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.random.default_rng(seed).integers(-8000, 8000, samples).astype(np.int16)


async def a_call(session: BusSession, *, heard: bool = True, agent: Agent | None = None) -> None:
    """A call of three seconds: noise from the caller, and half a second of the agent's, in two.

    Then the agent says something beside it, 0.1 s long.
    """
    caller = g711.encode(to_pcm(noise(1, FRAMES * 160)), Codec.PCMU)
    for seq in range(FRAMES):
        frame = audio.InFrame(seq, seq * 20, Codec.PCMU, caller[seq * 160 : (seq + 1) * 160])
        await session.redis.xadd(
            topics.audio_in(CALL), {audio.IN_FIELD: audio.encode_frame(frame)}, audio.frame_id(seq)
        )
    agent_audio = g711.encode(to_pcm(noise(2, 4000)), Codec.PCMU)
    for begin in (0, 1600, 3200, 1600):
        payload = agent_audio[begin : begin + 1600]
        chunk = audio.OutChunk(ReplyId("1.0"), 0, begin, Codec.PCMU, payload)
        await session.redis.xadd(
            topics.audio_out(CALL), {audio.OUT_FIELD: audio.encode_chunk(chunk)}
        )
    beside = g711.encode(to_pcm(noise(3, 800)), Codec.PCMU)
    chunk = audio.OutChunk(ReplyId("1.a0"), 0, 0, Codec.PCMU, beside)
    await session.redis.xadd(topics.audio_out(CALL), {audio.OUT_FIELD: audio.encode_chunk(chunk)})
    last: list[e.Event] = [e.HearingEnded(at=9100.0, position=FRAMES * 160)] if heard else []
    await session.log.append(
        CALL,
        started(agent=agent or Agent(name="desk")),
        e.CallAnswered(at=1001.0),
        turn(1, "hello"),
        reply_started("1.0"),
        sentence("1.0", 0, "Good day."),
        synthesis_ended("1.0", 0, 4000),
        reply_ended("1.0", 1),
        playing("1.0", 0, offset=0, position=8000),
        stopped("1.0", 0, offset=1600, position=9600, why="paused"),
        playing("1.0", 0, offset=1600, position=16_000),
        stopped("1.0", 0, offset=4000, position=18_400),
        aside("1.a0", "reprompt", "Are you there?"),
        playing("1.a0", 0, position=20_000),
        stopped("1.a0", 0, offset=800, position=20_800),
        ended(position=FRAMES * 160),
        *last,
    )
    await session.presence.beat([CALL], NOW)


async def test_a_call_becomes_rows_and_an_aligned_recording(
    session: BusSession, tmp_path: Path
) -> None:
    await a_call(session)
    history = History()
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    row = history.rows[CALL]
    assert row.turn_count == 1
    assert row.recording is not None
    assert row.recording.duration_ms == FRAMES * 20
    with (tmp_path / row.recording.path).open("rb") as file:
        channels, rate = read_channels(file)
    assert rate == 8000
    assert channels.shape == (FRAMES * 160, 2)
    left, right = channels.astype(np.int16).T
    for reference, channel, place in (
        (noise(1, FRAMES * 160)[4000:8000], left, 4000),
        (noise(2, 4000)[:1600], right, 8000),
        (noise(2, 4000)[1600:4000], right, 16_000),
        (noise(3, 800), right, 20_000),
    ):
        match = find(reference, channel)
        assert match.lag == place
        assert match.peak > 0.95
    assert not right[:8000].any()
    assert not right[9600:16_000].any()
    assert not right[20_800:].any()
    assert [each.why for each in row.turns[0].asides] == ["reprompt"]
    call = Conversation.of(await session.log.read(CALL))
    assert call.recorded is not None
    assert call.recorded.recording == row.recording.path
    assert await session.presence.live_calls() == {}
    assert 0 < await session.redis.ttl(topics.audio_in(CALL)) <= topics.RECORDED_TTL_S
    assert list(tmp_path.rglob("*.part")) == []


async def test_recording_it_again_changes_nothing(session: BusSession, tmp_path: Path) -> None:
    await a_call(session)
    history = History()
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.writes == 1
    # As if the first had died before it said so.
    await session.redis.delete(topics.facts(CALL))
    [*_, (done, _fields)] = await session.log.entries(CALL)
    await session.redis.xdel(topics.events(CALL), done)
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.writes == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.wav")} == before


async def test_a_database_that_is_away_is_waited_for(
    session: BusSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_worker, "_DATABASE_RETRY_S", 0.0)
    await a_call(session)
    history = History(away=3)
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.writes == 4
    assert CALL in history.rows


async def test_a_disk_that_takes_no_recording_leaves_the_call_to_be_tried_again(
    session: BusSession, tmp_path: Path
) -> None:
    await a_call(session)
    await session.presence.beat([CALL], NOW)
    history = History()
    full = tmp_path / "full"
    full.write_bytes(b"")  # a file where the folder should be
    with pytest.raises(OSError, match="full"):
        await recorder(session, history, full).record(RecordCall(call=CALL))
    assert history.rows == {}
    await sweep(session, NOW + 31_000)  # the pool has given the job up by now
    assert await session.redis.xlen(topics.jobs("recorder")) == 1
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.rows[CALL].recording is not None


async def test_the_transcribers_last_word_is_waited_for(
    session: BusSession, tmp_path: Path, eventually: Eventually[Any]
) -> None:
    await a_call(session, heard=False)
    history = History()
    task = asyncio.create_task(recorder(session, history, tmp_path).record(RecordCall(call=CALL)))
    fold = await session.folds.get(CALL)
    await eventually(lambda: bool(fold.listeners))
    assert history.writes == 0
    await session.log.append(
        CALL, turn(2, "goodbye"), e.HearingEnded(at=9200.0, position=FRAMES * 160)
    )
    await task
    assert [each.caller_text for each in history.rows[CALL].turns] == ["hello", "goodbye"]


async def test_an_agent_that_does_not_record_has_no_recording(
    session: BusSession, tmp_path: Path
) -> None:
    await a_call(session, agent=Agent(name="desk", recording=False))
    history = History()
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.rows[CALL].recording is None
    assert list(tmp_path.iterdir()) == []


async def test_what_cannot_be_read_costs_only_itself(session: BusSession, tmp_path: Path) -> None:
    await a_call(session)
    await session.redis.xadd(topics.events(CALL), {"e": b"garbage"})
    await session.redis.xadd(topics.audio_in(CALL), {"f": b"garbage"})
    await session.redis.xadd(topics.audio_out(CALL), {"x": b"garbage"})
    history = History()
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.rows[CALL].recording is not None


async def test_a_call_that_left_no_log_is_forgotten(session: BusSession, tmp_path: Path) -> None:
    await session.presence.beat([CALL], NOW)
    history = History()
    await recorder(session, history, tmp_path).record(RecordCall(call=CALL))
    assert history.rows == {}
    assert await session.presence.live_calls() == {}


async def jobs(session: BusSession) -> int:
    return int(await session.redis.xlen(topics.jobs("recorder")))


async def test_a_call_whose_ingress_died_is_ended_and_recorded(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=Agent(name="desk")))
    for seq in range(10):
        frame = audio.InFrame(seq, 0, Codec.PCMU, bytes(160))
        await session.redis.xadd(
            topics.audio_in(CALL), {audio.IN_FIELD: audio.encode_frame(frame)}, audio.frame_id(seq)
        )
    await session.presence.beat([CALL], NOW)
    await sweep(session, NOW + 29_000)
    assert Conversation.of(await session.log.read(CALL)).ended is None
    await sweep(session, NOW + 31_000)
    over = Conversation.of(await session.log.read(CALL)).ended
    assert over is not None
    assert (over.why, over.position) == (Ending.INGRESS_LOST, 1600)
    assert await jobs(session) == 1


async def test_a_call_that_waits_for_its_recorder_is_asked_for_only_once(
    session: BusSession,
) -> None:
    await a_call(session)
    await sweep(session, NOW + 31_000)
    assert await jobs(session) == 1  # its job was lost: asked for anew
    await sweep(session, NOW + 62_000)
    await sweep(session, NOW + 93_000)
    assert await jobs(session) == 1
    assert await session.presence.live_calls() == {CALL: NOW + 93_000}


async def test_a_live_call_without_a_log_is_forgotten(session: BusSession) -> None:
    await session.presence.beat([CALL], NOW)
    await sweep(session, NOW + 31_000)
    assert await session.presence.live_calls() == {}
