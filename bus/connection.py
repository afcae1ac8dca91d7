"""Connections to the bus that see a failure as redis-py does, and leave waiting to the kernel.

redis-py's `socket_timeout` makes a task for each command (on Python 3.11), a fifth of the CPU of
a pipelined write. So it is off, and TCP itself ends a connection whose peer is gone: keep-alive
where we wait, TCP_USER_TIMEOUT where we have sent. A server that is there and does not answer is
waited for; whoever cannot wait has a patience of its own (legs/engine.py).

Commands are packed by hiredis, as redis-py does on connections that block; on those that do not it
packs them itself, which takes five times as long: a read of 200 streams 250 us instead of 60.

uvloop raises RuntimeError when it writes to a transport that the peer has closed, which redis-py
does not know as a lost connection, so neither retries nor reconnects. And a server that takes no
writes (its disk is full, it has become a replica) is as good as away: what is told as an error of
the command would be tried again at once, and for ever, by a FastStream subscription.
"""

from __future__ import annotations

import re
import socket
from typing import Any, Final

from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

_PACKER: Final = HiredisRespSerializer()
_CONNECT_S: Final = 5.0
_RETRIES: Final = 12
_BACKOFF: Final = {"cap": 1.0, "base": 0.02}
#: Greedy up to the last @, as URLs are read: a password may hold one.
_PASSWORD: Final = re.compile(r"(?<=://)([^:@/]*):.*(?=@)|([?&]password)=[^&]*")
#: A TCP peer that does not acknowledge for this long is gone.
_GONE_MS: Final = 5000
#: How a server says that it takes no writes for now.
_NO_WRITES: Final = ("MISCONF", "NOREPLICAS", "CLUSTERDOWN", "MASTERDOWN")


class _Sturdy:
    """Tells a closed transport, and a server that takes no writes, as a lost connection."""

    def pack_command(self, *args: Any) -> list[bytes]:
        packed: list[bytes] = _PACKER.pack(*args)
        return packed

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError) and not str(error).startswith(_NO_WRITES):
                raise
            # What else was asked on this connection must not be taken for the next answer.
            await self.disconnect()  # type: ignore[attr-defined]
            raise RedisConnectionError(f"the bus takes no writes: {error}") from error

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError(f"the connection is closed: {error}") from error


class SturdyConnection(_Sturdy, Connection):
    """redis://"""


class SturdySSLConnection(_Sturdy, SSLConnection):
    """rediss://"""


class SturdyUnixConnection(_Sturdy, UnixDomainSocketConnection):
    """unix://"""


_STURDY: Final[dict[type, type]] = {
    Connection: SturdyConnection,
    SSLConnection: SturdySSLConnection,
    UnixDomainSocketConnection: SturdyUnixConnection,
}


def without_password(url: str) -> str:
    """The URL, fit for a log or a terminal."""
    return _PASSWORD.sub(lambda m: f"{m[2]}=***" if m[2] else f"{m[1]}:***", url)


def connection_options(url: str, *, retries: int = _RETRIES) -> dict[str, Any]:
    """What a pool of connections to `url` is made with.

    Args:
        url: As settings have it.
        retries: How often a command that lost its connection is tried again; 12 take 8 to 10 s.

    Raises:
        ValueError: not a redis://, rediss:// or unix:// URL.
    """
    given: dict[str, Any] = dict(parse_url(url))
    plain = given.pop("connection_class", Connection)
    options = {
        **given,
        "connection_class": _STURDY[plain],
        "socket_timeout": None,
        "health_check_interval": 15,
        "max_connections": 1000,
        "retry": Retry(ExponentialBackoff(**_BACKOFF), retries),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
    }
    if plain is not UnixDomainSocketConnection:
        options |= {
            "socket_connect_timeout": _CONNECT_S,
            "socket_keepalive": True,
            "socket_keepalive_options": _keepalive(),
        }
    return options


def _keepalive() -> dict[int, int]:
    """Ask after 2 s, then each second, three times; where the platform lets us say so."""
    wanted = (
        ("TCP_KEEPIDLE", 2),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", _GONE_MS),
    )
    return {getattr(socket, name): value for name, value in wanted if hasattr(socket, name)}
