"""Transports on loopback, on both event loops: a role runs on uvloop, an embedder on asyncio's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.transports import Listen, Transports
from tests.support.certificates import Authority

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, LoopFactory]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Side:
    """One SIP element's transports, and what they told it."""

    transports: Transports
    messages: asyncio.Queue[tuple[bytes, Hop]]
    failures: asyncio.Queue[Hop]
    closings: asyncio.Queue[Hop]
    #: Flows that are to be kept.
    kept: set[int] = field(default_factory=set)

    def at(self, transport: Transport, host: str = "127.0.0.1", name: str = "") -> Hop:
        """Where it listens."""
        port = next(
            at.port
            for at in self.transports.listening
            if at.transport is transport and at.host == host
        )
        return Hop(transport, host, port, name=name)

    async def message(self) -> tuple[bytes, Hop]:
        async with asyncio.timeout(10):
            return await self.messages.get()


NewSide = Callable[..., Awaitable[Side]]


@pytest.fixture
async def new_side() -> AsyncIterator[NewSide]:
    """`await new_side("udp:127.0.0.1:0", ..., tls=..., limits=...)`."""
    sides: list[Side] = []

    async def made(*listeners: str, **options: Any) -> Side:
        told: tuple[asyncio.Queue[Any], ...] = tuple(asyncio.Queue() for _ in range(3))
        kept: set[int] = set()
        transports = Transports(
            [parsed(text) for text in listeners],
            receive=lambda data, hop: told[0].put_nowait((data, hop)),
            failed=told[1].put_nowait,
            closed=told[2].put_nowait,
            in_use=lambda hop: hop.flow in kept,
            **options,
        )
        await transports.start()
        sides.append(Side(transports, *told, kept))
        return sides[-1]

    yield made
    for side in sides:
        await side.transports.close()
    await asyncio.sleep(0)  # uvloop closes them in its next round


def parsed(text: str) -> Listen:
    transport, _, rest = text.partition(":")
    host, _, port = rest.rpartition(":")
    return Listen(Transport(transport), host.strip("[]"), int(port))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)
