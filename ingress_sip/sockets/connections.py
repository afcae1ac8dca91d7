"""All TCP and TLS connections: who is let in, which one leads where, and when one goes."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog

from ingress_sip.signalling.presence import source_of
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.binding import Listen
from ingress_sip.sockets.connection import Connection
from ingress_sip.sockets.liveness import StreamLimits
from ingress_sip.sockets.tls import TlsContexts, TlsError
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: Out of descriptors: whoever knocks waits until some come back, s.
_BREATH_S: Final = 0.5
#: What nobody is told more often than that, s.
_TELL_EVERY_S: Final = 1.0
_KEEPALIVE_S: Final = 60
_UNHEARD_MS: Final = 30_000


class Connections:
    """Connections by flow, and by where they lead."""

    def __init__(
        self,
        *,
        receive: Callable[[bytes, Hop], None],
        failed: Callable[[Hop], None],
        closed: Callable[[Hop], None],
        in_use: Callable[[Hop], bool],
        flows: Iterator[int],
        tls: TlsContexts,
        limits: StreamLimits,
    ) -> None:
        """As Transports; `flows` names sockets and connections, each once."""
        self._receive = receive
        self._failed = failed
        self._closed = closed
        self._in_use = in_use
        self._flows = flows
        self._tls = tls
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        #: All that take a place, those that are closing included.
        self._all: set[Connection] = set()
        self._by_flow: dict[int, Connection] = {}
        self._by_hop: dict[Hop, Connection] = {}
        self._from: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptied = asyncio.Event()
        self._told_s = float("-inf")
        self._is_closed = False
        self._local: tuple[Listen, ...] = ()

    def __len__(self) -> int:
        return len(self._all)

    def start(self, listening: Iterable[tuple[Listen, socket.socket]]) -> None:
        """Take connections from these sockets, which are ours from now on."""
        listening = list(listening)
        self._local = tuple(listen for listen, _ in listening)
        for listen, sock in listening:
            self._spawn(self._accept(listen, sock), f"accept {listen}")
        self._spawn(self._look(), "look at connections")

    def send(self, data: bytes, hop: Hop) -> None:
        """By the flow that `hop` names, else by one that leads there, else by a new one."""
        connection = self._by_flow.get(hop.flow)
        if connection is None or connection.hop.transport is not hop.transport:
            connection = self._by_hop.get(hop._replace(flow=0)) or self._connect(hop)
        if connection is None:
            self.failed(hop)
        else:
            connection.send(data, hop)

    def local_host(self, flow: int) -> str | None:
        """Our own address on that connection; None when it is not open."""
        connection = self._by_flow.get(flow)
        return connection.local_host if connection else None

    async def close(self) -> None:
        """Let go of all; what was said last may leave."""
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._all):
            if connection.was_open:
                connection.close()
            else:  # its task had not begun
                connection.never_opened()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.closing_s):
                await self._until_empty()
        for connection in list(self._all):
            connection.abort()
        await asyncio.sleep(0)  # asyncio says so in its next round

    async def _until_empty(self) -> None:
        while self._all:
            self._emptied.clear()
            await self._emptied.wait()

    # -- Owner

    def received(self, data: bytes, hop: Hop) -> None:
        self._receive(data, hop)

    def failed(self, hop: Hop) -> None:
        """Told of on the loop: whoever sends is not called back from within."""
        self._loop.call_soon(self._failed, hop)

    def released(self, connection: Connection) -> None:
        self._by_flow.pop(connection.hop.flow, None)
        key = connection.hop._replace(flow=0)
        if self._by_hop.get(key) is connection:
            del self._by_hop[key]

    def lost(self, connection: Connection) -> None:
        if connection not in self._all:
            return
        self._all.discard(connection)
        if not connection.ours:
            source = source_of(connection.hop.host)
            self._from[source] -= 1
            if self._from[source] <= 0:
                del self._from[source]
        if not self._all:
            self._emptied.set()
        self._loop.call_soon(self._closed, connection.hop)

    # -- those that come to us

    async def _accept(self, listen: Listen, listening: socket.socket) -> None:
        with listening:
            while True:
                try:
                    sock, address = await self._loop.sock_accept(listening)
                except OSError as error:
                    if error.errno != errno.ECONNABORTED:  # whoever knocked is gone
                        metrics.ERRORS.labels("ingress", "accept").inc()
                        self._tell("sip.cannot_accept", listen=str(listen), error=error.strerror)
                        await asyncio.sleep(_BREATH_S)
                    await asyncio.sleep(0)
                    continue
                hop = Hop(listen.transport, *address[:2])
                source = source_of(hop.host)
                if (
                    len(self._all) >= self._limits.connections
                    or self._from[source] >= self._limits.per_host
                ):
                    self._tell("sip.connection_refused", source=hop.host, open=len(self._all))
                    sock.close()
                else:
                    self._from[source] += 1
                    connection = self._new(hop, ours=False)
                    connection.raw = sock
                    self._spawn(self._greet(connection), f"greet {hop}")
                await asyncio.sleep(0)  # a flood of them lets the others have their turn

    async def _greet(self, connection: Connection) -> None:
        with self._opening(connection):
            _prepare(connection)
            secured: dict[str, Any] = {}
            if connection.hop.transport is Transport.TLS:
                secured = self._tls_options(self._tls.server())
            await self._loop.connect_accepted_socket(
                lambda: connection, connection.hand_over(), **secured
            )

    # -- those that we open

    def _connect(self, hop: Hop) -> Connection | None:
        if self._is_closed or len(self._all) >= self._limits.connections:
            return None
        connection = self._new(hop, ours=True)
        self._spawn(self._open(connection), f"connect {hop}")
        return connection

    async def _open(self, connection: Connection) -> None:
        hop = connection.hop
        is_ipv6 = ":" in hop.host
        with self._opening(connection):
            sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
            connection.raw = sock
            _prepare(connection)
            if (host := self._source_host(is_ipv6)) is not None:
                sock.bind((host, 0))
            async with asyncio.timeout(self._limits.connect_s):
                await self._loop.sock_connect(sock, (hop.host, hop.port))
            secured: dict[str, Any] = {}
            if hop.transport is Transport.TLS:
                secured = self._tls_options(self._tls.client())
                secured["server_hostname"] = hop.name or hop.host
            await self._loop.create_connection(
                lambda: connection, sock=connection.hand_over(), **secured
            )

    def _source_host(self, is_ipv6: bool) -> str | None:
        """Who listens on one address is known by it: trunks keep lists of them."""
        hosts = {at.host for at in self._local if at.is_ipv6 is is_ipv6}
        if len(hosts) != 1:
            return None
        (host,) = hosts
        address = ipaddress.ip_address(host)
        return None if address.is_unspecified or address.is_loopback else host

    def _tls_options(self, context: ssl.SSLContext) -> dict[str, Any]:
        return {
            "ssl": context,
            "ssl_handshake_timeout": self._limits.handshake_s,
            "ssl_shutdown_timeout": self._limits.closing_s,
        }

    # -- both

    def _new(self, hop: Hop, *, ours: bool) -> Connection:
        hop = hop._replace(flow=next(self._flows))
        connection = Connection(hop, self, self._limits, ours=ours)
        self._all.add(connection)
        self._by_flow[hop.flow] = connection
        self._by_hop[hop._replace(flow=0)] = connection
        return connection

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._limits.look_s)
            for connection in list(self._all):
                try:
                    connection.look(self._in_use)
                except Exception:  # ours: those behind it are to be looked at still
                    metrics.ERRORS.labels("ingress", "connection").inc()
                    _log.exception("sip.look_failed", peer=str(connection.hop))

    @contextmanager
    def _opening(self, connection: Connection) -> Iterator[None]:
        """Whatever comes of the attempt, the connection is open or given up at the end."""
        try:
            yield
        except (OSError, TlsError) as error:
            event = "sip.unreachable" if connection.ours else "sip.handshake_failed"
            self._tell(event, peer=str(connection.hop), error=str(error) or type(error).__name__)
        finally:
            if not connection.was_open:
                connection.never_opened()

    def _tell(self, event: str, **what: object) -> None:
        """Strangers make these happen: one a second is told."""
        now = self._loop.time()
        if now - self._told_s >= _TELL_EVERY_S:
            self._told_s = now
            _log.info(event, **what)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            metrics.ERRORS.labels("ingress", type(error).__name__).inc()
            _log.error("sip.task_failed", task=task.get_name(), exc_info=error)


def _prepare(connection: Connection) -> None:
    """Small messages leave at once, and a peer that fell silent is found out."""
    assert connection.raw is not None
    sock = connection.raw
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # what was sent has to be acknowledged within, ms
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_MS)
