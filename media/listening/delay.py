"""How long to hold audio back, learnt from when packets come.

A packet's transit is its arrival less its timestamp: an unknown constant (the two clocks' offset
and the shortest way) plus the jitter it met. Over a window of some seconds the least transit
stands for the constant, and a high percentile above it is the delay that lets nearly all packets
come in time. The window is also what follows the two clocks' drift.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Final

_WINDOW: Final = 250
"""Packets remembered: 5 s of 20 ms packets."""
_WARM: Final = 50
"""Packets before the estimate may go below the delay a call starts with."""
_PERCENTILE: Final = 0.97
_MARGIN_MS: Final = 10.0
"""Half a slot: playing starts at the tick nearest to the moment that is due."""


class DelayEstimator:
    """The target delay of a jitter buffer, in ms behind the fastest packet."""

    def __init__(self, *, least_ms: float, start_ms: float, most_ms: float) -> None:
        self._least_ms, self._start_ms, self._most_ms = least_ms, start_ms, most_ms
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def push(self, transit_ms: float) -> None:
        """Take one packet's transit."""
        if len(self._recent) == _WINDOW:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(transit_ms)
        insort(self._sorted, transit_ms)

    def clear(self) -> None:
        """Forget: the sender's clock is another one now."""
        self._recent.clear()
        self._sorted.clear()

    @property
    def base_ms(self) -> float:
        """The least transit in the window; 0 before any packet."""
        return self._sorted[0] if self._sorted else 0.0

    @property
    def spread_ms(self) -> float:
        """How long after `base_ms` the slowest packet of the window could have been played."""
        return self._sorted[-1] - self._sorted[0] if self._sorted else 0.0

    @property
    def target_ms(self) -> float:
        """How long after `base_ms` a packet should be played."""
        count = len(self._sorted)
        if not count:
            return self._start_ms
        spread = self._sorted[int(_PERCENTILE * (count - 1))] - self._sorted[0]
        least = self._start_ms if count < _WARM else self._least_ms
        return min(max(spread + _MARGIN_MS, least), self._most_ms)
