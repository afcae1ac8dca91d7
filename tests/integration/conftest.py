"""A bus to test on: TRUNKLINE_TEST_BUS_URL where it is set, else a server of our own.

The server is the one that an embedded installation would start (trunkline/embedded_bus.py). Its
database is flushed before each test: never point the variable at a bus that somebody uses.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from redis import Redis
from redis.exceptions import RedisError

from bus.session import BusSession, open_session
from trunkline import embedded_bus

T = TypeVar("T")
OpenSession = Callable[[str], Awaitable[BusSession]]
Eventually = Callable[[Callable[[], T | Awaitable[T]]], Awaitable[T]]

_START_S = 15.0
#: Far more than anything here takes: a test that waits so long has failed.
_PATIENCE_S = 20.0


@pytest.fixture(scope="session")
def bus_url() -> Iterator[str]:
    """The URL of a bus that is ours alone."""
    if given := os.environ.get("TRUNKLINE_TEST_BUS_URL"):
        yield given
        return
    try:
        server = embedded_bus.find_server()
    except embedded_bus.NoServerError as missing:
        pytest.skip(str(missing))
    # Not under tmp_path: the path of a unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="trunkline-test-") as folder:
        process = subprocess.Popen(
            embedded_bus.command(server, Path(folder)), stdout=subprocess.DEVNULL
        )
        try:
            url = embedded_bus.url_of(embedded_bus.socket_path(Path(folder)))
            _wait_for(url)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=_START_S)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _START_S
    with Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


@pytest.fixture
def empty_bus(bus_url: str) -> str:
    """The URL of a bus with nothing on it."""
    with Redis.from_url(bus_url) as client:
        client.flushdb()
    return bus_url


@pytest.fixture
async def open_bus(empty_bus: str) -> AsyncIterator[OpenSession]:
    """Opens sessions, each as a process of its own would: `await open_bus("asr-1")`."""
    async with AsyncExitStack() as stack:

        async def opened(name: str) -> BusSession:
            return await stack.enter_async_context(open_session(empty_bus, name))

        yield opened


@pytest.fixture
async def session(open_bus: OpenSession) -> BusSession:
    """A process's place on the bus."""
    return await open_bus("tester")


@pytest.fixture
def eventually() -> Eventually[T]:
    """Waits until something is so, and gives it: `await eventually(lambda: pool.owned == 1)`."""

    async def wait(check: Callable[[], T | Awaitable[T]]) -> T:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                found = check()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.005)

    return wait
