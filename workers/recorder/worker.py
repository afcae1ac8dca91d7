"""The recorder pool: turns ended calls into rows and recordings. The only writer of call history.

All it does is a fold over the call's streams, so doing it twice leaves the same rows and the same
file; it is retried until the database takes it, and the streams live until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from bus import audio, topics
from bus.broker import BusError
from bus.events import WireError
from bus.jobs import CallChanged, RecordCall
from bus.lease import Leases
from bus.session import BusSession
from calls import events as e
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import CallId
from media.frames import SAMPLE_RATE, Samples
from media.wav import StereoWriter
from storage.errors import DatabaseUnavailableError
from storage.record import CallRecord, RecordingRecord
from storage.repository import CallHistory
from telemetry import metrics
from workers.recorder.stereo import agent_channel, caller_channel, spoken

_log = structlog.get_logger(__name__)
#: How long the transcriber may still hear a call that has ended, s.
_HEARING_S: Final = 10.0
_DATABASE_RETRY_S: Final = 2.0
_READ_COUNT: Final = 2000
#: A live call whose ingress has not shown itself for this long is an orphan.
_ORPHAN_MS: Final = 30_000
_SWEEP_S: Final = 10.0

T = TypeVar("T")
_Decode = Callable[[bytes, dict[bytes, bytes]], T]


class Recorder:
    """Does `RecordCall` jobs."""

    def __init__(
        self,
        session: BusSession,
        history: CallHistory,
        recordings: Path,
        now_ms: Callable[[], float],
    ) -> None:
        """`recordings` is the folder that recordings are kept in, by day."""
        self._session = session
        self._history = history
        self._recordings = recordings
        self._now_ms = now_ms

    async def record(self, job: RecordCall) -> None:
        """Make a call's rows and recording from its streams."""
        await self._until_heard(job.call)
        log = await self._session.log.read(job.call)
        conversation = Conversation.of(log)
        if conversation.started is None:
            _log.warning("recorder.no_log")
            await self._session.presence.forget(job.call)
            return
        if conversation.recorded is not None:
            await self._session.presence.forget(job.call)
            return
        recording = await self._write_recording(conversation)
        call = CallRecord.of(conversation, log, recording)
        await self._keep(call)
        done = e.CallRecorded(at=self._now_ms(), recording=recording.path if recording else None)
        await self._session.log.append(job.call, done)
        await self._session.topics.lifecycle.publish(CallChanged(call=job.call, event=done))
        await self._session.presence.forget(job.call)
        await self._session.log.expire(job.call, topics.RECORDED_TTL_S)
        _log.info("recorder.recorded", turns=call.turn_count)

    async def _until_heard(self, call: CallId) -> None:
        """Wait for the transcriber's last word, but not for ever."""
        heard = asyncio.Event()

        def look(event: e.Event) -> None:
            if isinstance(event, e.HearingEnded):
                heard.set()

        async with self._session.folds.follow(call, look) as fold:
            conversation = fold.conversation
            if conversation.heard_to_the_end or conversation.answered_at is None:
                return
            try:
                async with asyncio.timeout(_HEARING_S):
                    await heard.wait()
            except TimeoutError:
                _log.warning("recorder.not_heard_to_the_end")

    async def _write_recording(self, conversation: Conversation) -> RecordingRecord | None:
        started, ended = conversation.started, conversation.ended
        if started is None or ended is None or not started.agent.recording or not ended.position:
            return None
        frames = await self._entries(topics.audio_in(started.call), _frame)
        chunks = await self._entries(topics.audio_out(started.call), _chunk)
        path = Path(started.call[:8]) / f"{started.call}.wav"

        def write() -> RecordingRecord:
            left = caller_channel(frames, ended.position)
            right = agent_channel(conversation, spoken(chunks), ended.position)
            return _write_wav(self._recordings, path, left, right)

        # A thread: an hour of audio would hold up the leases' renewal for longer than they last.
        return await asyncio.to_thread(write)

    async def _entries(self, key: str, decode: _Decode[T]) -> list[T]:
        """All entries of an audio stream that can be read."""
        found: list[T] = []
        after = "-"
        while True:
            entries: Any = await self._session.redis.xrange(key, min=after, count=_READ_COUNT)
            for entry_id, fields in entries:
                try:
                    found.append(decode(entry_id, fields))
                except (WireError, KeyError) as error:
                    _log.warning("recorder.bad_audio", error=str(error))
            if len(entries) < _READ_COUNT:
                return found
            after = f"({entries[-1][0].decode()}"

    async def _keep(self, call: CallRecord) -> None:
        """Write the rows; a database that is away is waited for."""
        while True:
            try:
                await self._history.record(call)
            except DatabaseUnavailableError as error:
                metrics.ERRORS.labels("recorder", "database_unavailable").inc()
                _log.warning("recorder.database_away", error=str(error))
                await asyncio.sleep(_DATABASE_RETRY_S)
            else:
                return


async def sweep_orphans(session: BusSession, now_ms: Callable[[], float]) -> None:
    """End calls whose ingress died with them, so that they are recorded too. Runs for ever."""
    while True:
        try:
            await sweep(session, now_ms())
        except (BusError, OSError) as error:
            _log.warning("recorder.sweep_failed", error=str(error))
        await asyncio.sleep(_SWEEP_S)


async def sweep(session: BusSession, now_ms: float) -> None:
    """Look once for calls that nobody has shown to be alive lately.

    Raises:
        BusError: the bus is away.
    """
    # While jobs wait for a database that is away, each such call has its own among them.
    idle = await Leases(session.redis, "recorder", session.name).lag() == (0, 0)
    for call, seen in (await session.presence.live_calls()).items():
        if seen < now_ms - _ORPHAN_MS:
            await _end_orphan(session, call, now_ms, again=idle)


async def _end_orphan(session: BusSession, call: CallId, now_ms: float, *, again: bool) -> None:
    """End a call that has no ingress any more; `again`: ask anew for recordings that are due."""
    fold = await session.folds.get(call)
    if fold.conversation.started is None:
        await session.presence.forget(call)
        return
    due = again
    if fold.conversation.ended is None:
        due = True
        last: Any = await session.redis.xrevrange(topics.audio_in(call), count=1)
        position = audio.frame_end(last[0][0]) if last else 0
        _log.warning("recorder.orphan", call=call)
        await session.log.append(
            call, e.CallEnded(at=now_ms, why=Ending.INGRESS_LOST, position=position)
        )
    await session.presence.beat([call], now_ms)
    if due:
        await session.topics.record.publish(RecordCall(call=call))


def _write_wav(folder: Path, path: Path, left: Samples, right: Samples) -> RecordingRecord:
    """Write the file whole or not at all: under another name first."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.part")
    with unfinished.open("wb") as file, StereoWriter(file) as writer:
        writer.write(left, right)
    data = unfinished.read_bytes()
    unfinished.replace(target)
    return RecordingRecord(
        path=str(path),
        bytes=len(data),
        duration_ms=len(left) * 1000 // SAMPLE_RATE,
        channels=2,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _frame(entry_id: bytes, fields: dict[bytes, bytes]) -> audio.InFrame:
    return audio.decode_frame(entry_id, fields[audio.IN_FIELD])


def _chunk(_: bytes, fields: dict[bytes, bytes]) -> audio.OutChunk:
    return audio.decode_chunk(fields[audio.OUT_FIELD])
