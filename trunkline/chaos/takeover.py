"""How long the work of a process that was hit lay idle.

Just before the blow, the queue tells which jobs the process holds. A job is taken over when its
entry in the queue belongs to another process, which works on it from that moment: the gap is the
time from the signal to there. A job that is off the queue before anybody else held it was finished
by whoever was hit (it drained, or had just done it), or taken over and done between two looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bus.lease import Leases

_LOOK_S: Final = 0.01
#: Jobs that nobody has taken by then are given up on.
_PATIENCE_S: Final = 30.0


@dataclass(slots=True)
class Blow:
    """One process, hit."""

    role: str
    pid: int
    signal: str
    #: The wall clock, s.
    at: float
    #: How many jobs it held.
    held: int = 0
    #: How long each that was taken over lay idle, ms.
    gaps_ms: list[float] = field(default_factory=list)
    #: Jobs that were off the queue before anybody else held them.
    finished: int = 0
    #: Jobs that nobody took for half a minute.
    abandoned: int = 0


def held_by(pid: int, holders: dict[bytes, str | None]) -> list[bytes]:
    """The jobs of a process; its name on the bus ends in its pid and a token."""
    return [job for job, name in holders.items() if name is not None and _pid_of(name) == str(pid)]


def _pid_of(name: str) -> str:
    return name.rsplit("-", 2)[1] if name.count("-") >= 2 else ""


async def follow(queue: Leases, blow: Blow, jobs: Iterable[bytes]) -> None:
    """Watch what becomes of the jobs of a process that was hit, until all of them are taken."""
    left = set(jobs)
    blow.held = len(left)
    struck = time.monotonic()
    while left:
        holders = await queue.holders()
        waited = time.monotonic() - struck
        for job in tuple(left):
            if job not in holders:
                blow.finished += 1
                left.discard(job)
            elif (name := holders[job]) is not None and _pid_of(name) != str(blow.pid):
                blow.gaps_ms.append(round(waited * 1000, 1))
                left.discard(job)
        if waited > _PATIENCE_S:
            blow.abandoned = len(left)
            return
        if left:
            await asyncio.sleep(_LOOK_S)
