"""How Alembic reaches the database: by the connection it is given, or by `alembic -x url=...`."""

from __future__ import annotations

import asyncio

from alembic.util import CommandError
from sqlalchemy import Connection

from alembic import context
from storage.models import Base
from storage.session import Database
from storage.url import database_url


def run(connection: Connection) -> None:
    """Migrate on an open connection, in the transaction it is in."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite alters a table by building it anew.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def given_url() -> str:
    """Read the URL of the command line; the environment is read by trunkline's settings only."""
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise CommandError("name the database: alembic -x url=sqlite:///var/trunkline.db ...")
    return str(url)


async def connect_and_run() -> None:
    """Migrate the database of the command line."""
    database = Database(given_url(), migrating=True)
    try:
        async with database.connection(writing=True) as connection:
            await connection.run_sync(run)
    finally:
        await database.close()


if context.is_offline_mode():
    context.configure(
        url=database_url(given_url()), target_metadata=Base.metadata, literal_binds=True
    )
    with context.begin_transaction():
        context.run_migrations()
elif "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    asyncio.run(connect_and_run())
