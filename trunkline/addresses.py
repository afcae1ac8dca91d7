"""Which address a phone on the network would dial."""

from __future__ import annotations

import socket

#: TEST-NET-1 (RFC 5737). Nothing is sent: connecting a UDP socket only asks the routing table.
_ANYWHERE = "192.0.2.1"
_DISCARD = 9  # RFC 863
_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound


def reachable(host: str, public_address: str | None = None) -> str:
    """The address to tell people for something that listens on `host`."""
    if public_address:
        return public_address
    if host not in _WILDCARDS:
        return host
    return local_address_towards(_ANYWHERE)


def local_address_towards(host: str) -> str:
    """Our address as `host` sees it, NAT apart."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _DISCARD))
        except OSError:  # no route: a machine on its own
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def cannot_bind(kind: socket.SocketKind, host: str, port: int) -> str | None:
    """Why nothing can listen there now; None if something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As the server itself binds: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def free_udp_port(host: str) -> int:
    """A UDP port that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
