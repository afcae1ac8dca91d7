"""A SIP server on loopback, and phones to call it."""

from __future__ import annotations

import functools
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
from ingress_sip.sockets.udp import Receive, RtpSocket
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.agent import Story
from tests.integration.ingress_sip.party import NewParty, Party, party
from tests.integration.ingress_sip.phone import (
    AGENTS,
    Phone,
    StartServer,
    open_port,
)
from tests.integration.ingress_sip.talk import NewSpeaker, Speaker, speaker

#: What the environment holds.
SECRETS = {"ALICE_PASSWORD": "alice's own", "TRUNK_PASSWORD": "the trunk's"}


def now_ms() -> float:
    return time.time() * 1000


@pytest.fixture
async def start_server(session: BusSession) -> AsyncIterator[StartServer]:
    """Starts servers; each has to give back all that it took."""
    servers: list[tuple[SipServer, list[RtpSocket]]] = []

    async def started(
        pools: PoolWatch | None = None, on: BusSession | None = None, **options: Any
    ) -> SipServer:
        listen = (Listen(Transport.UDP, "127.0.0.1", 0),)
        usual = {
            "endpoint": EndpointConfig(listen),
            "rtp_host": "127.0.0.1",
            "rtp_first": 42_000,
            "rtp_last": 42_200,
            "drain_s": 0.0,
        }
        around = Surroundings(on or session, now_ms, SECRETS.get, Resolver().resolve, pools)
        server = SipServer(SipConfig(**{**usual, **options}), AGENTS, around)
        servers.append((server, noted(server)))
        await server.start()
        return server

    yield started
    with pytest.MonkeyPatch.context() as patch:
        # Phones that were left in a call are gone by now: none answers the BYE.
        patch.setattr("ingress_sip.server._BYE_S", 0.2)
        for server, _ in servers:
            await server.drain()
    for server, ports in servers:
        await server.stop()
        assert_nothing_left(server, ports)


def noted(server: SipServer) -> list[RtpSocket]:
    """Every pair of ports that the server opens from now on."""
    pairs: list[RtpSocket] = []
    really = server._setup._ports.open

    async def opened(receive: Receive, *, towards: str = "") -> RtpSocket:
        pairs.append(await really(receive, towards=towards))
        return pairs[-1]

    server._setup._ports.open = opened  # type: ignore[method-assign]  # watched, not changed
    return pairs


def assert_nothing_left(server: SipServer, ports: list[RtpSocket]) -> None:
    """No call, no task, no port and no line outlives its server's calls."""
    assert len(server._live) == len(server._placing) == len(server._inbound.admitting) == 0
    assert server._live._by_dialog == {}
    assert [task for task in server._live.tasks if not task.done()] == []
    assert server._outbound._pending == {}
    assert server._transfers._under_way == server._transfers._consultations == {}
    assert server._referrals._under_way == {}
    assert server._referrals._leaving == set()
    assert server._engine.calls == []
    assert server._engine._legs == {}
    assert [pair.port for pair in ports if pair._rtp or pair._rtcp] == []
    lines = server._policy.lines
    assert set(lines._trunks.values()) | set(lines._numbers.values()) <= {0}


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


@pytest.fixture
async def new_party() -> AsyncIterator[NewParty]:
    parties: list[Party] = []

    async def made(server: SipServer | None = None, **options: Any) -> Party:
        parties.append(await party(server, **options))
        return parties[-1]

    yield made
    for each in parties:
        each.close()


@pytest.fixture
async def new_speaker() -> AsyncIterator[NewSpeaker]:
    """Phones that speak: `await new_speaker(server, Encoding.G722, payload_type=9)`."""
    speakers: list[Speaker] = []

    async def made(server: SipServer, *way: Any, **options: Any) -> Speaker:
        speakers.append(await speaker(server, *way, **options))
        return speakers[-1]

    yield made
    for each in speakers:
        each.party.close()


@pytest.fixture
def story(session: BusSession, eventually: Eventually[Any]) -> Callable[..., Story]:
    """A call's log: `story(call)`."""
    return functools.partial(Story, session, eventually)
