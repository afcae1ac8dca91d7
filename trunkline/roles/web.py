"""Calls that carriers bring over the web: webhooks and media streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from bus.session import BusSession
from bus.tasks import stop
from ingress_web.actions import Actions
from ingress_web.app import make_app
from ingress_web.reception import Reception, StreamKeys
from ingress_web.server import WebConfig, WebServer
from ingress_web.streams import Streams
from ingress_web.tokens import StreamTokens
from telemetry.log import get_logger
from trunkline.agents_file import load_agents
from trunkline.errors import UserError
from trunkline.roles.pools import pool_watch
from trunkline.roles.running import Running, now_ms
from trunkline.settings import Settings

_log = get_logger(__name__)


def config_of(settings: Settings) -> WebConfig:
    """What the settings come to."""
    return WebConfig(
        max_calls=settings.max_calls,
        max_call_s=settings.max_call_seconds,
        drain_s=settings.drain_seconds,
        bus_patience_s=settings.bus_patience_seconds,
    )


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    where = settings.web_listen
    if where is None:
        raise UserError("nowhere to listen: set TRUNKLINE_WEB_LISTEN, like 127.0.0.1:8088")
    agents = load_agents(settings.agents)
    pools = pool_watch(settings, session)
    clock_s = asyncio.get_running_loop().time
    server = WebServer(config_of(settings), agents, session, now_ms=now_ms, pools=pools)
    actions = Actions(server, {})
    server.doer = actions
    reception = Reception(server, actions, _keys(settings), clock_s)
    streams = Streams(server, reception.judge)
    if settings.twilio_unsigned:
        _log.warning(
            "twilio.unsigned", hint="whoever reaches WEB_LISTEN can make calls: never in production"
        )
    watching = asyncio.create_task(pools.run(), name="pool watch")
    runner = web.AppRunner(
        make_app(server, streams, ()), access_log=None, handle_signals=False, shutdown_timeout=2
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, where.host, where.port, backlog=1024)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        await stop(watching)
        raise UserError(
            f"cannot listen on {where}: {error.strerror}; free the port or set TRUNKLINE_WEB_LISTEN"
        ) from error
    await server.start()
    listening = where._replace(port=runner.addresses[0][1])
    try:
        yield Running({"web": f"http://{listening}"}, lambda: server.calls, server.drain)
    finally:
        await runner.cleanup()
        await server.stop()
        await stop(watching)


def _keys(settings: Settings) -> StreamKeys:
    secret = settings.twilio_auth_token
    key = settings.stream_key
    return StreamKeys(
        # All ingresses of an installation know it, and nobody learns the auth token from it.
        StreamTokens(
            hashlib.sha256(b"trunkline.streams:" + secret.get_secret_value().encode()).digest()
            if secret
            else None
        ),
        key.get_secret_value() if key else None,
        settings.twilio_unsigned,
    )
