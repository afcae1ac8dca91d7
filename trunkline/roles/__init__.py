"""The roles: each one process, wired here from the rooms and nowhere else.

Every role opens its place on the bus, starts its work, says that it is ready, waits to be told to
stop, and drains. What differs between them stands in a module each, so that a process imports what
it needs and no more.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Final, cast

import uvloop

from bus.broker import BusError
from bus.presence import Process
from bus.session import open_session
from telemetry.endpoint import serve
from telemetry.log import configure, get_logger
from trunkline.data_dir import keep_private
from trunkline.errors import UserError
from trunkline.roles.running import Running, Start, now_ms
from trunkline.settings import Settings

Ready = Callable[[dict[str, object]], None]

#: Each is a module of this package with a function `start` (trunkline.roles.running.Start).
ROLES: Final = ("sip", "web", "asr", "llm", "tts", "recorder", "admin")

_log = get_logger(__name__)


def _starter(role: str) -> Start:
    return cast(Start, import_module(f"{__name__}.{role}").start)


def run(role: str, settings: Settings, *, ready: Ready) -> int:
    """Run a role until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        UserError: something that the message says how to mend.
    """
    keep_private()
    configure(role, level=settings.log_level, fmt=settings.log_format)
    uvloop.run(_run(role, settings, ready))
    return 0


@dataclass(frozen=True, slots=True)
class _Life:
    """A role's two turning points."""

    up: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def _run(role: str, settings: Settings, ready: Ready) -> None:
    if settings.bus_url is None:
        raise UserError("no bus: set TRUNKLINE_BUS_URL, or run `trunkline up`, which brings one")
    life = _Life()
    work = asyncio.create_task(_work(role, settings, settings.bus_url, ready, life))

    def told_to_stop() -> None:
        life.stop.set()
        if not life.up.is_set():
            work.cancel()  # it may be waiting for a bus or a database that is down

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)
    try:
        await work
    except asyncio.CancelledError:
        if not life.stop.is_set():
            raise


async def _work(
    role: str,
    settings: Settings,
    bus_url: str,
    ready: Ready,
    life: _Life,
) -> None:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(bus_url))
        running = await stack.enter_async_context(_starter(role)(settings, session))
        since = now_ms()

        def process() -> Process:
            address = " ".join(str(at) for at in _public(running).values())
            host = socket.gethostname()
            # Whoever drains takes nothing more.
            capacity = 0 if life.stop.is_set() else running.capacity
            return Process(role, os.getpid(), host, since, running.owned(), address, capacity)

        if settings.metrics_listen is not None:
            where = settings.metrics_listen
            try:
                endpoint = await serve(where.host, where.port)
            except OSError as error:
                raise UserError(
                    f"cannot serve metrics on {where}: {error.strerror}; set "
                    "TRUNKLINE_METRICS_LISTEN, with port 0 where several processes share a host"
                ) from error
            stack.push_async_callback(endpoint.close)
            running.addresses["metrics"] = f"http://{endpoint.host}:{endpoint.port}"
        showing = asyncio.create_task(session.presence.keep_showing(process), name="presence")
        _settle()
        life.up.set()
        ready(running.addresses)
        _log.info("role.ready", **_public(running))
        await life.stop.wait()
        _log.info("role.draining", owned=running.owned())
        with suppress(BusError):
            await session.presence.show(process())
        if running.drain is not None:
            await running.drain()
        showing.cancel()
        with suppress(BusError):
            await session.presence.hide(process())


def _settle() -> None:
    """Take what the role is made of out of the collector's sight: it stays until the end.

    A full collection goes through some 150,000 objects of it and finds nothing: 35 ms, nearly two
    of the 20 ms beats of an ingress.

    And have it look for what has become of more than a beat's frames, which at its own threshold of
    700 objects look like growth: with 300 calls it went through all that they are made of every
    second or two, 25 to 60 ms each time. What calls leave behind still goes, after a thousand.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _public(running: Running) -> dict[str, object]:
    """Where it can be reached, for whoever looks at the bus or the log."""
    return {name: at for name, at in running.addresses.items() if name != "password"}
