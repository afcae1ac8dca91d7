"""The database, for the roles that keep or show calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from storage.errors import DatabaseUnavailableError
from storage.session import Database
from telemetry.log import get_logger
from trunkline.settings import Settings

_log = get_logger(__name__)
_RETRY_S: Final = 1.0


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database; one that is not there yet is waited for, and the log says so."""
    database = Database(settings.database_url)
    try:
        while True:
            try:
                await database.ping()
                break
            except DatabaseUnavailableError as error:
                _log.warning("database.waiting", reason=str(error))
                await asyncio.sleep(_RETRY_S)
        yield database
    finally:
        await database.close()
