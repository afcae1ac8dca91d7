"""The whole installation on this machine: one process per role, kept running, stopped in order.

The bus is started first and all roles at once: whoever is early waits, and a call that comes before
its worker waits in the pool's queue. They are stopped from the front to the back, so that what is
under way is finished: the ingress drains, the pools hand back, the recorder writes the last calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO

from telemetry.log import get_logger
from trunkline import embedded_bus
from trunkline.children import Announcement, Child, ChildFailedError, Readiness, announced, spawn
from trunkline.settings import Settings

#: What stops together, first to last; the bus comes after all.
_STOP_ORDER = (("sip", "web"), ("asr", "llm", "tts", "admin"), ("recorder",))
ROLES = tuple(role for together in _STOP_ORDER for role in together)
_STOP_SECONDS = 10.0
#: Whoever has time lets the others go first (nice values). The ingress and the bus have none: a
#: 20 ms beat that comes late is heard, and one that is left out is a caller's word. A worker that
#: starts anew takes a second of CPU, just when another has two workers' calls to hear.
_NICE = {"asr": 5, "llm": 5, "tts": 5, "recorder": 10, "admin": 10}

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
#: Whoever ran this long does not die of its start: it is started again at once.
_STEADY_S = 10.0

log = get_logger(__name__)


def next_pause(previous_s: float | None, ran_s: float) -> float:
    """How long to wait, in s, before a role that died is started again.

    Args:
        previous_s: The pause before its last start; None if that was its first.
        ran_s: How long it ran once it was ready.
    """
    if ran_s >= _STEADY_S:
        return 0.0
    return min(max(_FIRST_PAUSE_S, 2 * (previous_s or 0.0)), _LONGEST_PAUSE_S)


@dataclass(slots=True)
class Part:
    """One process of the stack, over all its starts."""

    role: str
    argv: list[str]
    environment: dict[str, str]
    ready: Readiness
    announces: bool = True
    child: Child | None = None
    #: Has this start of it become ready?
    started: bool = False
    announcement: Announcement = field(default_factory=dict)

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ChildFailedError
        """
        self.started = False
        self.child = await spawn(
            self.role,
            self.argv,
            self.environment,
            announces=self.announces,
            quiet=not self.announces,
        )
        # A child that has ended already, or a platform that will not: as well without.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.child.pid, _NICE.get(self.role, 0))
        self.announcement = await self.ready(self.child)
        self.started = True
        # A role that took a free port keeps it over a restart: callers know it.
        if "sip" in self.announcement:
            self.environment["TRUNKLINE_SIP_LISTEN"] = self.announcement["sip"]
        if "http" in self.announcement:
            address = self.announcement["http"].removeprefix("http://")
            self.environment["TRUNKLINE_HTTP_LISTEN"] = address
        if "web" in self.announcement:
            address = self.announcement["web"].removeprefix("http://")
            self.environment["TRUNKLINE_WEB_LISTEN"] = address


def role_command(role: str) -> list[str]:
    """How a role is started."""
    return [sys.executable, "-m", "trunkline", role]


class Stack:
    """Starts, watches and stops the parts.

    Args:
        settings: Without a bus_url, an embedded bus is started too.
        sizes: How many processes of "asr", "llm" and "tts"; one where nothing is said.
        progress: Told each role that has become ready.
        command: The command line of a role.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sizes: Mapping[str, int],
        progress: Callable[[str], None] = lambda _: None,
        command: Callable[[str], list[str]] = role_command,
    ) -> None:
        self._settings = settings
        # The web side is there if it is to listen anywhere.
        self._sizes = {"web": int(settings.web_listen is not None), **sizes}
        self._progress = progress
        self._command = command
        self._parts: list[Part] = []
        self._bus: Part | None = None
        self._claim: IO[bytes] | None = None
        self._watchers: list[asyncio.Task[None]] = []
        self.bus_url = settings.bus_url or ""

    async def start(self) -> Announcement:
        """Start everything and say where it is: the line that `up --json` prints.

        Raises:
            ChildFailedError: a role did not become ready; what had started is stopped again.
            UserError: something to be mended first.
        """
        try:
            await self._start_bus()
            self._parts = [
                self._role(role) for role in ROLES for _ in range(self._sizes.get(role, 1))
            ]
            await self._start_together(self._parts)
        except BaseException:
            self.kill()
            await asyncio.gather(*(child.process.wait() for child in self._children()))
            self._release()
            raise
        self._watchers = [
            asyncio.create_task(self._keep_running(part), name=f"keep {part.role} running")
            for part in self._everything()
        ]
        return self.announcement()

    def announcement(self) -> Announcement:
        """Where everything is now."""
        said: Announcement = {}
        for part in self._parts:
            said |= part.announcement
        announcement = {
            "event": "ready",
            "sip": said.get("sip"),
            "http": said.get("http"),
            **({"web": said["web"]} if "web" in said else {}),
            "bus": self.bus_url,
            "database": self._settings.database_url,
            "processes": [{"role": child.name, "pid": child.pid} for child in self._children()],
        }
        if "password" in said:
            announcement["password"] = said["password"]
        return announcement

    def working(self, role: str) -> list[Child]:
        """The processes of a role that are ready and, as far as we know, alive."""
        return [
            part.child
            for part in self._parts
            if part.role == role
            and part.started
            and part.child is not None
            and part.child.process.returncode is None
        ]

    async def stop(self) -> None:
        """Stop everything, front to back. The ingress waits for its calls, as settings say."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for roles in _STOP_ORDER:
            patience = _STOP_SECONDS + (self._settings.drain_seconds if "sip" in roles else 0.0)
            await asyncio.gather(
                *(
                    part.child.stop(patience)
                    for part in self._parts
                    if part.role in roles and part.child is not None
                )
            )
        if self._bus is not None and self._bus.child is not None:
            await self._bus.child.stop(_STOP_SECONDS)
        self._release()

    def kill(self) -> None:
        """End everything at once."""
        for child in self._children():
            child.kill()

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.close()

    def _everything(self) -> list[Part]:
        return [*([self._bus] if self._bus else []), *self._parts]

    def _children(self) -> list[Child]:
        return [part.child for part in self._everything() if part.child is not None]

    async def _start_together(self, parts: list[Part]) -> None:
        starting = [asyncio.create_task(self._start(part)) for part in parts]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    async def _start(self, part: Part) -> None:
        await part.start()
        self._progress(part.role)

    async def _start_bus(self) -> None:
        if self._settings.bus_url is not None:
            return
        data_dir = self._settings.data_dir
        command = embedded_bus.command(embedded_bus.find_server(), data_dir)
        self._claim = embedded_bus.claim(data_dir)
        self._bus = Part(
            "bus",
            command,
            self._settings.as_environment(),
            embedded_bus.ServerReadiness(data_dir),
            announces=False,
        )
        await self._start(self._bus)
        self.bus_url = embedded_bus.url_of(embedded_bus.socket_path(data_dir))

    def _role(self, role: str) -> Part:
        return Part(
            role,
            self._command(role),
            self._settings.as_environment(bus_url=self.bus_url),
            announced,
        )

    async def _keep_running(self, part: Part) -> None:
        """Start a part again whenever it ends, until cancelled."""
        loop = asyncio.get_running_loop()
        pause: float | None = None
        while part.child is not None:
            began = loop.time()
            await part.child.process.wait()
            pause = next_pause(pause, loop.time() - began)
            log.error(
                "role.died",
                died=part.role,
                its_pid=part.child.pid,
                how=part.child.how_it_ended,
                again_in_s=pause,
            )
            await asyncio.sleep(pause)
            # A failed start is a death like any other: the next round waits longer.
            with contextlib.suppress(ChildFailedError):
                await part.start()
                log.info("role.restarted", restarted=part.role, its_pid=part.child.pid)
