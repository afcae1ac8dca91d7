"""UDP sockets, for signalling and for media."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from telemetry import metrics

Address = tuple[str, int]
Receive = Callable[[bytes, Address], None]
_log = structlog.get_logger(__name__)

#: No RTP packet of ours or theirs is larger; asyncio's own 256 KiB buffer costs two page faults a
#: packet.
_MAX_RTP_BYTES: Final = 2048


class NoPortError(OSError):
    """Every RTP port of the range is taken. Widen TRUNKLINE_RTP_PORTS or lower the call limit."""


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, receive: Receive, max_size: int | None) -> None:
        self._receive = receive
        self._max_size = max_size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._max_size is not None and hasattr(transport, "max_size"):
            transport.max_size = self._max_size

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        try:
            self._receive(data, (addr[0], addr[1]))
        except Exception:
            # Ours, as receivers take any octets: the port must outlive it.
            metrics.ERRORS.labels("ingress", "datagram").inc()
            _log.exception("udp.receiver_failed", source=addr[0])

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: the far end's silence will tell, in its own time."""


async def open_udp(
    host: str, port: int, receive: Receive, *, max_size: int | None = None
) -> asyncio.DatagramTransport:
    """Bind a UDP socket; `receive` is called with each datagram.

    Raises:
        OSError: the address is not ours, or taken.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Receiver(receive, max_size), local_addr=(host, port)
    )
    return transport


class RtpSocket:
    """A call's two ports: an even one for RTP, the odd one above it for RTCP (RFC 3550 11)."""

    def __init__(self, receive: Receive) -> None:
        """`receive` is called with what comes on the port of RTP."""
        self.rtcp_receive: Receive | None = None
        """Called with what comes on the port of RTCP."""
        self.port = 0
        """RTP's, once it is bound."""
        self._receive = receive
        self._rtp: asyncio.DatagramTransport | None = None
        self._rtcp: asyncio.DatagramTransport | None = None

    async def bind(self, host: str, port: int) -> None:
        """Take both ports.

        Raises:
            OSError: one of them is taken, or the host is not ours.
        """
        self._rtp = await open_udp(host, port, self._receive, max_size=_MAX_RTP_BYTES)
        try:
            self._rtcp = await open_udp(host, port + 1, self._on_rtcp, max_size=_MAX_RTP_BYTES)
        except BaseException:
            self.close()
            raise
        self.port = port

    def send(self, datagram: bytes, to: Address, *, rtcp: bool = False) -> None:
        """Send a datagram from one of the ports; nowhere, once they are closed."""
        transport = self._rtcp if rtcp else self._rtp
        if transport is not None:
            transport.sendto(datagram, to)

    def close(self) -> None:
        """Give both ports back."""
        for transport in (self._rtp, self._rtcp):
            if transport is not None:
                transport.close()
        self._rtp = self._rtcp = None

    def _on_rtcp(self, data: bytes, source: Address) -> None:
        if self.rtcp_receive is not None:
            self.rtcp_receive(data, source)


class RtpPorts:
    """Hands out the ports of a range in pairs, the one that was free the longest first.

    The first one is anyone: after a restart, the callers of the process before still send to the
    ports that they had.
    """

    def __init__(self, host: str, first: int, last: int) -> None:
        self._host = host
        self._even = range(first + first % 2, last, 2)
        self._next = secrets.randbelow(len(self._even) or 1)

    async def open(self, receive: Receive, *, towards: str = "") -> RtpSocket:
        """Bind the next free pair, of the address family that reaches the host `towards`.

        Raises:
            NoPortError
        """
        # A socket bound to all of one family's addresses reaches nobody of the other.
        is_any = self._host in ("0.0.0.0", "::")  # noqa: S104  # compared, not bound
        host = ("::" if ":" in towards else "0.0.0.0") if is_any and towards else self._host  # noqa: S104
        for _ in self._even:
            port = self._even[self._next]
            self._next = (self._next + 1) % len(self._even)
            pair = RtpSocket(receive)
            with suppress(OSError):  # taken by another process: try the next
                await pair.bind(host, port)
                return pair
        raise NoPortError(f"no free RTP port in {self._even.start}-{self._even.stop}")


def local_address_towards(peer: Address, bound_to: str) -> str:
    """The address of ours that packets to `peer` leave from.

    Nothing is sent: connecting a UDP socket only asks the routing table.
    """
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    if bound_to not in ("0.0.0.0", "::", ""):  # noqa: S104  # compared, not bound
        return bound_to
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer[0], peer[1] or 9))
        except OSError:  # no route to it: whatever we say, it will not reach us
            return "::1" if family is socket.AF_INET6 else "127.0.0.1"
        return str(probe.getsockname()[0])
