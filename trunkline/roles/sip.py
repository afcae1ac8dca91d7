"""The phone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.pools import PoolWatch
from bus.session import BusSession
from bus.tasks import stop
from ingress_sip.server import SipConfig, SipServer
from trunkline.agents_file import load_agents
from trunkline.errors import UserError
from trunkline.listen import written
from trunkline.roles.running import Running, now_ms
from trunkline.settings import Settings


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    agents = load_agents(settings.agents)
    listen = next((one for one in settings.sip_listen if one.transport == "udp"), None)
    if listen is None:
        raise UserError(f"TRUNKLINE_SIP_LISTEN={written(settings.sip_listen)}: add one for udp")
    config = SipConfig(
        host=listen.host,
        port=listen.port,
        rtp_first=settings.rtp_ports.first,
        rtp_last=settings.rtp_ports.last,
        public_address=settings.public_address,
        max_calls=settings.max_calls,
        max_call_s=settings.max_call_seconds,
        drain_s=settings.drain_seconds,
        bus_patience_s=settings.bus_patience_seconds,
    )
    clock_s = asyncio.get_running_loop().time
    pools = PoolWatch(
        session.redis,
        session.presence,
        clock_s,
        grace_s=settings.pool_grace_seconds,
        max_lag_s=settings.max_lag_seconds,
    )
    server = SipServer(config, agents, session, now_ms, pools)
    watching = asyncio.create_task(pools.run(), name="pool watch")
    try:
        await server.start()
    except OSError as error:
        await stop(watching)
        raise UserError(
            f"cannot listen on {listen}: {error}; free the port or set TRUNKLINE_SIP_LISTEN"
        ) from error
    host, port = server.address
    try:
        yield Running({"sip": f"udp:{host}:{port}"}, lambda: server.calls, server.drain)
    finally:
        await server.stop()
        await stop(watching)
