"""Bring a database to the tables of this version, by Alembic, from our own process.

The scripts are found beside the package (a checkout or an editable install) or, from a wheel,
under the installation's `share/trunkline/alembic`. Any number of processes may upgrade at once: one
does the work, in one transaction, while the others wait and then find nothing to do.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from alembic import command
from storage.errors import DatabaseUnavailableError
from storage.models import Base
from storage.session import Database
from storage.url import database_url

T = TypeVar("T")

#: Any number, as long as nobody else locks it: "trunklin" in ASCII.
_ADVISORY_LOCK = int.from_bytes(b"trunklin")


class Revisions(NamedTuple):
    """Where a database stands, and where this version's tables are."""

    current: str | None
    head: str


async def upgrade(url: str, revision: str = "head") -> None:
    """Migrate forwards. Makes the SQLite file and its directory where they are missing.

    Raises:
        DatabaseUnavailableError: the database is not to be had, or is newer than this program.
    """
    _make_sqlite_file(url)
    await _run(url, lambda it: command.upgrade(_config(it), revision), alone=True)


async def downgrade(url: str, revision: str) -> None:
    """Migrate back; `base` drops everything.

    Raises:
        DatabaseUnavailableError: the database is not to be had.
    """
    await _run(url, lambda it: command.downgrade(_config(it), revision), alone=True)


async def revisions(url: str) -> Revisions:
    """Say where a database stands. `current` is None where nothing was migrated yet.

    Raises:
        DatabaseUnavailableError: the database is not to be had.
    """

    def look(connection: Connection) -> Revisions:
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        if head is None:
            raise LookupError("no migration scripts in the alembic directory")
        return Revisions(MigrationContext.configure(connection).get_current_revision(), head)

    return await _run(url, look, alone=False)


async def pending_changes(url: str) -> list[str]:
    """List what the models hold and the database does not, or the other way round.

    Raises:
        DatabaseUnavailableError: the database is not to be had.
    """

    def compare(connection: Connection) -> list[str]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return [repr(change) for change in compare_metadata(context, Base.metadata)]

    return await _run(url, compare, alone=False)


def scripts() -> Path:
    """Find the directory of `env.py` and `versions/`.

    Raises:
        FileNotFoundError: the installation is not whole.
    """
    places = (
        Path(__file__).resolve().parent.parent / "alembic",
        Path(sysconfig.get_path("data")) / "share" / "trunkline" / "alembic",
    )
    for place in places:
        # The library of the same name lies beside an installed package; it has no env.py.
        if (place / "env.py").is_file():
            return place
    raise FileNotFoundError(f"no migration scripts in {' or '.join(map(str, places))}")


async def _run(url: str, work: Callable[[Connection], T], *, alone: bool) -> T:
    """Run a piece of synchronous Alembic in one transaction; `alone` keeps other migrations out."""
    database = Database(url, migrating=True)
    try:
        async with database.connection(writing=alone) as connection:
            # SQLite needs no lock of ours: BEGIN IMMEDIATE is one.
            if alone and database.kind == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK}
                )
            return await connection.run_sync(work)
    except CommandError as error:
        raise DatabaseUnavailableError(f"database {database}: {error}") from error
    finally:
        await database.close()


def _make_sqlite_file(url: str) -> None:
    """Make the file ours alone before SQLite makes it everyone's: it will hold what callers say."""
    location = database_url(url)
    name = location.database
    if location.get_backend_name() != "sqlite" or name in {None, "", ":memory:"}:
        return
    path = Path(str(name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseUnavailableError(f"database {url}: {error.strerror}") from error


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
