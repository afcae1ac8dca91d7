"""Which address a phone on the network would dial."""

from __future__ import annotations

import socket

#: For documentation (RFC 5737, RFC 3849). Nothing is sent: connecting a UDP socket only asks the
#: routing table.
_ANYWHERE = "192.0.2.1"
_ANYWHERE_IPV6 = "2001:db8::1"
_DISCARD = 9  # RFC 863
_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound


def reachable(host: str, public_address: str | None = None) -> str:
    """The address to tell people for something that listens on `host`."""
    if public_address:
        return public_address
    if host not in _WILDCARDS:
        return host
    return local_address_towards(_ANYWHERE_IPV6 if host == "::" else _ANYWHERE)


def local_address_towards(host: str) -> str:
    """Our address as `host` sees it, NAT apart."""
    is_ipv6 = ":" in host
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _DISCARD))
        except OSError:  # no route: a machine on its own
            return "::1" if is_ipv6 else "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


def cannot_bind(kind: socket.SocketKind, host: str, port: int) -> str | None:
    """Why nothing can listen there now; None if something can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if family is socket.AF_INET6:  # as the server itself binds: [::] leaves 0.0.0.0 alone
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
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
