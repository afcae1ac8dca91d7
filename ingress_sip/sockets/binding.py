"""Addresses to listen on, bound all or none."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ingress_sip.signalling.routing import Transport

#: SIP over a stream waits for nobody: connections that came while we were busy.
_BACKLOG: Final = 512
#: How many free UDP ports are tried for one that is free for TCP too.
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Listen:
    """Where SIP is listened for. `host` is ours, as an IP literal without brackets or as a name;
    port 0 is any free one, the same for UDP and TCP on one host.
    """

    transport: Transport
    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_wildcard(self) -> bool:
        """Does it take what comes to any address?"""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"{self.transport}:{host}:{self.port}"


Bound = list[tuple[Listen, socket.socket]]


async def bind_all(listeners: Sequence[Listen]) -> Bound:
    """Bind every one; each `Listen` comes back as it was bound, with its non-blocking socket.

    Raises:
        OSError: the first that cannot be bound, by name; nothing is bound then.
    """
    bound: Bound = []
    try:
        for group in _groups([await _numeric(listen) for listen in listeners]):
            bound += _bind_together(group)
    except OSError:
        _close(bound)
        raise
    return bound


async def _numeric(listen: Listen) -> Listen:
    """The same with the address of a host that is a name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    return replace(listen, host=str(found[0][4][0]))


def _groups(listeners: Sequence[Listen]) -> Iterable[list[Listen]]:
    """Those that want one free port between them, together."""
    groups: dict[object, list[Listen]] = {}
    for listen in listeners:
        shares = listen.port == 0 and listen.transport is not Transport.TLS
        groups.setdefault(listen.host if shares else listen, []).append(listen)
    return groups.values()


def _bind_together(group: list[Listen]) -> Bound:
    """Raises OSError."""
    for tries_left in reversed(range(_TRIES)):
        bound: Bound = []
        try:
            for listen in group:
                port = bound[0][0].port if bound else listen.port
                bound.append(_bind(replace(listen, port=port)))
        except OSError as error:
            _close(bound)
            if error.errno != errno.EADDRINUSE or not bound or not tries_left:
                raise
        else:
            return bound
    raise AssertionError("the last try returns or raises")


def _bind(listen: Listen) -> tuple[Listen, socket.socket]:
    """Raises OSError."""
    is_udp = listen.transport is Transport.UDP
    made = socket.socket(
        socket.AF_INET6 if listen.is_ipv6 else socket.AF_INET,
        socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM,
    )
    try:
        made.setblocking(False)
        if listen.is_ipv6:  # else [::] would take 0.0.0.0's port as well
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not is_udp:  # a port in TIME_WAIT is free; for UDP it would let two share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((listen.host, listen.port))
        if not is_udp:
            made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    return replace(listen, port=made.getsockname()[1]), made


def _close(bound: Bound) -> None:
    for _, taken in bound:
        taken.close()
