"""Databases to test on: a new SQLite file always, a new Postgres database where a server is had."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage import migrate
from storage.repository import CallHistory
from storage.session import Database
from tests.support.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that was never migrated: each test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    """A migrated database."""
    await migrate.upgrade(empty_url)
    database = Database(empty_url)
    yield database
    await database.close()


@pytest.fixture
def history(database: Database) -> CallHistory:
    return CallHistory(database)
