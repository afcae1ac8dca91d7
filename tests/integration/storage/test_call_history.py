"""Writing and reading call history, on both kinds of database."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import asyncpg
import pytest
from sqlalchemy import func, select

from calls.ids import CallId
from calls.turns import Run
from storage.actions import ActionRecord, Step
from storage.errors import DatabaseUnavailableError
from storage.models import Base
from storage.record import (
    CallRecord,
    CallSummary,
    EventRecord,
    QualityRecord,
    RecordingRecord,
)
from storage.repository import CallHistory, Cursor
from storage.session import Database
from storage.turns import AsideRecord, SentenceRecord, TurnRecord

NOON = datetime(2026, 9, 21, 12, 0, 0, 123_456, UTC)


def _turn(number: int = 1, caller_text: str = "when do you open") -> TurnRecord:
    return TurnRecord(
        number=number,
        caller_text=caller_text,
        confidence=0.87,
        rule="unfinished",
        guesses=2,
        guesses_withdrawn=1,
        hidden_ms=310.5,
        ready_early_ms=-4.25,
        agent_text="At eight. Every day.",
        heard_text="At eight.",
        interrupted=True,
        speech_start=16_000,
        speech_end=24_000,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=1),
        voice_to_voice_ms=812.5,
        stages_ms={"endpoint": 600.0, "asr": 12.5},
        replies=("1.0", "1.1"),
        sentences=(
            SentenceRecord(
                number=0,
                text="At eight.",
                heard_text="At eight.",
                samples=8000,
                heard_samples=8000,
                protected=True,
                cached=False,
                runs=(Run(0, 4000, 30_000), Run(4000, 8000, 40_000)),
            ),
            SentenceRecord(
                number=1,
                text="Every day.",
                heard_text="",
                samples=None,
                heard_samples=0,
                protected=False,
                cached=True,
                runs=(),
            ),
        ),
        asides=(
            AsideRecord(
                number=0,
                why="filler",
                due_at=NOON + timedelta(seconds=2),
                text="One moment, please.",
                heard_text="One moment,",
                samples=8000,
                heard_samples=6000,
                cached=True,
                runs=(Run(0, 6000, 26_000),),
            ),
        ),
    )


def _call(
    name: str = "20260921t120000-0badcafe", minutes: int = 0, **changes: object
) -> CallRecord:
    record = CallRecord(
        id=CallId(name),
        carrier="sip",
        carrier_call="a84b4c76e66710",
        agent_name="clinic",
        agent={"name": "clinic", "endpointing": {"silence_ms": 600}},
        caller="+15550100",
        called="+15550199",
        codec="PCMU",
        remote="192.0.2.7:5060",
        direction="inbound",
        trunk="carrier",
        started_at=NOON + timedelta(minutes=minutes),
        answered_at=NOON + timedelta(minutes=minutes, seconds=1),
        ended_at=NOON + timedelta(minutes=minutes, seconds=31),
        ending="caller_hung_up",
        duration_ms=30_000,
        turn_count=1,
        failure_count=0,
        voice_to_voice_ms=812.5,
        mos=4.2,
        turns=(_turn(),),
        events=(
            EventRecord(seq=0, at=NOON, kind="call.started", payload={"caller": "+15550100"}),
            EventRecord(seq=2, at=NOON, kind="call.ended", payload={"position": 7, "ms": 1.0}),
        ),
        recording=RecordingRecord(
            path="2026/a.wav", bytes=2**31, duration_ms=30_000, channels=2, sha256="ab" * 32
        ),
        quality=QualityRecord(
            packets=1500,
            lost=3,
            late=1,
            concealed=4,
            jitter_ms=3.5,
            round_trip_ms=None,
            mos=4.2,
            sent=1490,
            peer_lost=7,
            peer_jitter_ms=None,
        ),
        actions=(
            ActionRecord(
                number=0,
                turn=1,
                action="transfer",
                arguments={"target": "+15550111", "mode": "blind"},
                asked_at=NOON,
                done_at=NOON + timedelta(seconds=2),
                outcome="failed",
                detail="486 Busy Here",
                status=486,
                steps=(Step(0.5, 100, "Trying"), Step(812.5, 486, "Busy Here")),
            ),
        ),
    )
    return replace(record, **changes)  # type: ignore[arg-type]


async def _row_counts(database: Database) -> dict[str, int]:
    async with database.reading() as session:
        return {
            name: await session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
        }


async def test_what_is_written_is_read(history: CallHistory) -> None:
    call = _call()
    await history.record(call)
    assert await history.get(call.id) == replace(call, events=())
    assert await history.events(call.id) == list(call.events)
    assert await history.recording(call.id) == call.recording


async def test_an_unknown_call_is_none(history: CallHistory) -> None:
    unknown = CallId("20260921t120000-00000000")
    assert await history.get(unknown) is None
    assert await history.events(unknown) == []
    assert await history.recording(unknown) is None
    assert await history.delete(unknown) is None


async def test_times_come_back_in_utc_whatever_zone_they_came_in(history: CallHistory) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await history.record(_call(started_at=elsewhere))
    call = await history.get(_call().id)
    assert call is not None
    assert call.started_at == NOON
    assert call.started_at.utcoffset() == timedelta(0)


async def test_a_naive_time_is_refused(history: CallHistory) -> None:
    with pytest.raises(Exception, match="timezone"):
        await history.record(_call(started_at=datetime(2026, 9, 21)))
    assert await history.list_calls() == []


async def test_recording_a_call_twice_leaves_the_same_rows(
    history: CallHistory, database: Database
) -> None:
    await history.record(_call())
    once = await _row_counts(database)
    await history.record(_call())
    assert await _row_counts(database) == once
    assert min(once.values()) >= 1


async def test_the_later_record_of_a_call_replaces_the_earlier_whole(history: CallHistory) -> None:
    await history.record(_call())
    later = _call(turns=(_turn(2),), recording=None, quality=None, ending="failed")
    await history.record(later)
    assert await history.get(later.id) == replace(later, events=())


async def test_two_recorders_of_one_call_at_once_leave_one_call(
    history: CallHistory, database: Database
) -> None:
    await asyncio.gather(*(history.record(_call()) for _ in range(6)))
    assert await _row_counts(database) == {
        "calls": 1,
        "turns": 1,
        "sentences": 2,
        "asides": 1,
        "actions": 1,
        "events": 2,
        "recordings": 1,
        "quality": 1,
    }


async def test_a_deleted_call_leaves_nothing_but_names_its_recording(
    history: CallHistory, database: Database
) -> None:
    await history.record(_call())
    assert await history.delete(_call().id) == "2026/a.wav"
    assert set((await _row_counts(database)).values()) == {0}


async def test_text_that_no_database_holds_is_mended(history: CallHistory) -> None:
    await history.record(
        _call(caller="a\0b", turns=(_turn(caller_text="\ud800 nul \0"),), agent={"x": "\0"})
    )
    call = await history.get(_call().id)
    assert call is not None
    assert call.caller == "a\ufffdb"
    assert call.turns[0].caller_text == "? nul \ufffd"
    assert call.agent == {"x": "\ufffd"}


async def test_the_list_is_newest_first_and_pages_through_equal_times(
    history: CallHistory,
) -> None:
    names = [f"20260921t120000-0000000{n}" for n in range(7)]
    for n, name in enumerate(names):
        await history.record(_call(name, minutes=n // 3))
    seen: list[str] = []
    before: Cursor | None = None
    while page := await history.list_calls(limit=2, before=before):
        assert all(type(call) is CallSummary for call in page)
        seen += [call.id for call in page]
        before = Cursor.parse(str(Cursor(page[-1].started_at, page[-1].id)))
    assert seen == names[::-1]


async def test_the_list_is_filtered(history: CallHistory) -> None:
    a, b, c = (f"20260921t120000-0000000{x}" for x in "abc")
    await history.record(_call(a, agent_name="pizza", turns=(_turn(caller_text="100% Salami"),)))
    await history.record(_call(b, ending="failed", caller="sip:anna@example.org"))
    await history.record(_call(c, turns=(_turn(caller_text="1000 salads"),), direction="outbound"))

    async def ids(**wanted: str) -> set[str]:
        return {call.id for call in await history.list_calls(**wanted)}  # type: ignore[arg-type]

    assert await ids(agent="pizza") == {a}
    assert await ids(ending="failed") == {b}
    assert await ids(direction="outbound") == {c}
    assert await ids(direction="inbound") == {a, b}
    assert await ids(text="SALAMI") == {a}
    assert await ids(text="anna@") == {b}
    assert await ids(text="every day") == {a, b, c}
    assert await ids(text="one MOMENT") == {a, b, c}  # an aside was said too
    assert await ids(text="100%") == {a}  # % is a letter like any other
    assert await ids(text="salad", agent="pizza") == set()
    assert await history.agents() == ["clinic", "pizza"]


@pytest.mark.parametrize("wrong", ["", "x~y", "2026-09-21T12:00:00~20260921t120000-0badcafe"])
def test_a_wrong_cursor_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each part has its own words
        Cursor.parse(wrong)


async def test_a_server_that_is_down_is_named_without_its_password() -> None:
    with socket.socket() as reserved:  # bound but not listening: refused at once
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        database = Database(f"postgresql://anna:hunter2@127.0.0.1:{port}/calls")
        with pytest.raises(DatabaseUnavailableError) as failed:
            await database.ping()
        await database.close()
    assert f"postgresql://anna:***@127.0.0.1:{port}/calls" in str(failed.value)
    assert "hunter2" not in str(failed.value)


async def test_a_wrong_password_or_name_is_said(postgres_url: str) -> None:
    database = Database(postgres_url.rsplit("/", 1)[0] + "/no_such_database")
    with pytest.raises(DatabaseUnavailableError, match="no_such_database"):
        await database.ping()
    await database.close()


async def test_a_directory_that_is_missing_is_said() -> None:
    database = Database("sqlite:////nonexistent/history.db")
    with pytest.raises(DatabaseUnavailableError, match="unable to open database file"):
        await database.ping()
    await database.close()


async def test_an_answering_database_is_well(database: Database) -> None:
    await database.ping()


async def test_connections_that_the_server_dropped_are_replaced(postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.ping()
    other = await asyncpg.connect(postgres_url)
    await other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()
    await database.ping()
    await database.close()
