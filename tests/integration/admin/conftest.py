"""A dashboard over a real SQLite history with one past call, and one live call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from admin.app import create_app
from admin.live import LiveCallsUnavailableError
from bus.trunk_state import Lines
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import CallId, ReplyId
from storage import migrate
from storage.record import CallRecord, RecordingRecord
from storage.repository import CallHistory
from storage.session import Database

PASSWORD = "correct-horse"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
PAST = CallId("20260921t120000-0badcafe")
LIVE = CallId("20260921t130000-11feca11")
T0 = 1_790_000_000_000.0
EVIL = "<script>alert(1)</script>\"' onload=alert(2)"


def _log(call: CallId, *, over: bool = True) -> list[e.Event]:
    log: list[e.Event] = [
        e.CallStarted(
            at=T0,
            call=call,
            agent=Agent(name="clinic"),
            carrier="sip",
            caller=EVIL,
            called="+15550199",
            carrier_call="a84b4c76e66710",
            codec="PCMU",
            remote="192.0.2.7:5060",
        ),
        e.CallAnswered(at=T0 + 100),
        e.TurnEnded(
            at=T0 + 3650,
            turn=1,
            text=f"when do you open {EVIL}",
            confidence=0.9,
            speech_start=16_000,
            speech_end=24_000,
            speech_ended_at=T0 + 3000,
            decided_at=T0 + 3600,
        ),
        e.ReplyStarted(at=T0 + 3660, reply=ReplyId("1.0")),
        e.SentenceReady(
            at=T0 + 3700,
            reply=ReplyId("1.0"),
            index=0,
            text="We open at eight",
            first_token_at=T0 + 3680,
        ),
        e.SynthesisStarted(at=T0 + 3750, reply=ReplyId("1.0"), index=0, taken_at=T0 + 3710),
        e.SynthesisEnded(
            at=T0 + 3800, reply=ReplyId("1.0"), index=0, samples=16_000, why="complete"
        ),
        e.PlaybackStarted(at=T0 + 3800, reply=ReplyId("1.0"), index=0, offset=0, position=30_400),
        e.PlaybackStopped(
            at=T0 + 4800, reply=ReplyId("1.0"), index=0, offset=8000, position=38_400, why="dropped"
        ),
    ]
    if over:
        log.append(e.CallEnded(at=T0 + 8100, why=Ending.CALLER_HUNG_UP, position=64_000))
    return log


@dataclass
class FakeLive:
    logs: dict[CallId, list[e.Event]] = field(default_factory=dict)
    trouble: str = ""
    known: Lines = field(default_factory=Lines)

    async def calls(self) -> Sequence[Conversation]:
        self._fail()
        return [Conversation.of(log) for log in self.logs.values()]

    async def events(self, call_id: CallId) -> list[e.Event]:
        self._fail()
        return self.logs.get(call_id, [])

    async def lines(self) -> Lines:
        self._fail()
        return self.known

    def _fail(self) -> None:
        if self.trouble:
            raise LiveCallsUnavailableError(self.trouble)


@dataclass
class House:
    """A dashboard, and what it stands on."""

    past = PAST
    live_call = LIVE
    password = PASSWORD
    evil = EVIL
    log = staticmethod(_log)

    app: FastAPI
    history: CallHistory
    live: FakeLive
    recordings: Path
    database_file: Path
    checks: dict[str, bool | str]
    now: float = 0.0

    def visitor(self, **options: object) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://dash", **options)  # type: ignore[arg-type]

    @asynccontextmanager
    async def member(self) -> AsyncIterator[httpx.AsyncClient]:
        """A browser that has signed in."""
        async with self.visitor(headers={"Accept": "text/html"}) as client:
            answer = await client.post("/login", data={"password": PASSWORD})
            assert answer.status_code == 303
            yield client

    async def keep(self, recording_path: str) -> None:
        """Keep the past call, with its recording at this path."""
        log = _log(PAST)
        recording = RecordingRecord(
            path=recording_path, bytes=256, duration_ms=8000, channels=2, sha256="ab"
        )
        await self.history.record(CallRecord.of(Conversation.of(log), log, recording))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    file = tmp_path / "history.db"
    url = f"sqlite:///{file}"
    await migrate.upgrade(url)
    database = Database(url)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    (recordings / "call.wav").write_bytes(bytes(range(256)))
    (tmp_path / "secret").write_text("not yours")
    history, live = CallHistory(database), FakeLive({LIVE: _log(LIVE, over=False)})
    checks: dict[str, bool | str] = {"bus": True}

    async def ready() -> dict[str, bool | str]:
        return checks

    app = create_app(
        history=history,
        live=live,
        recordings=recordings,
        password_hash=HASH,
        session_secret="s" * 43,
        ready=ready,
        version="9.9",
        clock=lambda: built.now,
    )
    built = House(app, history, live, recordings, file, checks)
    await built.keep("call.wav")
    yield built
    await database.close()
