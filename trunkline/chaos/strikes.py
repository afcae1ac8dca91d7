"""Who is hit, when, and with what."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal

from bus.lease import Leases
from trunkline.chaos.takeover import Blow, follow, held_by
from trunkline.children import Child
from trunkline.stack import Stack

Weapon = Literal["kill", "term", "stop"]

_SIGNALS: Final = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
#: How long a stopped process sleeps before it goes on: a zombie, long since replaced.
_STOPPED_S: Final = 10.0
_LOOK_S: Final = 0.05
_SUCCESSOR_S: Final = 60.0


class Striker:
    """Hits processes of a stack, and has an eye on the work they held."""

    def __init__(
        self,
        stack: Stack,
        queues: Mapping[str, Leases],
        weapon: Weapon,
        seed: int,
        tell: Callable[[str], None],
    ) -> None:
        self.blows: list[Blow] = []
        self._stack = stack
        self._queues = queues
        self._weapon: Weapon = weapon
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret
        self._tell = tell
        self._asleep: set[int] = set()
        self._watching: set[asyncio.Task[None]] = set()

    async def on_schedule(self, roles: Sequence[str], every_s: float) -> None:
        """Hit one process of the next role every `every_s`, round and round, until cancelled.

        Without roles nobody is hit: what a run is without blows.
        """
        for role in itertools.cycle(roles):
            await asyncio.sleep(every_s)
            await self.strike(role)

    async def strike(self, role: str) -> None:
        """Hit one process of a role, any that works; none if none does."""
        able = [each for each in self._stack.working(role) if each.pid not in self._asleep]
        if able:
            await self._hit(self._random.choice(able), self._weapon)

    async def rolling(self, roles: Sequence[str]) -> None:
        """Restart every process of these roles, one after the other: SIGTERM, then wait until its
        successor can work."""
        for role in roles:
            for child in self._stack.working(role):
                others = {each.pid for each in self._stack.working(role)} - {child.pid}
                await self._hit(child, "term")
                await self._successor(role, {*others, child.pid})

    async def _successor(self, role: str, known: set[int]) -> None:
        async with asyncio.timeout(_SUCCESSOR_S):
            while True:
                if {each.pid for each in self._stack.working(role)} - known:
                    return
                await asyncio.sleep(_LOOK_S)

    async def settle(self) -> None:
        """Wait until the work of everybody who was hit has been taken over or given up on."""
        while self._watching:
            await asyncio.wait(tuple(self._watching))

    async def _hit(self, child: Child, weapon: Weapon) -> None:
        queue = self._queues[child.name]
        jobs = held_by(child.pid, await queue.holders())
        blow = Blow(child.name, child.pid, weapon, time.time())
        self.blows.append(blow)
        self._tell(f"SIG{weapon.upper()} {child.name} {child.pid}, which holds {len(jobs)} job(s)")
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, _SIGNALS[weapon])
        self._watch(follow(queue, blow, jobs))
        if weapon == "stop":
            self._asleep.add(child.pid)
            self._watch(self._wake(child.pid))

    async def _wake(self, pid: int) -> None:
        try:
            await asyncio.sleep(_STOPPED_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._asleep.discard(pid)

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def stop(self) -> None:
        """Watch no more, and wake whoever sleeps."""
        for task in tuple(self._watching):
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
