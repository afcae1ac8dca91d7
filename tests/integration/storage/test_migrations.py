"""Migrations, on both kinds of database."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from calls.ids import CallId
from calls.turns import Run
from storage import migrate
from storage.errors import DatabaseUnavailableError
from storage.models import Base
from storage.repository import CallHistory
from storage.session import Database

_NOON = "2026-09-21 12:00:00.000000"
_FIRST_VERSIONS_CALL = (
    f"""INSERT INTO calls (id, carrier, carrier_call, agent_name, agent, caller, called, codec,
    remote, started_at, turn_count, failure_count) VALUES ('20260921t120000-0badcafe', 'sip', 'x',
    'clinic', '{{}}', '1', '2', 'PCMU', '', '{_NOON}', 1, 0)""",
    """INSERT INTO turns (call_id, number, caller_text, agent_text, heard_text, interrupted,
    stages_ms, replies) VALUES ('20260921t120000-0badcafe', 1, 'hello', 'Hi.', 'Hi.', false, '{}',
    '["1.0"]')""",
    """INSERT INTO sentences (call_id, turn, number, text, heard_text, samples, heard_samples, runs)
    VALUES ('20260921t120000-0badcafe', 1, 0, 'Hi.', 'Hi.', 8000, 8000, '[[0, 8000, 30000]]')""",
)


async def _tables(url: str) -> set[str]:
    def look(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}

    database = Database(url)
    try:
        async with database.connection(writing=False) as connection:
            return await connection.run_sync(look)
    finally:
        await database.close()


async def test_up_down_and_up_again(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    assert await _tables(empty_url) == set(Base.metadata.tables)
    await migrate.downgrade(empty_url, "base")
    assert await _tables(empty_url) == set()
    assert (await migrate.revisions(empty_url)).current is None
    await migrate.upgrade(empty_url)
    at = await migrate.revisions(empty_url)
    assert at.current == at.head


async def test_a_call_that_the_first_version_kept_can_be_read_and_taken_back(
    empty_url: str,
) -> None:
    await migrate.upgrade(empty_url, "0001")
    database = Database(empty_url)
    history = CallHistory(database)
    async with database.connection(writing=True) as connection:
        for statement in _FIRST_VERSIONS_CALL:
            await connection.exec_driver_sql(statement)
    await migrate.upgrade(empty_url)
    call = await history.get(CallId("20260921t120000-0badcafe"))
    assert call is not None
    (turn,) = call.turns
    assert (turn.caller_text, turn.rule, turn.guesses, turn.hidden_ms) == ("hello", None, 0, 0.0)
    assert turn.asides == ()
    assert (call.direction, call.trunk, call.actions) == ("inbound", "", ())
    (sentence,) = turn.sentences
    assert sentence.runs == (Run(0, 8000, 30_000),)
    assert not sentence.cached
    assert not sentence.protected
    await history.record(call)  # as this version writes it
    await migrate.downgrade(empty_url, "0001")
    await migrate.upgrade(empty_url)
    assert await history.get(call.id) == call
    await database.close()


async def test_the_models_hold_nothing_that_no_migration_makes(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    assert await migrate.pending_changes(empty_url) == []


async def test_a_change_that_no_migration_makes_is_noticed(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    database = Database(empty_url)
    async with database.connection(writing=True) as connection:
        await connection.exec_driver_sql("DROP INDEX ix_calls_started_at_id")
        await connection.exec_driver_sql("ALTER TABLE calls DROP COLUMN mos")
    await database.close()
    changes = " ".join(await migrate.pending_changes(empty_url))
    assert "ix_calls_started_at_id" in changes
    assert "mos" in changes


async def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    program = f"import asyncio, storage.migrate as m; asyncio.run(m.upgrade({empty_url!r}))"
    top = Path(migrate.__file__).parents[1]
    starting = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            stderr=subprocess.PIPE,
            cwd=top,
        )
        for _ in range(4)
    ]
    for process in starting:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, errors.decode()
    assert await migrate.pending_changes(empty_url) == []


async def test_a_database_that_was_never_migrated_says_what_to_do(empty_url: str) -> None:
    database = Database(empty_url)
    with pytest.raises(DatabaseUnavailableError, match="trunkline migrate"):
        await CallHistory(database).list_calls()
    await database.close()


async def test_a_newer_database_is_left_alone(empty_url: str) -> None:
    await migrate.upgrade(empty_url)
    database = Database(empty_url)
    async with database.connection(writing=True) as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await database.close()
    with pytest.raises(DatabaseUnavailableError, match="9999"):
        await migrate.upgrade(empty_url)


async def test_the_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "history.db"
    await migrate.upgrade(f"sqlite:///{file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
