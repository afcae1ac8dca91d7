"""How the agent's speech leaves to a carrier that queues it: ahead of its time, in a few messages.

Media streams over a WebSocket play what they are sent in order, answer a mark when they have played
what came before it, and throw the rest away when told to. So a little is sent ahead, against what
the network does to messages; what the caller has heard is what the carrier confirms by its marks;
and when the caller speaks, the rest is called back (Playout.pause).
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

import structlog

from legs.mouth import joined
from legs.playout import Playout
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, samples_in

_log = structlog.get_logger(__name__)
#: The far end is given more once it has less than this, and then as much as `MOST`. In samples.
LEAST: Final = samples_in(60)
MOST: Final = samples_in(160)
#: A mark that comes so much later than what it stands after was due is lost. In samples.
_PATIENCE: Final = samples_in(2000)


class Queue(Protocol):
    """A carrier that queues what it is sent, and tells what it has played."""

    @property
    def is_open(self) -> bool:
        """Can it be sent anything?"""
        ...

    def queue(self, payload: bytes, mark: int) -> None:
        """Send PCMU, and a mark after it; call `Ahead.reached(mark)` when it was played."""
        ...

    def clear(self) -> None:
        """Have the far end forget what it has not played. Its marks may still be answered."""
        ...


class _Mark(NamedTuple):
    number: int
    #: How many frames stand before it, behind the mark before.
    frames: int
    #: Where they end, by our clock (samples).
    end: int


class Ahead:
    """Keeps the far end's queue filled, and empties it (legs.mouth.Mouth)."""

    def __init__(self, queue: Queue) -> None:
        self.playout = Playout(recall=self._recall)
        self._queue = queue
        #: Where the far end's queue ends, by our clock (samples).
        self._end = 0
        self._marks: deque[_Mark] = deque()
        self._numbers = 0
        #: What is there, with its place; the first is being heard.
        self._there: deque[tuple[int, bytes]] = deque()
        self._last: bytes | None = None
        self._lost_marks = 0

    def speak(self, position: int, now_ms: float, late_ms: float) -> bytes | None:
        """See `Mouth`."""
        now_ms += late_ms  # it is sent now, not when the tick was due
        self._miss_marks(position)
        self._fill(position, now_ms)
        while self._there and self._there[0][0] + FRAME_SAMPLES <= position:
            self._there.popleft()
        return self._there[0][1] if self._there and self._there[0][0] <= position else None

    def hurry(self, position: int, now_ms: float) -> None:
        """See `Mouth`."""
        if self._end <= position:
            self._fill(position, now_ms)

    def reached(self, number: int) -> None:
        """The far end has played what stood before this mark, or was told to forget it."""
        while self._marks and self._marks[0].number <= number:
            for _ in range(self._marks.popleft().frames):
                self.playout.heard()

    def lost(self) -> None:
        """The far end is gone, with what it had not played."""
        self.playout.take_back()

    def _fill(self, position: int, now_ms: float) -> None:
        if not self._queue.is_open:
            self._end = position
            return
        self._end = max(self._end, position)
        if self._end - position >= LEAST:
            return
        # The first words in a message of their own: that they are heard is known the sooner.
        most = MOST if self._end > position else LEAST
        frames: list[bytes] = []
        count = 0
        while self._end - position < most:
            is_early = self._end > position
            at_ms = now_ms + (self._end - position) * 1000 / SAMPLE_RATE
            frame = self.playout.next(self._end, at_ms, early=is_early)
            if frame is None and self.playout.is_speaking:
                break  # the rest of it may still come in time
            sound = joined(self._last, frame)
            self._last = frame
            if sound is None:
                break
            frames.append(sound)
            count += frame is not None
            if frame is not None:
                self._there.append((self._end, frame))
            self._end += FRAME_SAMPLES
            if frame is None:
                break
        if frames:
            self._numbers += 1
            self._marks.append(_Mark(self._numbers, count, self._end))
            self._queue.queue(b"".join(frames), self._numbers)

    def _recall(self) -> None:
        self._marks.clear()  # before they are answered: a clear answers them all
        self._there.clear()
        self._last = None
        self._end = 0
        if self._queue.is_open:
            self._queue.clear()

    def _miss_marks(self, position: int) -> None:
        """A carrier that forgets a mark must not leave the agent waiting to have been heard."""
        while self._marks and self._marks[0].end + _PATIENCE < position:
            if not self._lost_marks:
                _log.warning("stream.mark_lost", mark=self._marks[0].number)
            self._lost_marks += 1
            self.reached(self._marks[0].number)
