"""How the agent's speech leaves: to a carrier that plays each frame as it comes, one at each tick.

The other way, to a carrier that queues what it is sent, is legs/ahead.py.
"""

from __future__ import annotations

from typing import Final, Protocol

from legs.playout import Playout
from legs.ticker import LATE_MS
from media import seam
from media.frames import FRAME_SAMPLES, Codec

_SILENCE: Final = Codec.PCMU.silence(1)


class Line(Protocol):
    """A carrier that plays what it is sent at once: RTP."""

    def say(self, payload: bytes | None) -> None:
        """Send 20 ms of PCMU to the caller; None where the agent is silent."""
        ...

    def lapse(self) -> None:
        """20 ms have passed in which nothing could be sent."""
        ...


class Mouth(Protocol):
    """Takes speech out of the playout, and sends it."""

    playout: Playout

    def speak(self, position: int, now_ms: float, late_ms: float) -> bytes | None:
        """The tick of the frame at `position` (samples), `late_ms` late: send what is to be sent.

        Returns:
            What the caller hears in it, PCMU; None for silence.
        """
        ...

    def hurry(self, position: int, now_ms: float) -> None:
        """Something new can be said: say it, if the line is silent and needs no tick to begin."""
        ...


class Paced:
    """A frame a tick."""

    def __init__(self, line: Line) -> None:
        self.playout = Playout()
        self._line = line
        #: What was sent last.
        self._spoken: bytes | None = None

    def speak(self, position: int, now_ms: float, late_ms: float) -> bytes | None:
        """See `Mouth`."""
        before, self._spoken = self._spoken, None
        if late_ms < LATE_MS:
            self._spoken = self.playout.next(position, now_ms)
            self._line.say(joined(before, self._spoken))
        else:
            self.playout.lapse(position, now_ms)
            self._line.lapse()
        return self._spoken

    def hurry(self, position: int, now_ms: float) -> None:
        """It waits for its tick: what leaves is to leave evenly."""


def joined(before: bytes | None, frame: bytes | None) -> bytes | None:
    """What is sent for a frame, by the one before it: nothing starts or stops with a click.

    It is no matter of the ledger, which tells of speech: an edge is some milliseconds of it.
    """
    if frame is None:
        return None if before is None else seam.end(before)
    frame = frame.ljust(FRAME_SAMPLES, _SILENCE)  # the last of a sentence may be shorter
    return seam.begin(frame) if before is None else frame
