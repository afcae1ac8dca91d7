"""When the caller begins to speak, pauses, goes on, and when the turn is over.

A state machine over VAD frames:

    QUIET --enough speech--> SPEAKING --some silence--> PAUSED --the wait is over--> QUIET
          (Onset)             ^  (Pause)                  |    (TurnOver)
                              +-------enough speech-------+
                                      (Resumed)

Time is counted in frames of 20 ms, so it is the media's time: a worker that hears a call again
after a take-over, faster than real time, decides the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from calls.agent import Endpointing, Speculation

_FRAME_MS: Final = 20
_FRAME_SAMPLES: Final = 160
#: So much speech ends a pause: a click in it does not. In frames.
_RESUME: Final = 3


@dataclass(frozen=True, slots=True)
class Onset:
    """Speech began at `position` (samples); playback may pause."""

    position: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence since `end` (samples): the turn may be over."""

    end: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """It was not: speech goes on from `position` (samples)."""

    position: int


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The speech from `start` to `end` (samples) was the turn, and now it is over.

    `longest`: not for silence, but since it had lasted as long as a turn may.
    """

    start: int
    end: int
    longest: bool = False


Signal = Onset | Pause | Resumed | TurnOver


class _State(Enum):
    QUIET = auto()
    SPEAKING = auto()
    PAUSED = auto()


class TurnTaking:
    """One call's endpointing."""

    def __init__(self, how: Endpointing, guessing: Speculation) -> None:
        self._how = how
        self._min_speech = _frames(how.min_speech_ms)
        self._longest = _frames(how.max_turn_ms)
        self._pause = _frames(min(guessing.after_ms, how.silence_ms))
        self._state = _State.QUIET
        #: Frames of speech in favour of an onset, or of going on.
        self._evidence = 0
        self._begin = 0
        self._resumed_at = 0
        self._last_speech = 0
        self._reset()

    @property
    def speaking(self) -> bool:
        """Is a turn in progress, its pauses included?"""
        return self._state is not _State.QUIET

    @property
    def last_speech(self) -> int:
        """Where the last speech ended (samples)."""
        return self._last_speech

    def wait(self, ms: int) -> None:
        """End this turn after so much silence, unless the caller goes on."""
        self._silence = _frames(ms)

    def feed(self, position: int, speech: bool) -> Signal | None:
        """Take the frame that begins at `position` (samples) and what the VAD says of it."""
        end = position + _FRAME_SAMPLES
        if self._state is _State.QUIET:
            return self._onset(position, speech)
        resumed = None
        if self._state is _State.SPEAKING:
            if speech:
                self._last_speech = end
        elif self._gathers(position, speech, _RESUME):
            self._state = _State.SPEAKING
            self._silence = _frames(self._how.silence_ms)
            resumed = Resumed(self._resumed_at)
        if end - self._begin >= self._longest * _FRAME_SAMPLES:
            return self.finish(longest=True)
        silent = (end - self._last_speech) // _FRAME_SAMPLES
        if self._state is _State.SPEAKING and silent >= min(self._pause, self._silence):
            self._state = _State.PAUSED
            self._evidence = 0
            return Pause(self._last_speech)
        # Speech that is not yet enough to go on may become so: it is not cut off meanwhile.
        if self._state is _State.PAUSED and not self._evidence and silent >= self._silence:
            return self.finish()
        return resumed

    def finish(self, *, longest: bool = False) -> TurnOver | None:
        """End the turn here, as at the end of the call. None when nobody was speaking."""
        if self._state is _State.QUIET:
            return None
        over = TurnOver(self._begin, self._last_speech, longest)
        self._state = _State.QUIET
        self._reset()
        return over

    def _reset(self) -> None:
        self._evidence = 0
        self._silence = _frames(self._how.silence_ms)

    def _onset(self, position: int, speech: bool) -> Onset | None:
        if not self._gathers(position, speech, self._min_speech):
            return None
        self._state = _State.SPEAKING
        self._begin = self._resumed_at
        return Onset(self._begin)

    def _gathers(self, position: int, speech: bool, enough: int) -> bool:
        # Each speech frame counts for it and each other frame against it, so that a word with a
        # stop in it begins in time, and scattered clicks never do.
        if not speech:
            self._evidence = max(0, self._evidence - 1)
            return False
        if self._evidence == 0:
            self._resumed_at = position
        self._evidence += 1
        if self._evidence < enough:
            return False
        self._last_speech = position + _FRAME_SAMPLES
        self._evidence = 0
        return True


def _frames(ms: int) -> int:
    return max(1, round(ms / _FRAME_MS))
