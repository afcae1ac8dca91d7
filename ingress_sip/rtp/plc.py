"""Packet-loss concealment by repeating the last pitch period.

Voiced speech repeats itself every 2.5 to 15 ms, so the best guess at what was lost is what came
one period before. The idea is that of ITU-T G.711 appendix I, without its 3.75 ms of added delay:

- The period is where the last 20 ms correlate best with what came before them.
- The first 20 ms repeat one period, the next two, then three, or it would sound like a buzzer.
- After 10 ms the sound fades, and after 60 ms it is silent: no vowel is held for ever.
- Seams are cross-faded: where the repeated piece meets itself, and where real audio returns.
- At the first seam nothing may be cross-faded, for the last sample is already played; there the
  step between it and the repeated period is taken up and let go within 2 ms.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from media.frames import (
    FRAME_BYTES,
    FRAME_SAMPLES,
    SAMPLE_BYTES,
    SILENCE,
    samples_in,
    to_pcm,
    to_samples,
)

_SHORTEST: Final = samples_in(2.5)  # 400 Hz
_LONGEST: Final = samples_in(15)  # 66 Hz
_TEMPLATE: Final = FRAME_SAMPLES
_MOST_PERIODS: Final = 3
_STEP: Final = samples_in(2)
_HISTORY: Final = _LONGEST * (_MOST_PERIODS + 1)
_FULL: Final = samples_in(10)
_SILENT: Final = samples_in(60)

Floats = NDArray[np.float64]


class Concealer:
    """Fills the gaps of one stream of PCM frames (20 ms, 320 bytes). No delay is added."""

    def __init__(self) -> None:
        self._history = bytes(_HISTORY * SAMPLE_BYTES)
        self._filled = b""  # what this gap was filled with, to become history when it ends
        self._lost = 0  # samples concealed in this gap
        self._period = 0
        self._phase = 0
        self._piece: Floats = np.zeros(0)

    def receive(self, frame_pcm: bytes, *, spliced: bool = False) -> bytes:
        """Pass a frame that arrived; after a gap its start is blended with what filled the gap.

        `spliced` says that a frame before this one was dropped on purpose, and asks for the same
        blending. Raises ValueError for another size than 320 bytes.
        """
        if len(frame_pcm) != FRAME_BYTES:
            raise ValueError(f"a frame is {FRAME_BYTES} bytes of PCM, not {len(frame_pcm)}")
        if self._lost or spliced:
            frame_pcm = self._blend(frame_pcm)
            self._lost = 0
        self._history = (self._history + self._filled + frame_pcm)[-_HISTORY * SAMPLE_BYTES :]
        self._filled = b""
        return frame_pcm

    def conceal(self) -> bytes:
        """A frame for one that is missing."""
        if self._lost >= _SILENT:
            return SILENCE
        frame = to_pcm(self._continue(FRAME_SAMPLES))
        self._filled += frame
        return frame

    def reset(self) -> None:
        """A pause began: nothing from before it may come back."""
        self._history = bytes(_HISTORY * SAMPLE_BYTES)
        self._filled = b""
        self._lost = 0

    def _blend(self, frame_pcm: bytes) -> bytes:
        length = min(samples_in(5) + self._lost // 5, samples_in(10))
        tail = self._continue(length) if self._lost < _SILENT else np.zeros(length)
        rising = np.arange(1, length + 1) / (length + 1)
        frame = to_samples(frame_pcm).astype(np.float64)
        frame[:length] = frame[:length] * rising + tail * (1 - rising)
        return to_pcm(frame)

    def _continue(self, count: int) -> Floats:
        """The next samples of the sound that went before."""
        if not self._lost:
            self._begin()
        periods = min(1 + self._lost // FRAME_SAMPLES, _MOST_PERIODS)
        wave = self._repeated(count)
        if len(self._piece) != periods * self._period:
            old = self._repeated(min(self._period // 4, count))
            self._lengthen(periods)
            wave = self._repeated(count)
            falling = 1 - np.arange(1, len(old) + 1) / (len(old) + 1)
            wave[: len(old)] += (old - wave[: len(old)]) * falling
        if not self._lost:
            step = float(to_samples(self._history)[-1]) - self._piece[-1]
            wave[:_STEP] += step * (1 - np.arange(1, _STEP + 1) / (_STEP + 1))
        times = self._lost + np.arange(count)
        wave *= np.clip((_SILENT - times) / (_SILENT - _FULL), 0, 1)
        self._phase = (self._phase + count) % len(self._piece)
        self._lost += count
        return wave

    def _begin(self) -> None:
        self._period = pitch_period(to_samples(self._history).astype(np.float64))
        self._phase = 0
        self._piece = self._smoothed(self._period)

    def _lengthen(self, periods: int) -> None:
        """Repeat more periods from now on, at the same place within the period."""
        self._phase %= self._period
        self._piece = self._smoothed(periods * self._period)

    def _smoothed(self, length: int) -> Floats:
        """The last samples heard, their end blended into what came before their start."""
        history = to_samples(self._history).astype(np.float64)
        overlap = self._period // 4
        piece = history[-length:].copy()
        before = history[-length - overlap : -length]
        rising = np.arange(1, overlap + 1) / (overlap + 1)
        piece[-overlap:] = piece[-overlap:] * (1 - rising) + before * rising
        return piece

    def _repeated(self, count: int) -> Floats:
        return self._piece[(self._phase + np.arange(count)) % len(self._piece)]


def pitch_period(history: Floats) -> int:
    """The lag, in samples (2.5 to 15 ms), at which the last 20 ms look most like before.

    It may be a multiple of the period: of a period that is no whole number of samples, some
    multiple nearly is, and repeats the better for it.
    """
    template = history[-_TEMPLATE:]
    reach = history[-_TEMPLATE - _LONGEST : -_SHORTEST]
    windows = sliding_window_view(reach, _TEMPLATE)  # window i lags by _LONGEST - i
    energy = np.einsum("ij,ij->i", windows, windows)
    cosines = (windows @ template) / np.sqrt(energy + 1.0)
    return _LONGEST - int(np.argmax(cosines))
