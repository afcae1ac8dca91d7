"""SIP's UDP sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import structlog

from ingress_sip.signalling.parse import MAX_MESSAGE
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.binding import Listen
from telemetry import metrics

_log = structlog.get_logger(__name__)


class DatagramSocket(asyncio.DatagramProtocol):
    """One socket; `flow` names it."""

    def __init__(self, listen: Listen, flow: int, receive: Callable[[bytes, Hop], None]) -> None:
        self.listen = listen
        self.flow = flow
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, bound: socket.socket) -> None:
        """Read from a bound socket, which is ours from now on."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=bound)

    def send(self, data: bytes, hop: Hop) -> bool:
        """False: it cannot go there."""
        if self._transport is None or self._transport.is_closing():
            return False
        try:
            self._transport.sendto(data, (hop.host, hop.port))
        except (ValueError, OSError) as error:  # of another family, or no port
            _log.info("sip.unreachable", peer=str(hop), error=str(error))
            return False
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every loop's transport is an instance of it.
        self._transport = cast(asyncio.DatagramTransport, transport)
        if hasattr(transport, "max_size"):
            # asyncio's own 256 KiB read buffer costs two page faults a datagram.
            transport.max_size = MAX_MESSAGE

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        try:
            self._receive(data, Hop(Transport.UDP, addr[0], addr[1], self.flow))
        except Exception:
            # Ours, as receivers take any octets: the port must outlive it.
            metrics.ERRORS.labels("ingress", "datagram").inc()
            _log.exception("udp.receiver_failed", source=addr[0])

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: whose datagram it was is not told, and silence will tell."""
