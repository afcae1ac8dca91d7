from __future__ import annotations

import pytest

from storage.errors import DatabaseUrlError
from storage.session import Database
from storage.url import database_url


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("sqlite:///var/t.db", "sqlite+aiosqlite:///var/t.db"),
        ("sqlite:////var/t.db", "sqlite+aiosqlite:////var/t.db"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h:6432/d", "postgresql+asyncpg://u:p@h:6432/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require"),
    ],
)
def test_a_url_gets_its_async_driver(written: str, taken: str) -> None:
    assert database_url(written).render_as_string(hide_password=False) == taken


@pytest.mark.parametrize(
    "wrong", ["mysql://u:hunter2@h/d", "no url", "postgresql://u:hunter2@h:x/"]
)
def test_a_wrong_url_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(DatabaseUrlError) as refused:
        database_url(wrong)
    assert "postgresql" in str(refused.value)
    assert "hunter2" not in str(refused.value)


async def test_a_database_shows_itself_without_its_password() -> None:
    assert str(Database("postgres://u:hunter2@h/d")) == "postgresql://u:***@h/d"
