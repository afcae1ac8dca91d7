"""The web ingress's HTTP: media streams, webhooks, and how it is.

GET  /twilio/media, /telnyx/media, /plivo/media, /vonage/media    a stream, by WebSocket
POST /twilio/...                                                  webhooks (routes.py)
GET  /health, /ready, /metrics
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingress_web.dialects.messages import Dialect
from ingress_web.dialects.registry import DIALECTS
from ingress_web.gate import harden
from ingress_web.routes import Handler
from ingress_web.server import WebServer
from ingress_web.streams import Streams

#: Webhooks are small.
MAX_BODY: Final = 65_536


def make_app(
    server: WebServer, streams: Streams, routes: Iterable[web.RouteDef]
) -> web.Application:
    """All of it; `routes` are the webhooks'."""
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes([
        *(web.get(f"/{name}/media", _stream(streams, make)) for name, make in DIALECTS.items()),
        *routes,
        web.get("/health", _health),
        web.get("/ready", _ready(server)),
        web.get("/metrics", _metrics),
    ])  # fmt: skip
    app.on_response_prepare.append(harden)
    app.on_shutdown.append(lambda _: streams.close())
    return app


def _stream(streams: Streams, make: Callable[[], Dialect]) -> Handler:
    async def take(request: web.Request) -> web.StreamResponse:
        return await streams.take(request, make())

    return take


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _ready(server: WebServer) -> Handler:
    async def ready(_: web.Request) -> web.Response:
        """Would a call be taken? For whoever spreads calls over ingresses."""
        if (lack := server.lack()) is not None:
            return web.Response(status=503, text=f"{lack}\n", headers={"Retry-After": "5"})
        return web.Response(text="ok\n")

    return ready


async def _metrics(request: web.Request) -> web.Response:
    """For a Prometheus beside us; what comes through a proxy comes from anywhere."""
    if not _is_near(request.remote) or "X-Forwarded-For" in request.headers:
        raise web.HTTPNotFound
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _is_near(source: str | None) -> bool:
    try:
        return ipaddress.ip_address(source or "").is_private
    except ValueError:
        return False
