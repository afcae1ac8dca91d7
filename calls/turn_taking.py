"""When the caller begins to speak, and when the turn is over: a state machine over VAD frames.

    QUIET --enough speech--> SPEAKING --enough silence, or too long--> QUIET
          (Onset)                     (TurnOver)

Time is counted in frames of 20 ms, so it is the media's time: a worker that hears a call again
after a take-over, faster than real time, decides the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from calls.agent import Endpointing

_FRAME_MS = 20
_FRAME_SAMPLES = 160


@dataclass(frozen=True, slots=True)
class Onset:
    """Speech began at `position` (samples); playback may pause."""

    position: int


@dataclass(frozen=True, slots=True)
class TurnOver:
    """The speech from `start` to `end` (samples) was the turn, and now it is over."""

    start: int
    end: int


class _State(Enum):
    QUIET = auto()
    SPEAKING = auto()


class TurnTaking:
    """One call's endpointing."""

    def __init__(self, how: Endpointing) -> None:
        self._min_speech = _frames(how.min_speech_ms)
        self._silence = _frames(how.silence_ms)
        self._longest = _frames(how.max_turn_ms)
        self._state = _State.QUIET
        self._evidence = 0
        self._begin = 0
        self._last_speech = 0

    @property
    def speaking(self) -> bool:
        return self._state is _State.SPEAKING

    def feed(self, position: int, speech: bool) -> Onset | TurnOver | None:
        """Take the frame that begins at `position` (samples) and what the VAD says of it."""
        if self._state is _State.QUIET:
            return self._listen_for_onset(position, speech)
        if speech:
            self._last_speech = position + _FRAME_SAMPLES
        silent = (position + _FRAME_SAMPLES - self._last_speech) // _FRAME_SAMPLES
        long = (position + _FRAME_SAMPLES - self._begin) // _FRAME_SAMPLES
        if silent >= self._silence or long >= self._longest:
            return self.finish()
        return None

    def finish(self) -> TurnOver | None:
        """End the turn here, as at the end of the call. None when nobody was speaking."""
        if self._state is _State.QUIET:
            return None
        self._state = _State.QUIET
        self._evidence = 0
        return TurnOver(self._begin, self._last_speech)

    def _listen_for_onset(self, position: int, speech: bool) -> Onset | None:
        # Each speech frame counts for the onset and each other frame against it, so that a word
        # with a stop in it begins in time, and scattered clicks never do.
        if not speech:
            self._evidence = max(0, self._evidence - 1)
            return None
        if self._evidence == 0:
            self._begin = position
        self._evidence += 1
        self._last_speech = position + _FRAME_SAMPLES
        if self._evidence < self._min_speech:
            return None
        self._state = _State.SPEAKING
        return Onset(self._begin)


def _frames(ms: int) -> int:
    return max(1, round(ms / _FRAME_MS))
