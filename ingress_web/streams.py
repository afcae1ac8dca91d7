"""The WebSocket side: connections in, their messages to the calls that they belong to.

A connection has said nothing that we believe until its `start` is admitted: until then it costs a
place among few, and is closed after some seconds. Afterwards it may say no more than a call does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from ingress_web.call import WebCall
from ingress_web.connection import SocketConnection
from ingress_web.dialects.messages import (
    MAX_MESSAGE,
    Dialect,
    DialectError,
    Message,
    Started,
    Stopped,
)
from ingress_web.door import Offer
from ingress_web.gate import Gate
from ingress_web.server import RefusedError, WebServer, refused
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: How long a connection may take to say what it is, s, and in how many messages.
_START_S: Final = 10.0
_START_MESSAGES: Final = 4
#: So many may be about to say it, at once.
_MOST_STARTING: Final = 100
#: What a network that stalled may bring at once: so many seconds' messages.
_BURST_S: Final = 10.0
#: Refusals that would be the same at another time.
_FINAL: Final = frozenset({"no_agent", "token", "unexpected", "second_stream", "over", "rate"})
#: A connection that answers no ping for this long is gone, s.
_HEARTBEAT_S: Final = 15.0
#: How long a peer may take to answer our closing, s.
_GOODBYE_S: Final = 1.0

#: What a stream that begins is a call of: its request, and who sent that. Raises RefusedError.
Admit = Callable[[web.Request, str, Dialect, Started], Offer]


class Streams:
    """Takes WebSocket connections (aiohttp handlers)."""

    def __init__(self, server: WebServer, admit: Admit, gate: Gate, *, rate: float = 200.0) -> None:
        """`rate`: messages a second that a stream may send."""
        self._server = server
        self._admit = admit
        self._gate = gate
        self._rate = rate
        self._starting = 0
        self._open: set[web.WebSocketResponse] = set()

    async def take(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        """Carry one connection from its upgrade to its end.

        Raises:
            web.HTTPException: there is none.
        """
        source = self._gate.source(request)
        if self._starting >= _MOST_STARTING:
            metrics.WEB_REFUSED.labels("crowd").inc()
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "5"})
        socket = web.WebSocketResponse(
            timeout=_GOODBYE_S, max_msg_size=MAX_MESSAGE, heartbeat=_HEARTBEAT_S, compress=False
        )
        if not socket.can_prepare(request):
            raise web.HTTPUpgradeRequired(text="a media stream comes by WebSocket\n")
        self._starting += 1
        try:
            await socket.prepare(request)
        except BaseException:
            self._starting -= 1
            raise
        self._open.add(socket)
        transport = request.transport
        assert transport is not None  # it was upgraded just now
        connection = SocketConnection(socket, transport.abort)
        try:
            peer = _Peer(request, source, socket, connection, dialect)
            await _Reader(self._server, self._admit, peer, self._rate).run(self._started)
        finally:
            self._open.discard(socket)
            await connection.closed()
        return socket

    def _started(self) -> None:
        self._starting -= 1

    async def close(self) -> None:
        """End every connection."""
        for socket in list(self._open):
            await socket.close(code=WSCloseCode.GOING_AWAY)


class _Peer(NamedTuple):
    request: web.Request
    source: str
    socket: web.WebSocketResponse
    connection: SocketConnection
    dialect: Dialect


class _Reader:
    """Reads one connection."""

    def __init__(self, server: WebServer, admit: Admit, peer: _Peer, rate: float) -> None:
        self._server = server
        self._admit = admit
        self._request, self._source, self._socket, self._connection, self._dialect = peer
        self._rate = rate
        self._tokens = rate * _BURST_S
        self._counted_s = asyncio.get_running_loop().time()

    async def run(self, started: Callable[[], None]) -> None:
        """Read to the end. `started()` is called once it is known what the connection is."""
        call, stopped = None, False
        try:
            try:
                async with asyncio.timeout(_START_S):
                    call, rest = await self._begin()
            finally:
                started()
            if call is not None:
                stopped = self._heard(call, rest) or await self._carry(call)
        except TimeoutError:
            await self._refuse(WSCloseCode.POLICY_VIOLATION, "it said nothing", "silent")
        except DialectError as error:
            await self._refuse(WSCloseCode.UNSUPPORTED_DATA, str(error), "dialect")
        except RefusedError as refusal:
            refused(refusal, self._dialect.name)
            final = refusal.reason in _FINAL
            code = WSCloseCode.POLICY_VIOLATION if final else WSCloseCode.TRY_AGAIN_LATER
            await self._refuse(code, str(refusal), refusal.reason)
        finally:
            if call is not None:
                self._server.disconnected(call, self._connection, stopped=stopped)

    async def _begin(self) -> tuple[WebCall | None, Sequence[Message]]:
        """The call that the connection begins, and what it said in the same breath."""
        for _ in range(_START_MESSAGES):
            messages = await self._next()
            if messages is None:
                return None, ()
            for number, message in enumerate(messages):
                if isinstance(message, Started):
                    offer = self._admit(self._request, self._source, self._dialect, message)
                    call = await self._server.connect(
                        offer, message, self._dialect, self._connection, self._source
                    )
                    return call, messages[number + 1 :]
        raise DialectError(f"no start within {_START_MESSAGES} messages")

    async def _carry(self, call: WebCall) -> bool:
        """Give the call what its stream says. Returns whether the stream said that it is over."""
        while not call.over:
            messages = await self._next()
            if messages is None:
                # Some say that it is over by nothing but a proper end (RFC 6455 7.4.1: 1000).
                return self._dialect.closes and self._socket.close_code == WSCloseCode.OK
            if self._heard(call, messages):
                return True
        return False

    def _heard(self, call: WebCall, messages: Sequence[Message]) -> bool:
        for message in messages:
            if isinstance(message, Stopped):
                return True
            self._server.received(call, message)
        return False

    async def _next(self) -> Sequence[Message] | None:
        """What the next message says; None at the end. Raises DialectError, RefusedError."""
        received = await self._socket.receive()
        if received.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return None
        now = asyncio.get_running_loop().time()
        self._tokens = self._tokens + (now - self._counted_s) * self._rate - 1
        self._tokens = min(self._tokens, self._rate * _BURST_S)
        self._counted_s = now
        if self._tokens < 0:
            raise RefusedError(f"more than {self._rate:g} messages a second", reason="rate")
        return self._dialect.read(received.data)

    async def _refuse(self, code: WSCloseCode, why: str, reason: str) -> None:
        metrics.WEB_REFUSED.labels(reason).inc()
        _log.warning("stream.refused", carrier=self._dialect.name, source=self._source, why=why)
        await self._socket.close(code=code, message=why.encode()[:120])
