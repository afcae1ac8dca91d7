"""Was that an utterance at all, whatever words a transcriber finds in it?

Clicks, hums, slams and coughs hardly ever pass Silero's detector. Voices in the background do, and
they are told from a caller by what they are not: a crowd has no pauses and no syllables, so its
level hardly moves and the detector is seldom certain; one voice across the room is faint, by itself
or beside the caller's own. The figures: bench/VAD.md.
"""

from __future__ import annotations

from collections import deque
from math import log10, sqrt
from typing import Final, NamedTuple

from media.frames import FRAME_MS
from media.g711 import rms

_CERTAIN: Final = 0.9
"""A frame with this probability is certainly speech."""


class _Frame(NamedTuple):
    level: float  # dBov
    certain: bool


class Evidence:
    """Gathers, frame by frame, whether an utterance was the caller's speech. One per call."""

    _CERTAIN_FRAMES: Final = 60 // FRAME_MS
    _FAINTEST: Final = -44.0
    """dBov of the frames of speech together. A soft caller on a poor line has -40."""
    _BESIDE: Final = 16.0
    """dB under the caller's usual level where another voice begins."""
    _FORGETS: Final = 3.0
    """dB that the usual level falls with each utterance, so that it cannot shut out the caller."""
    _MOVES: Final = 2.8
    """Standard deviation, in dB, of a level that moves as speech does."""
    _MOVES_MUCH: Final = 4.3
    """... and as no crowd's does: enough for speech in noise, of which no frame is certain."""
    _ONSET: Final = 300 // FRAME_MS

    def __init__(self) -> None:
        self._recent: deque[_Frame | None] = deque(maxlen=self._ONSET)
        self._usual = -100.0
        self._clear()

    def add(self, frame_pcm: bytes, speech: bool, probability: float | None = None) -> None:
        """Take the next frame, and what the detector says of it.

        `probability` is the detector's, 0 to 1, where it has one; else `speech` is taken for sure.
        """
        frame = None
        if speech:
            level = 20 * log10(max(1, rms(frame_pcm)) / 32768)
            frame = _Frame(level, probability is None or probability >= _CERTAIN)
            self._count(frame)
        self._recent.append(frame)

    def reset(self) -> None:
        """An utterance has begun: `enough` is of it alone, from its onset, up to 300 ms ago."""
        level = self._level if self.enough else -100.0
        self._usual = max(level, self._usual - self._FORGETS)
        self._clear()
        for frame in self._recent:
            if frame is not None:
                self._count(frame)

    @property
    def enough(self) -> bool:
        """Was enough of it speech?"""
        moves = self._MOVES if self._certain >= self._CERTAIN_FRAMES else self._MOVES_MUCH
        loud = max(self._FAINTEST, self._usual - self._BESIDE)
        return self._level >= loud and self._deviation >= moves

    def _clear(self) -> None:
        self._frames, self._certain = 0, 0
        self._power, self._sum, self._squares = 0.0, 0.0, 0.0

    def _count(self, frame: _Frame) -> None:
        self._frames += 1
        self._certain += frame.certain
        self._power += 10 ** (frame.level / 10)
        self._sum += frame.level
        self._squares += frame.level**2

    @property
    def _level(self) -> float:
        return 10 * log10(self._power / self._frames) if self._frames else -100.0

    @property
    def _deviation(self) -> float:
        mean = self._sum / max(1, self._frames)
        return sqrt(max(0.0, self._squares / max(1, self._frames) - mean**2))
