"""The marks of a carrier that does not answer those that a clear threw away."""

from __future__ import annotations

from collections import deque
from typing import Final

from ingress_web.dialects.messages import MarkReached

#: More that wait were forgotten by the carrier.
_MOST: Final = 256
_MOST_CLEARS: Final = 16


class Marks:
    """Answers marks in its place, once it says that it has cleared."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=_MOST)
        self._clearing: deque[tuple[str, ...]] = deque(maxlen=_MOST_CLEARS)

    def sent(self, name: str) -> None:
        """A mark was sent."""
        self._waiting.append(name)

    def clear(self) -> None:
        """A clear was sent."""
        self._clearing.append(tuple(self._waiting))
        self._waiting.clear()

    def reached(self, name: str) -> MarkReached:
        """The carrier has answered this one."""
        if name in self._waiting:
            self._waiting.remove(name)
        return MarkReached(name)

    def cleared(self) -> tuple[MarkReached, ...]:
        """The carrier has cleared: what waited for that is answered, maybe for the second time."""
        return tuple(map(MarkReached, self._clearing.popleft())) if self._clearing else ()
