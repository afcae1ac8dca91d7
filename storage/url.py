"""Database URLs, from what people write to what the async drivers take."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from storage.errors import DatabaseUrlError

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def database_url(text: str) -> URL:
    """Accept `sqlite:///path`, `postgresql://user:password@host/name` and the drivers' own forms.

    libpq's `sslmode` becomes asyncpg's `ssl`, which takes the same words.

    Raises:
        DatabaseUrlError: not a URL, or of another database. The text holds no password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseUrlError(
            "the database URL cannot be read: write sqlite:///path/to/file.db or "
            "postgresql://user:password@host/name (with %-escapes in the password)"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise DatabaseUrlError(
            f"{url.drivername!r} is no database that Trunkline speaks: use sqlite or postgresql"
        )
    if "sslmode" in url.query:
        mode = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return url.set(drivername=driver)


def shown(url: URL) -> str:
    """Give a URL for people: as they wrote it, with the password masked."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
