"""Two SIP elements and the worst of networks between them, in virtual time.

A `Link` carries datagrams between its ends; what is lost, doubled or late is drawn from a seed, so
a run that fails can be run again. An end is anything with the shell's side of `SipCore`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Protocol

from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.transaction import Outgoing


class Node(Protocol):
    """One end: bytes and time in, bytes out."""

    def receive(self, data: bytes, source: Hop, now: float) -> None: ...
    def messages_to_send(self) -> list[Outgoing]: ...
    def next_timer(self) -> float | None: ...
    def handle_timers(self, now: float) -> None: ...


@dataclass(frozen=True)
class Weather:
    """What the network does to a datagram."""

    loss: float = 0.0  # probability
    doubled: float = 0.0  # probability; the copy has a delay of its own
    slowest: float = 0.0  # seconds; each takes between none and this, so they overtake each other


class Link:
    """Carries datagrams between ends, and gives each of them the time when it asks for it."""

    def __init__(self, ends: Mapping[Hop, Node], weather: Weather, seed: int) -> None:
        self._ends = ends
        self._weather = weather
        self._random = Random(seed)
        self._under_way: list[tuple[float, int, bytes, Hop, Hop]] = []
        self._order = count()
        self.now = 0.0
        self.carried = 0  # datagrams that were sent, lost ones included

    def run(self, limit: float = 3600.0) -> float:
        """Go on until nothing is under way and nobody waits for anything; returns when that was.

        Raises AssertionError when that is not within `limit` seconds.
        """
        while (due := self._step()) is not None:
            assert due <= limit, f"still not quiet after {limit} s"
            self.now = due
            for end in self._ends.values():
                end.handle_timers(due)
            while self._under_way and self._under_way[0][0] <= due:
                _, _, data, source, destination = heapq.heappop(self._under_way)
                self._ends[destination].receive(data, source, due)
        return self.now

    def _step(self) -> float | None:
        """Take what the ends want sent; returns when something happens next."""
        for hop, end in self._ends.items():
            for out in end.messages_to_send():
                self.carried += 1
                if out.destination in self._ends:
                    self._send(out.data, hop, out.destination)
        times = [due for end in self._ends.values() if (due := end.next_timer()) is not None]
        times += [self._under_way[0][0]] if self._under_way else []
        return max(self.now, min(times)) if times else None

    def _send(self, data: bytes, source: Hop, destination: Hop) -> None:
        copies = 1 + (self._random.random() < self._weather.doubled)
        for _ in range(copies):
            if self._random.random() >= self._weather.loss:
                arrival = self.now + self._random.uniform(0.0, self._weather.slowest)
                entry = (arrival, next(self._order), data, source, destination)
                heapq.heappush(self._under_way, entry)
