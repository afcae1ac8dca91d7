"""Hearing DTMF in the sound itself, for lines whose keys come no other way.

Goertzel's question, how much of this frequency is in here, is asked of the eight tones every 10 ms
over 20 ms: a product of the samples with eight complex waves. A key is one tone of each group that
together are nearly all of the sound (no voice is), level with each other, on their frequencies, for
as long as ITU-T Q.24 asks a receiver to hear:

- level: 0 to -25 dBm0 a tone, with some room below;
- twist: the high tone up to 4 dB above the low one, or 8 dB below it, with room for filters;
- frequency: within 1.8 % is a key, beyond 3.5 % is none. It is known from how the tone's phase
  moves from one look to the next, and so exactly that no voice keeps to it;
- 40 ms are a key, 25 ms are none; a break of 10 ms is none, one of 40 ms ends it.

A frame takes 20 to 50 us, a silent one 8.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.dtmf import FREQUENCIES, FULL_SCALE_DBM0
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, samples_in, to_samples

_WINDOW: Final = samples_in(20)
_HOP_MS: Final = 10
_HOP: Final = samples_in(_HOP_MS)

_TONES: Final = sorted({hz for pair in FREQUENCIES.values() for hz in pair})
_KEYS: Final = {pair: digit for digit, pair in FREQUENCIES.items()}
_BENDS: Final = (-0.012, 0.0, 0.012)
"""A tone is looked for on its frequency and beside it, or one that is 1.8 % off would seem weak."""

_LEAST_DBM0: Final = -31.0
_SHARE: Final = 0.72
"""Of the sound's energy that a key's two tones are."""
_ABOVE_OTHERS: Final = 4.0
"""Times the energy of any other tone of its group: 6 dB."""
_MOST_TWIST_DB: Final = 6.0
_LEAST_TWIST_DB: Final = -10.0
_OFF: Final = 0.025
"""The share of its frequency that a tone may be off."""
_LOOKS: Final = 3
"""So many in a row make a key..."""
_GAP_LOOKS: Final = 4
"""... and so many without it end it."""


class Tone(NamedTuple):
    """A key that was heard, told once it is let go."""

    digit: str
    duration_ms: int


class _Look(NamedTuple):
    """What one window holds, if it may be a key."""

    low: int  # places among _TONES
    high: int
    phases: NDArray[np.complex128]  # of all tones on their own frequencies


class DtmfDetector:
    """Hears keys in one stream of PCM frames (20 ms)."""

    def __init__(self) -> None:
        self._recent = np.zeros(_WINDOW - _HOP)
        self._last: _Look | None = None
        self._run = 0  # looks in a row that agree
        self._key: str | None = None
        self._looks = 0  # of the key, from its first to its last
        self._missed = 0

    def push(self, frame_pcm: bytes) -> Tone | None:
        """Take the next frame; give the key that it shows to have been let go."""
        samples = np.concatenate((self._recent, to_samples(frame_pcm).astype(np.float64)))
        self._recent = samples[-(_WINDOW - _HOP) :]
        ended = None
        for at in range(0, FRAME_SAMPLES, _HOP):
            ended = self._look(samples[at : at + _WINDOW]) or ended
        return ended

    def _look(self, window: NDArray[np.float64]) -> Tone | None:
        look = _judge(window)
        key = None if look is None else _KEYS[_TONES[look.low], _TONES[look.high]]
        if look is not None and self._last is not None and _goes_on(self._last, look):
            self._run += 1
        else:
            self._run = 1
        self._last = look
        if key is not None and key == self._key:
            self._looks += 1 + self._missed
            self._missed = 0
        elif key is not None and self._run >= _LOOKS:
            ended = self._end()
            self._key, self._looks = key, self._run
            return ended
        elif self._key is not None:
            self._missed += 1
            if self._missed >= _GAP_LOOKS:
                return self._end()
        return None

    def _end(self) -> Tone | None:
        key, self._key, self._missed = self._key, None, 0
        return Tone(key, (self._looks + 1) * _HOP_MS) if key else None


def _judge(window: NDArray[np.float64]) -> _Look | None:
    energy = float(window @ window)
    if energy < _LEAST_ENERGY:
        return None
    found = (_WAVES @ window).view(np.complex128)
    # The energy of a sine of that amplitude over the window; of each tone the best of its bends.
    energies = np.max((found.real**2 + found.imag**2).reshape(len(_BENDS), -1), axis=0)
    energies *= 2 / _WINDOW
    low = int(np.argmax(energies[:4]))
    high = 4 + int(np.argmax(energies[4:]))
    at_low, at_high = float(energies[low]), float(energies[high])
    if at_low + at_high < _SHARE * energy or min(at_low, at_high) < _LEAST_ENERGY:
        return None
    twist_db = 10 * np.log10(at_high / at_low)
    if not _LEAST_TWIST_DB <= twist_db <= _MOST_TWIST_DB:
        return None
    energies[low] = energies[high] = 0.0
    others = float(np.max(energies[:4])) * _ABOVE_OTHERS, float(np.max(energies[4:]))
    if others[0] > at_low or others[1] * _ABOVE_OTHERS > at_high:
        return None
    return _Look(low, high, found[len(_TONES) : 2 * len(_TONES)])


def _goes_on(earlier: _Look, later: _Look) -> bool:
    """Whether it is the same key, its tones on their frequencies."""
    if (earlier.low, earlier.high) != (later.low, later.high):
        return False
    for place in (later.low, later.high):
        # Each wave starts anew with its window, so the phase moves by the tone's whole advance.
        hz = _TONES[place]
        turn = later.phases[place] * np.conj(earlier.phases[place])
        turn *= np.exp(-2j * np.pi * hz * _HOP / SAMPLE_RATE)
        off_hz = float(np.angle(turn)) * SAMPLE_RATE / (2 * np.pi * _HOP)
        if abs(off_hz) > _OFF * hz:
            return False
    return True


def _waves() -> NDArray[np.float64]:
    """The waves as rows, real and imaginary part by turns: a product of reals is the quicker."""
    times = np.arange(_WINDOW) / SAMPLE_RATE
    bent = np.array([[hz * (1 + bend) for hz in _TONES] for bend in _BENDS]).reshape(-1, 1)
    waves = np.exp(-2j * np.pi * bent * times)
    return np.stack((waves.real, waves.imag), axis=1).reshape(-1, _WINDOW)


_WAVES: Final = _waves()
_LEAST_ENERGY: Final = _WINDOW / 2 * (32767 * 10 ** ((_LEAST_DBM0 - FULL_SCALE_DBM0) / 20)) ** 2
"""Of a sine over a window."""
