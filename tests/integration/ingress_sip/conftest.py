"""A SIP server on loopback, and phones to call it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bus.pools import PoolWatch
from bus.session import BusSession
from ingress_sip.endpoint import EndpointConfig
from ingress_sip.server import SipConfig, SipServer, Surroundings
from ingress_sip.signalling.routing import Transport
from ingress_sip.sockets.resolver import Resolver
from ingress_sip.sockets.transports import Listen
from tests.integration.ingress_sip.phone import (
    AGENTS,
    Phone,
    StartServer,
    open_port,
)

#: What the environment holds.
SECRETS = {"ALICE_PASSWORD": "alice's own", "TRUNK_PASSWORD": "the trunk's"}


def now_ms() -> float:
    return time.time() * 1000


@pytest.fixture
async def start_server(session: BusSession) -> AsyncIterator[StartServer]:
    servers: list[SipServer] = []

    async def started(pools: PoolWatch | None = None, **options: Any) -> SipServer:
        listen = (Listen(Transport.UDP, "127.0.0.1", 0),)
        usual = {
            "endpoint": EndpointConfig(listen),
            "rtp_host": "127.0.0.1",
            "rtp_first": 42_000,
            "rtp_last": 42_200,
            "drain_s": 0.0,
        }
        around = Surroundings(session, now_ms, SECRETS.get, Resolver().resolve, pools)
        server = SipServer(SipConfig(**{**usual, **options}), AGENTS, around)
        await server.start()
        servers.append(server)
        return server

    yield started
    for server in servers:
        await server.drain()
        await server.stop()


@pytest.fixture
async def server(start_server: StartServer) -> SipServer:
    return await start_server()


@pytest.fixture
async def new_phone() -> AsyncIterator[Callable[[SipServer], Awaitable[Phone]]]:
    phones: list[Phone] = []

    async def made(server: SipServer) -> Phone:
        phones.append(Phone(server, await open_port(), await open_port()))
        return phones[-1]

    yield made
    for phone in phones:
        phone.sip.transport.close()
        phone.rtp.transport.close()
