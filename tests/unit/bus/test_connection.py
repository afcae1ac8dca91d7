"""How commands are packed."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import Connection
from redis.exceptions import DataError

from bus.connection import SturdyConnection


@pytest.mark.parametrize(
    "command",
    [
        ("PING",),
        ("CONFIG GET", "maxmemory"),
        (b"CLIENT LIST",),
        ("XADD", "call:1:in", "1-0", b"f", bytes(range(256))),
        ("SET", "clé", "wert", "PX", 10_000, 0.25, bytearray(b"x"), memoryview(b"y")),
        ("SET", "big", b"x" * 100_000),
        ("EVALSHA", "", 0, *map(str, range(2000))),
    ],
)
def test_commands_are_packed_as_redis_py_packs_them(command: tuple[str | bytes, ...]) -> None:
    ours = b"".join(SturdyConnection().pack_command(*command))
    assert ours == b"".join(Connection().pack_command(*command))


@pytest.mark.parametrize("value", [None, True, object()])
def test_what_has_no_wire_form_is_refused(value: object) -> None:
    with pytest.raises(DataError):
        SturdyConnection().pack_command("SET", "key", value)
