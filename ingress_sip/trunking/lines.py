"""How many calls each trunk and each number has now, and whether it may have one more."""

from __future__ import annotations

import fnmatch
from collections import Counter
from typing import Literal, NamedTuple

from ingress_sip.trunking.config import Trunk, Trunks
from telemetry import metrics

Direction = Literal["inbound", "outbound"]


class Line(NamedTuple):
    """What one call takes: a line of a trunk ("" for none), and one of a number of ours."""

    trunk: str
    direction: Direction
    number: str  # the number called, inbound


class Lines:
    """Counts calls. Whoever takes a line frees the same one, once."""

    def __init__(self, config: Trunks) -> None:
        self._per_number = config.policy.max_calls_per_number
        self._trunks: Counter[tuple[str, Direction]] = Counter()
        self._numbers: Counter[str] = Counter()  # by the pattern that limits them
        for trunk in config.trunks:
            for direction in ("inbound", "outbound"):
                metrics.TRUNK_CALLS.labels(trunk.name, direction).set(0)

    def take(self, line: Line) -> None:
        self._count(line, 1)

    def free(self, line: Line) -> None:
        self._count(line, -1)

    def calls(self, trunk: str, direction: Direction) -> int:
        """Calls of a trunk now."""
        return self._trunks[trunk, direction]

    def trunk_is_full(self, trunk: Trunk) -> bool:
        taken = self.calls(trunk.name, "inbound") + self.calls(trunk.name, "outbound")
        return 0 < trunk.max_calls <= taken

    def number_is_full(self, number: str) -> bool:
        pattern = self._pattern(number)
        return pattern is not None and self._numbers[pattern] >= self._per_number[pattern]

    def _count(self, line: Line, step: int) -> None:
        if line.trunk:
            self._trunks[line.trunk, line.direction] += step
            gauge = metrics.TRUNK_CALLS.labels(line.trunk, line.direction)
            gauge.set(self._trunks[line.trunk, line.direction])
        if line.direction == "inbound" and (pattern := self._pattern(line.number)) is not None:
            self._numbers[pattern] += step

    def _pattern(self, number: str) -> str | None:
        """The first pattern that limits a number."""
        return next((each for each in self._per_number if fnmatch.fnmatchcase(number, each)), None)
