"""Keys pressed one after the other, collected into one input of the caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from calls.agent import Keypad
from calls.events import DigitPressed

_SAMPLES_PER_MS = 8


@dataclass(frozen=True, slots=True)
class Keyed:
    """What was keyed in: from the first key to the last (samples), the last at `at` (epoch ms)."""

    digits: str
    start: int
    end: int
    at: float


@dataclass(slots=True)
class KeypadInput:
    """One call's keys. Time is the media's."""

    how: Keypad
    _keys: list[DigitPressed] = field(default_factory=list)

    def press(self, key: DigitPressed) -> None:
        """Take a key; one that is there already changes nothing."""
        if self.how.enabled and key.position not in {known.position for known in self._keys}:
            self._keys.append(key)

    def take_up(self, keys: Iterable[DigitPressed], after: int) -> None:
        """After a take-over: the keys pressed since `after` (samples) are no input yet."""
        for key in keys:
            if key.position > after:
                self.press(key)

    def take(self, position: int) -> Keyed | None:
        """The input, if it is complete at `position` (samples): ended, full, or timed out."""
        if not self._keys:
            return None
        digits = "".join(key.digit for key in self._keys)
        ended = bool(self.how.terminator) and self.how.terminator in digits
        timed_out = position - self._keys[-1].position >= self.how.timeout_ms * _SAMPLES_PER_MS
        if not (ended or timed_out or len(digits) >= self.how.max_digits):
            return None
        count = digits.index(self.how.terminator) + 1 if ended else len(digits)
        taken, self._keys = self._keys[:count], self._keys[count:]
        # A terminator alone is an input too: somebody confirmed something.
        text = digits[: count - 1] or digits[:count] if ended else digits
        return Keyed(text, taken[0].position, taken[-1].position, taken[-1].at)
