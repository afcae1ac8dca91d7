"""The lowest of the last values, without looking at all of them each time.

A minimum over a hundred values costs a microsecond where they are at hand, and ten where a process
hears many calls: each call's are somewhere else in memory.
"""

from __future__ import annotations

from collections import deque


class Lowest:
    """The minimum of a window that slides; a value is kept only while it may become that."""

    def __init__(self, window: int) -> None:
        """`window`: of so many values, the newest among them."""
        self._window = window
        self._count = 0
        #: (when it leaves the window, value), rising in both.
        self._steps: deque[tuple[int, float]] = deque()

    def add(self, value: float) -> float:
        """Take the next value. Returns the lowest of the window."""
        steps = self._steps
        while steps and steps[-1][1] >= value:
            steps.pop()
        steps.append((self._count + self._window, value))
        if steps[0][0] <= self._count:
            steps.popleft()
        self._count += 1
        return steps[0][1]
