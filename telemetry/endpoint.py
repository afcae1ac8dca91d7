"""`/metrics` and `/health` of a role process: two read-only pages on a port of its own.

Deliberately not a web framework: a worker answers Prometheus and a container's health check, and
nothing else ever talks to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

_REQUEST_BYTES = 8192
_REQUEST_SECONDS = 5.0


def _always_well() -> None:
    """Stand in for a health check where the process has none."""


@dataclass(frozen=True, slots=True)
class MetricsEndpoint:
    """A listening endpoint. `port` is the one it got, also when 0 was asked for."""

    host: str
    port: int
    _server: asyncio.Server

    async def close(self) -> None:
        """Stop listening."""
        self._server.close()
        await self._server.wait_closed()


async def serve(
    host: str,
    port: int,
    *,
    health: Callable[[], str | None] = _always_well,
    registry: CollectorRegistry = REGISTRY,
) -> MetricsEndpoint:
    """Serve `/metrics` and `/health` until closed.

    Args:
        host: Address to bind.
        port: TCP port; 0 takes any free one.
        health: Returns None when all is well, or one line on what is not (answered with 503).
        registry: What `/metrics` shows.

    Raises:
        OSError: the address cannot be bound.
    """

    def respond(request_line: bytes) -> bytes:
        method, _, rest = request_line.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", "text/plain", b"GET only\n")
        if path == "/metrics":
            return _response("200 OK", CONTENT_TYPE_LATEST, generate_latest(registry))
        if path == "/health":
            trouble = health()
            status = "200 OK" if trouble is None else "503 Service Unavailable"
            return _response(status, "text/plain", f"{trouble or 'ok'}\n".encode())
        return _response("404 Not Found", "text/plain", b"/metrics and /health are here\n")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(respond(head.partition(b"\r\n")[0]))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # not an HTTP client, or one that went away
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=_REQUEST_BYTES)
    bound_host, bound_port = server.sockets[0].getsockname()[:2]
    return MetricsEndpoint(bound_host, bound_port, server)


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
