"""The connection to the database: one engine per process, transactions for reading and writing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

from asyncpg import (  # type: ignore[import-untyped]
    PostgresError,
    UndefinedColumnError,
    UndefinedTableError,
)
from sqlalchemy import URL, Connection, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from storage.errors import DatabaseUnavailableError
from storage.url import database_url, shown

#: How long a connection, or another process's write to the SQLite file, is waited for.
CONNECT_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 30
BUSY_TIMEOUT_MS = 5000

#: Classes of SQLSTATE (PostgreSQL manual, appendix A): connection, authorization, no such database,
#: out of resources, told to stop.
_OUTAGE_CLASSES = frozenset({"08", "28", "3D", "53", "57"})


class Database:
    """An engine and its pool. Connects when first used, and again after an outage.

    Args:
        url: as `storage.url.database_url` takes it.
        migrating: for schema changes: statements may take their time, and SQLite's foreign keys
            are off, as a migration that rebuilds a table would otherwise delete what refers to it.

    Raises:
        DatabaseUrlError: see there.
    """

    def __init__(self, url: str, *, migrating: bool = False) -> None:
        self.url = database_url(url)
        self.engine = _engine(self.url, migrating=migrating)
        # SQLite: a transaction that reads before it writes must take the write lock first, or
        # two such wait for each other and one fails at once whatever the busy timeout.
        self._writers = self.engine.execution_options(immediate=True)

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        return "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"

    def __str__(self) -> str:
        return shown(self.url)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session that sees one state of the database per statement.

        Raises:
            DatabaseUnavailableError: it is not to be had; also from within the block.
        """
        with self._readable():
            async with AsyncSession(self.engine) as session:
                yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction: all of the block is kept, or nothing is.

        Raises:
            DatabaseUnavailableError: it is not to be had; also from within the block.
        """
        with self._readable():
            async with AsyncSession(self._writers) as session, session.begin():
                yield session

    @asynccontextmanager
    async def connection(self, *, writing: bool) -> AsyncGenerator[AsyncConnection]:
        """Open a transaction without a session, for what is not about rows.

        Raises:
            DatabaseUnavailableError: it is not to be had; also from within the block.
        """
        with self._readable():
            async with (self._writers if writing else self.engine).begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            DatabaseUnavailableError: it gave none.
        """
        async with self.connection(writing=False) as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections. The Database may be used again, and then opens new ones."""
        await self.engine.dispose()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn the drivers' errors into one that says what is wrong, in words, without secrets."""
        try:
            yield
        except (DBAPIError, TimeoutError, PostgresError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            if _is_unmigrated(cause):
                reason = "it has no tables yet, or old ones; run `trunkline migrate`"
            elif _is_outage(error):
                reason = str(cause).strip() or type(cause).__name__
            else:
                raise
            raise DatabaseUnavailableError(f"database {self}: {reason}") from error


def _is_unmigrated(cause: BaseException) -> bool:
    if isinstance(cause.__cause__, UndefinedTableError | UndefinedColumnError):
        return True
    return "no such table" in str(cause) or "no such column" in str(cause)


def _is_outage(error: Exception) -> bool:
    """Tell the database's state from our own mistakes, which must not be waited out."""
    if not isinstance(error, DBAPIError):
        return True
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError | InterfaceError)
        or str(getattr(error.orig, "sqlstate", ""))[:2] in _OUTAGE_CLASSES
    )


def _engine(url: URL, *, migrating: bool) -> AsyncEngine:
    # hide_parameters: what callers said must not reach a log by way of an error's text.
    if url.get_backend_name() == "postgresql":
        return create_async_engine(
            url,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "timeout": CONNECT_TIMEOUT_S,
                "command_timeout": None if migrating else COMMAND_TIMEOUT_S,
            },
        )
    engine = create_async_engine(url, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "do_connect")
    def _try(_dialect: object, _record: object, args: list[Any], _options: object) -> None:
        # A file that cannot be opened is found out here: aiosqlite 0.22 leaves its thread behind
        # when it fails to connect, and that thread dies loudly if our loop ends before it.
        sqlite3.connect(args[0], uri=str(args[0]).startswith("file:")).close()

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # Transactions are begun by _begin, below: Python's sqlite3 begins its own too late for a
        # consistent read, and not at all before DDL.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"foreign_keys={'OFF' if migrating else 'ON'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
