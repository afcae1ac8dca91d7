"""What the run had of the machine: on one that is busy with other things, its figures say less."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time since some moment, s."""

    at: float
    #: Of this process and its children, those that have ended included.
    ours: float
    #: Of everything on the machine.
    all: float

    @classmethod
    def now(cls) -> Usage:
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                ours += sum(child.cpu_times()[:2])
        spent = psutil.cpu_times()
        everything = spent.user + spent.nice + spent.system + spent.irq + spent.softirq
        return cls(time.monotonic(), ours, everything + spent.steal)

    def cores_since(self, before: Usage) -> dict[str, float]:
        """How many of the machine's `cores` the run used (`ours`), and everything else."""
        seconds = self.at - before.at
        ours = (self.ours - before.ours) / seconds
        return {
            "cores": float(psutil.cpu_count() or 0),
            "ours": round(ours, 2),
            "others": round(max(0.0, (self.all - before.all) / seconds - ours), 2),
        }
