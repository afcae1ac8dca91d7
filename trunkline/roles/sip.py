"""The phone."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from bus.bindings import Bindings
from bus.broker import BusError
from bus.dialling import Dialling
from bus.session import BusSession
from bus.tasks import stop
from ingress_sip.endpoint import EndpointConfig
from ingress_sip.media_setup import MediaConfig, codecs_of
from ingress_sip.sdp.security import MediaSecurity
from ingress_sip.server import SipConfig, SipServer, Surroundings
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.sockets.binding import Listen
from ingress_sip.sockets.resolver import Resolver
from ingress_sip.sockets.tls import TlsError
from ingress_sip.trunking.config import Trunks
from telemetry.log import get_logger
from trunkline.agents_file import load_agents
from trunkline.errors import UserError
from trunkline.roles.pools import pool_watch
from trunkline.roles.running import Running, now_ms
from trunkline.settings import Settings
from trunkline.sip_listeners import families, listeners, source_limits, tls_files
from trunkline.trunks_file import load_trunks

_log = get_logger(__name__)
#: Phones' bindings are kept on the bus so often, s.
_KEEP_S: Final = 5.0
_SOCKETS: Final = 32_768


def config_of(settings: Settings, trunks: Trunks) -> SipConfig:
    """What the settings and the trunks' file come to."""
    phones = trunks.phones
    listen = listeners(settings)
    allowed = (str(network) for trunk in trunks.trunks for network in trunk.allow)
    return SipConfig(
        endpoint=EndpointConfig(
            listen=listen,
            public_address=settings.public_address,
            tls=tls_files(settings),
            timers=TimerPolicy(settings.sip_session_timer_seconds),
            domains=frozenset((phones.realm, *phones.domains)) if phones else frozenset(),
        ),
        rtp_host=_rtp_host(listen),
        rtp_first=settings.rtp_ports.first,
        rtp_last=settings.rtp_ports.last,
        media=MediaConfig(
            codecs_of(settings.sip_codecs),
            MediaSecurity(settings.sip_srtp),
            settings.sip_tone_detection,
        ),
        trunks=trunks,
        limits=source_limits(settings, allowed),
        max_calls=settings.max_calls,
        max_call_s=settings.max_call_seconds,
        drain_s=settings.drain_seconds,
        bus_patience_s=settings.bus_patience_seconds,
    )


def _rtp_host(listen: tuple[Listen, ...]) -> str:
    """Audio comes where the signalling does: to one address, or to all."""
    hosts = {each.host for each in listen}
    return hosts.pop() if len(hosts) == 1 else "0.0.0.0"  # noqa: S104


def _allow_sockets() -> None:
    """Two ports for each call and a thousand connections are more than the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _keep_bindings(server: SipServer, bindings: Bindings) -> None:
    """Take up the phones that were registered before us, and keep ours for whoever comes after."""
    try:
        server.remember(*await bindings.load())
    except (BusError, OSError, ValueError) as error:
        _log.warning("sip.bindings_lost", error=str(error))
    while True:
        await asyncio.sleep(_KEEP_S)
        with suppress(BusError, OSError):
            await bindings.save(server.bindings())


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    agents = load_agents(settings.agents)
    trunks = load_trunks(settings.trunks, settings.secret)
    pools = pool_watch(settings, session)
    _allow_sockets()
    config = config_of(settings, trunks)
    resolver = Resolver(families=families(settings))
    around = Surroundings(session, now_ms, settings.secret, resolver.resolve, pools)
    try:
        server = SipServer(config, agents, around)
    except TlsError as error:
        raise UserError(str(error)) from error
    watching = asyncio.create_task(pools.run(), name="pool watch")
    try:
        await server.start()
    except OSError as error:
        await stop(watching)
        raise UserError(
            f"cannot listen: {error}; free the port or set TRUNKLINE_SIP_LISTEN"
        ) from error
    dialling = Dialling(session, lease_ms=settings.lease_ms)
    await dialling.serve(server.place, server.cancel)
    listening = ",".join(str(listen) for listen in server.listening)
    bindings = Bindings(session.redis, listening)
    telling = [
        asyncio.create_task(
            session.trunks.keep_showing(session.name, server.lines), name="trunk states"
        )
    ]
    if trunks.phones is not None:
        telling.append(asyncio.create_task(_keep_bindings(server, bindings), name="bindings"))

    async def drain() -> None:
        await dialling.drain()
        await server.drain()

    try:
        yield Running({"sip": listening}, lambda: server.calls, drain)
    finally:
        await stop(*telling)
        with suppress(BusError):
            await session.trunks.hide(session.name)
            if trunks.phones is not None:
                await bindings.save(server.bindings())
        await server.stop()
        await stop(watching)
