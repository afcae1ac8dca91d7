"""What is said of a bus's URL holds no password."""

from __future__ import annotations

import pytest

from bus.broker import BusUnavailableError, check
from bus.connection import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
        ("rediss://anna:hunter2@h/0", "rediss://anna:***@h/0"),
        ("redis://anna:p@ss/w:rd@h/0", "redis://anna:***@h/0"),
        ("unix:///run/bus.sock?db=1&password=hunter2", "unix:///run/bus.sock?db=1&password=***"),
        ("unix:///run/bus.sock", "unix:///run/bus.sock"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert without_password(url) == shown


async def test_a_bus_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(BusUnavailableError) as refused:
        await check("unix:///nowhere/bus.sock?password=hunter2")
    assert "unix:///nowhere/bus.sock?password=***: " in str(refused.value)
