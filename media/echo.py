"""The agent's own voice, come back: what the caller's phone or line returns is not the caller.

An echo is the agent's audio, weaker, at most 300 ms later. So while the agent is heard, and for as
long afterwards, only what is louder than such an echo can be the caller. How much weaker it is, the
coupling, differs from line to line and is learnt from each call in two ways:

- From what stays under it: the loudest of the last seconds. A first guess fits a loud speakerphone
  (an echo louder than -10 dB from the start of the call is beyond it); where there is no echo, the
  softest caller gets through after about two seconds of the agent.
- From what does not, where it rises and falls with the agent's level: so does an echo that grew as
  the caller switched the speaker on, and nobody who speaks.

Misses and false passes by echo, delay and caller: bench/VAD.md.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from media.frames import FRAME_MS
from media.level import SILENT, level_dbov

_DELAY: Final = 320 // FRAME_MS  # the longest echo path, and the frame that an echo straddles


class _Heard(NamedTuple):
    level: int  # -dBov
    over: float  # dB over the loudest that was played
    played: tuple[int, ...]  # -dBov, one for each delay


class EchoGate:
    """Tells the caller from the agent's echo, by level alone. One per call, all in dB."""

    _GUESS: Final = -12.0
    """The coupling until it is learnt."""
    _MARGIN: Final = 2.0
    """How far an echo may exceed what was learnt."""
    _LEARN: Final = 1000 // FRAME_MS
    _MEMORY: Final = 3000 // FRAME_MS
    _AROUND: Final = 400 // FRAME_MS  # next to what may be the caller, nothing is learnt
    _INAUDIBLE: Final = 75
    """-dBov of an echo that no detector hears, and G.711 hardly carries."""
    _PLAIN: Final = 40
    """-dBov: from softer audio than this nothing is learnt."""

    def __init__(self) -> None:
        self._played: deque[int] = deque([SILENT] * _DELAY, maxlen=_DELAY)
        self._under: deque[float] = deque(maxlen=self._MEMORY)
        self._candidates: deque[float] = deque()
        self._follows = _Follows()
        self._sounding = 0
        self._frozen = 0
        self.coupling = self._GUESS
        """Of the loudest echo to the loudest that is played."""

    def may_be_caller(self, pcm: bytes, agent_level: int) -> bool:
        """Whether this frame of the caller's line can be the caller's own voice.

        `agent_level` is what the agent was playing in the same 20 ms: 0 to 127 in -dBov, 127 for
        nothing (RFC 6464 section 3).
        """
        self._played.append(agent_level)
        loudest = min(self._played)
        if loudest == SILENT:
            self._sounding = 0
            return True
        self._sounding += 1
        level = level_dbov(pcm)
        heard = _Heard(level, float(loudest - level), tuple(self._played))
        passes = heard.over > self.coupling + self._MARGIN
        if self._sounding > _DELAY and loudest < self._PLAIN:
            if not passes:
                self._learn(heard.over)
            elif self._is_echo(heard):
                return False
        return passes or loudest - self.coupling > self._INAUDIBLE

    def _learn(self, over: float) -> None:
        if self._frozen:
            self._frozen -= 1
            return
        self._candidates.append(over)
        if len(self._candidates) > self._AROUND:
            self._under.append(self._candidates.popleft())
            if len(self._under) >= self._LEARN:
                self.coupling = max(self._under)

    def _is_echo(self, heard: _Heard) -> bool:
        # What led up to a caller was likely the caller too.
        self._candidates.clear()
        self._frozen = self._AROUND
        if not self._follows.add(heard):
            return False
        self._under = deque(self._follows.overs, self._MEMORY)
        self.coupling = max(self._under)
        self._follows = _Follows()
        return True


class _Follows:
    """Has what was louder than the echo risen and fallen with the agent, at one of the delays?"""

    _FRAMES: Final = 75
    _EVERY: Final = 5
    _DEVIATION: Final = 5.5
    """dB. An echo in a room has 2 to 6, people who speak at the same time have 8 and more."""
    _FLOOR: Final = -65.0
    """dBov. Below it there is line noise."""

    def __init__(self) -> None:
        self._heard: deque[_Heard] = deque(maxlen=self._FRAMES)
        self._next = self._EVERY

    @property
    def overs(self) -> list[float]:
        return [heard.over for heard in self._heard]

    def add(self, heard: _Heard) -> bool:
        self._heard.append(heard)
        self._next = (self._next or self._EVERY) - 1
        if self._next or len(self._heard) < self._FRAMES:
            return False
        levels = -np.array([[each.level] for each in self._heard], float)
        played = -np.array([each.played for each in self._heard], float)
        expected = played + np.median(levels - played, axis=0)
        apart = np.maximum(levels, self._FLOOR) - np.maximum(expected, self._FLOOR)
        moving = np.maximum(levels, self._FLOOR).std() > self._DEVIATION
        return bool(moving and apart.std(axis=0).min() < self._DEVIATION)
