"""A WebSocket as a call uses it: what is to be sent is put down, and a task of its own sends it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp import web

from bus.tasks import stop

_log = structlog.get_logger(__name__)
#: A peer that lets more than this wait, in messages or bytes, does not read: it is cut off.
_MOST_WAITING: Final = 1000
_MOST_BYTES: Final = 1 << 20
#: How long the last messages and the closing handshake may take, s.
_CLOSE_S: Final = 2.0


class SocketConnection:
    """Sends in order, and never keeps a tick waiting (ingress_web.stream.Connection)."""

    def __init__(self, socket: web.WebSocketResponse, abort: Callable[[], None]) -> None:
        """`abort()` cuts the line, for a peer that would not hear us close it."""
        self._socket = socket
        self._abort = abort
        self._waiting: deque[str | bytes] = deque()
        self._bytes = 0
        self._due = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._send_forever(), name="stream writer")

    def send(self, message: str | bytes) -> None:
        """See `Connection`."""
        if self._closing:
            return
        self._waiting.append(message)
        self._bytes += len(message)
        if len(self._waiting) > _MOST_WAITING or self._bytes > _MOST_BYTES:
            _log.warning("stream.not_read", waiting=len(self._waiting))
            self._closing = True
            self._waiting.clear()
            self._task.cancel()
            self._abort()
        else:
            self._due.set()

    def close(self) -> None:
        """See `Connection`."""
        self._closing = True
        self._due.set()

    async def closed(self) -> None:
        """Wait until it is closed: what was put down is sent first, if the peer still reads."""
        self.close()
        await asyncio.wait({self._task}, timeout=_CLOSE_S)
        await stop(self._task)

    async def _send_forever(self) -> None:
        try:
            while not self._closing or self._waiting:
                await self._due.wait()
                self._due.clear()
                while self._waiting:
                    await self._send(self._waiting.popleft())
            await self._socket.close()
        except OSError:
            self._closing = True  # it is gone: whoever reads from it knows

    async def _send(self, message: str | bytes) -> None:
        self._bytes -= len(message)
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)
