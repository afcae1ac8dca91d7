"""One TCP or TLS connection: octets into messages, messages into a bounded buffer."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, cast

import structlog

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.parse import MalformedRequestError
from ingress_sip.signalling.replies import build_malformed_response
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.stream import KeepAlive, StreamReader
from ingress_sip.sockets.liveness import Due, Liveness, StreamLimits
from telemetry import metrics

_log = structlog.get_logger(__name__)
_PING: Final = b"\r\n\r\n"
_PONG: Final = b"\r\n"
#: asyncio's own 256 KiB read buffer costs two page faults each time.
_READ: Final = 65_536


class Owner(Protocol):
    """Whoever keeps connections."""

    def received(self, data: bytes, hop: Hop) -> None:
        """A whole message came."""

    def failed(self, hop: Hop) -> None:
        """What was to go to `hop` does not."""

    def released(self, connection: Connection) -> None:
        """Nothing more is to be sent on it."""

    def lost(self, connection: Connection) -> None:
        """It is gone."""


class Connection(asyncio.Protocol):
    """A connection, from before it is open until it is gone."""

    def __init__(self, hop: Hop, owner: Owner, limits: StreamLimits, *, ours: bool) -> None:
        """`hop` is the peer, its flow this connection. `ours`: we connect."""
        self.hop = hop
        self.ours = ours
        self._owner = owner
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._life = Liveness(limits, self._now(), ours=ours, spread=random.random())  # noqa: S311 - to spread pings
        self._reader = StreamReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[tuple[bytes, Hop]] = []
        self._waiting_octets = 0
        self._closing = False
        #: Has it ever been open?
        self.was_open = False
        #: The socket, until asyncio has it.
        self.raw: socket.socket | None = None

    # -- what its keeper does with it

    def send(self, data: bytes, hop: Hop) -> None:
        """Send now, or when it is open; `hop` is what is named if that comes to nothing."""
        if self._transport is None:
            self._waiting_octets += len(data)
            if self._closing or self._waiting_octets > self._limits.unsent:
                self._owner.failed(hop)
            else:
                self._waiting.append((data, hop))
            return
        self._life.said(self._now())
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > self._limits.unsent:
            _log.info("sip.peer_does_not_read", peer=str(self.hop))
            self.abort()
            self._owner.failed(hop)

    def look(self, in_use: Callable[[Hop], bool]) -> None:
        """Do what is due. `in_use` says whether it is to be kept though it is quiet."""
        match self._life.due(self._now()):
            case None:
                pass
            case Due.PING:
                self._ping()
            case Due.IDLE if in_use(self.hop):
                self._life.said(self._now())
            case Due.IDLE:
                self.close()
            case (Due.SLOW | Due.DEAD | Due.STUCK) as why:
                _log.debug("sip.connection_dropped", peer=str(self.hop), why=why.value)
                self.abort()

    def close(self) -> None:
        """Say what is to be said still, and let go."""
        self._release()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Let go at once."""
        self._release()
        if self._transport is not None:
            self._transport.abort()

    def never_opened(self) -> None:
        """It could not be opened: whatever waited for it fails."""
        self._release()
        if self.raw is not None:
            self.raw.close()
        waiting, self._waiting = self._waiting, []
        for hop in {hop: None for _, hop in waiting}:
            self._owner.failed(hop)
        self._owner.lost(self)

    def hand_over(self) -> socket.socket:
        """The socket, for asyncio to have from now on."""
        assert self.raw is not None
        raw, self.raw = self.raw, None
        return raw

    @property
    def local_host(self) -> str | None:
        """Our own address on it; None when it is not open."""
        if self._transport is None:
            return None
        return str(self._transport.get_extra_info("sockname")[0])

    def _release(self) -> None:
        if not self._closing:
            self._closing = True
            self._life.closing(self._now())
            self._owner.released(self)

    def _ping(self) -> None:
        """RFC 5626 3.5.1: it keeps the way through a NAT, and finds that the peer is gone."""
        if self._transport is not None:
            self._life.pinged(self._now(), random.random())  # noqa: S311 - to spread pings
            self._transport.write(_PING)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = open_ = cast(asyncio.Transport, transport)
        self.was_open = True
        if hasattr(transport, "max_size"):
            transport.max_size = _READ
        if self._closing:
            open_.abort()
            return
        waiting, self._waiting = self._waiting, []
        for data, hop in waiting:
            self.send(data, hop)

    def data_received(self, data: bytes) -> None:
        whole, pings = False, 0
        try:
            for item in self._reader.feed(data):
                if item is KeepAlive.PING:
                    pings += 1
                elif item is KeepAlive.PONG:
                    self._life.ponged()
                elif not self._closing:
                    whole = True
                    self._hand_on(item)
        except SipError as error:
            self._refuse(error)
            return
        self._life.heard(self._now(), whole=whole, mid_message=self._reader.is_mid_message)
        if pings and self._transport is not None and not self._closing:
            self._transport.write(_PONG * pings)
            if self._transport.get_write_buffer_size() > self._limits.unsent:
                self.abort()

    def eof_received(self) -> None:
        """The peer says no more: asyncio closes it, and whoever sends now takes another one."""
        self._release()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._transport is not None:
            self._transport = None
            self._release()
            self._owner.lost(self)

    def _hand_on(self, message: bytes) -> None:
        try:
            self._owner.received(message, self.hop)
        except Exception:
            # Ours, as receivers take any octets: the connection must outlive it.
            metrics.ERRORS.labels("ingress", "message").inc()
            _log.exception("stream.receiver_failed", source=self.hop.host)

    def _refuse(self, error: SipError) -> None:
        """RFC 3261 18.3: answer what cannot be cut, where somebody can be answered; then close."""
        _log.debug("sip.stream_broken", peer=str(self.hop), why=error.reason)
        if isinstance(error, MalformedRequestError) and self._transport and not self._closing:
            with suppress(SipError):
                answer = build_malformed_response(
                    error, error.request_headers, self.hop, to_tag=secrets.token_hex(8)
                )
                self._transport.write(answer.encode())
        self.close()
