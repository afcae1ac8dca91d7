"""When something has to happen next: named timers over one heap."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Timing:
    """RFC 3261 table 4, in seconds. Most other timers are multiples of T1."""

    t1: float = 0.5  # estimate of the round trip
    t2: float = 4.0  # longest pause between resends
    t4: float = 5.0  # longest life of a message in the network
    ring: float = 180.0  # timer C: an INVITE without news is given up by proxies (16.6)

    @property
    def give_up(self) -> float:
        """Timers B, F, H, J, L: how long a transaction waits for the other side."""
        return 64 * self.t1


class TimerQueue(Generic[Name]):
    """Timers by name: setting one again moves it. O(log n) each; never reads a clock."""

    def __init__(self) -> None:
        self._due: dict[Name, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Name]] = []
        self._order = count()  # timers due at once fire in the order they were set

    def __len__(self) -> int:
        return len(self._due)

    def set(self, name: Name, when: float) -> None:
        entry = (when, next(self._order))
        self._due[name] = entry
        heapq.heappush(self._heap, (*entry, name))
        # Cancelled and moved timers stay in the heap until they surface; keep them a minority.
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(*due, live) for live, due in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, name: Name) -> None:
        self._due.pop(name, None)

    def next(self) -> float | None:
        """When the earliest timer is due, or None."""
        while self._heap:
            when, order, name = self._heap[0]
            if self._due.get(name) == (when, order):
                return when
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> Name | None:
        """Take one timer that is due by `now`, earliest first; None when there is no more."""
        when = self.next()
        if when is None or when > now:
            return None
        name = heapq.heappop(self._heap)[2]
        del self._due[name]
        return name
