"""SIP's way in and out: every listener and connection, and which of them reaches a peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.binding import Listen, bind_all
from ingress_sip.sockets.connections import Connections
from ingress_sip.sockets.datagrams import DatagramSocket
from ingress_sip.sockets.liveness import StreamLimits
from ingress_sip.sockets.tls import TlsContexts, TlsFiles
from ingress_sip.sockets.udp import local_address_towards

__all__ = ["Listen", "StreamLimits", "TlsFiles", "Transports"]

_USUAL = StreamLimits()
_NO_FILES = TlsFiles()


class Transports:
    """Messages out and in, over whatever carries them. Nothing is decided here.

    `receive(data, hop)` is called with each datagram (keep-alives too) and each whole message of a
    connection, and where it came from; `failed(hop)` when what was to be sent to that very hop is
    known not to arrive; `closed(hop)` when a connection is gone, whoever ended it, `hop.flow` being
    its name: what was said last on it may be lost. `in_use(hop)` says whether a connection is to be
    kept though it has been silent for `limits.idle_s`: because a dialog or a binding lives on it.
    All are called on the event loop, none from within `send`.
    """

    def __init__(
        self,
        listeners: Sequence[Listen],
        *,
        receive: Callable[[bytes, Hop], None],
        failed: Callable[[Hop], None],
        closed: Callable[[Hop], None] = lambda _: None,
        in_use: Callable[[Hop], bool] = lambda _: False,
        tls: TlsFiles | None = None,
        limits: StreamLimits = _USUAL,
    ) -> None:
        """Take what is asked for; nothing is bound yet.

        Raises:
            TlsError: the certificate files cannot be used.
        """
        self.listening = tuple(listeners)
        self._receive = receive
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        contexts = TlsContexts(tls or _NO_FILES)
        if any(listen.transport is Transport.TLS for listen in listeners):
            contexts.server()
        self._flows: Iterator[int] = count(1)  # 0 is none
        self._sockets: dict[int, DatagramSocket] = {}
        self._connections = Connections(
            receive=receive,
            failed=failed,
            closed=closed,
            in_use=in_use,
            flows=self._flows,
            tls=contexts,
            limits=limits,
        )

    @property
    def connections(self) -> int:
        """How many are open, or opening."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen; `listening` is then what was bound.

        Raises:
            OSError: which of the listeners cannot be bound, and why; then none is.
        """
        bound = await bind_all(self.listening)
        self.listening = tuple(listen for listen, _ in bound)
        for listen, sock in bound:
            if listen.transport is Transport.UDP:
                made = DatagramSocket(listen, next(self._flows), self._receive)
                await made.start(sock)
                self._sockets[made.flow] = made
        self._connections.start(each for each in bound if each[0].transport is not Transport.UDP)

    async def close(self) -> None:
        """Close everything; what was said last may leave."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        await self._connections.close()

    def send(self, data: bytes, hop: Hop) -> None:
        """Send a message, or have it wait for its connection; never blocks.

        By the socket or connection that `hop.flow` names, if there is one still. Else by UDP from
        the first socket of the right family; by TCP or TLS on a connection that leads there (to
        that `hop.name`, for TLS), or a new one.
        """
        if hop.transport is not Transport.UDP:
            self._connections.send(data, hop)
        elif (sock := self._socket(hop)) is None or not sock.send(data, hop):
            self._loop.call_soon(self._failed, hop)

    def local(self, hop: Hop) -> tuple[str, int]:
        """Our address as that peer sees it, NAT apart, and the port that we listen on for its
        transport: for Via and Contact. Without such a listener, the transport's own port.
        """
        if hop.transport is Transport.UDP:
            sock = self._socket(hop)
            listeners = [sock.listen] if sock else []
            host = None
        else:
            listeners = [at for at in self.listening if at.transport is hop.transport]
            host = self._connections.local_host(hop.flow)
        nearest = _nearest(listeners, hop)
        if host is None:
            bound_to = nearest.host if nearest else ""
            host = local_address_towards((hop.host, hop.port), bound_to)
        return host, nearest.port if nearest else hop.transport.default_port

    def _socket(self, hop: Hop) -> DatagramSocket | None:
        named = self._sockets.get(hop.flow)
        if named is not None and named.listen.is_ipv6 is (":" in hop.host):
            return named
        sockets = {each.listen: each for each in self._sockets.values()}
        nearest = _nearest(list(sockets), hop)
        return sockets[nearest] if nearest else None


def _nearest(listeners: list[Listen], hop: Hop) -> Listen | None:
    """The one on the address that the way to `hop` begins at; else one on all, else any."""
    rest = [listen for listen in listeners if listen.is_ipv6 is (":" in hop.host)]
    if len(rest) > 1:
        begins_at = local_address_towards((hop.host, hop.port), "")
        rest.sort(key=lambda listen: (listen.host != begins_at, not listen.is_wildcard))
    return rest[0] if rest else None
