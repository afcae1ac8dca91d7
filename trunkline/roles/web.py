"""Calls that carriers bring over the web: webhooks and media streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from pydantic import SecretStr

from bus.dialling import Dialling
from bus.session import BusSession
from bus.tasks import stop
from ingress_web.actions import Actions
from ingress_web.app import make_app
from ingress_web.carriers.carrier import Carrier
from ingress_web.carriers.twilio_check import TwilioCheck
from ingress_web.carriers.twilio_rest import TwilioCarrier
from ingress_web.carriers.twilio_webhook import TwilioWebhook
from ingress_web.gate import Gate
from ingress_web.outbound import Outbound
from ingress_web.proxies import Proxies
from ingress_web.rate import RequestRate
from ingress_web.reception import Reception, StreamKeys
from ingress_web.refusals import Refusals
from ingress_web.routes import twilio_routes
from ingress_web.server import WebConfig, WebServer
from ingress_web.streams import Streams
from ingress_web.tokens import StreamTokens
from trunkline.agents_file import load_agents
from trunkline.errors import UserError
from trunkline.listen import HostPort
from trunkline.roles.pools import pool_watch
from trunkline.roles.running import Running, now_ms
from trunkline.settings import Settings


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
    proxies = Proxies(settings.public_url, settings.trusted_proxies)
    refusals = Refusals(clock_s)
    gate = Gate(proxies, RequestRate(settings.web_rate), clock=clock_s, refusals=refusals)
    check = TwilioCheck(
        _plain(settings.twilio_auth_token),
        settings.twilio_account_sid,
        unsigned=settings.twilio_unsigned,
        trusts=proxies.trusts,
    )
    carriers: dict[str, Carrier] = {}
    actions = server.doer = Actions(server, carriers)
    tokens = _tokens(settings)
    keys = StreamKeys(tokens, _plain(settings.stream_key), check.allows_unsigned)
    reception = Reception(server, actions, keys, clock_s)
    webhook = TwilioWebhook(reception, tokens, check, clock=clock_s, refusals=refusals)
    streams = Streams(server, reception.judge, gate, rate=settings.web_message_rate)
    async with AsyncExitStack() as stack:
        if (twilio := _twilio(settings, webhook)) is not None:
            carriers["twilio"] = twilio
            stack.push_async_callback(twilio.close)
        watching = asyncio.create_task(pools.run(), name="pool watch")
        stack.push_async_callback(stop, watching)
        app = make_app(server, streams, twilio_routes(webhook, gate))
        listening = await stack.enter_async_context(_served(app, where))
        await server.start()
        stack.push_async_callback(server.stop)
        dialling = Dialling(session, lease_ms=settings.lease_ms, queue="dial_twilio")
        if twilio is not None:
            outbound = Outbound(server, agents, twilio, settings.twilio_number or "")
            await dialling.serve(outbound.place, outbound.cancel)

        async def drain() -> None:
            await dialling.drain()
            await server.drain()

        yield Running({"web": f"http://{listening}"}, lambda: server.calls, drain)


@asynccontextmanager
async def _served(app: web.Application, where: HostPort) -> AsyncIterator[HostPort]:
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
    await runner.setup()
    try:
        await _listen(runner, where)
        yield where._replace(port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, where: HostPort) -> None:
    """Raises UserError."""
    try:
        await web.TCPSite(runner, where.host, where.port, backlog=1024).start()
    except OSError as error:
        raise UserError(
            f"cannot listen on {where}: {error.strerror}; free the port or set TRUNKLINE_WEB_LISTEN"
        ) from error


def _twilio(settings: Settings, webhook: TwilioWebhook) -> TwilioCarrier | None:
    """Twilio's REST API, if we have an account."""
    account, secret = settings.twilio_account_sid, _plain(settings.twilio_auth_token)
    if account is None or secret is None:
        return None
    return TwilioCarrier(
        account,
        secret,
        hook_url=webhook.hook_url,
        public_url=settings.public_url,
        api_url=settings.twilio_api_url,
    )


def _tokens(settings: Settings) -> StreamTokens:
    """All ingresses of an installation have one key; nobody learns the auth token from it."""
    secret = _plain(settings.twilio_auth_token)
    key = hashlib.sha256(f"trunkline.streams:{secret}".encode()).digest() if secret else None
    return StreamTokens(key)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
