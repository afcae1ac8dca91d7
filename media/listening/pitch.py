"""Speech goes on as it went: the pitch period, and the sound continued by repeating it.

Voiced speech repeats itself every 2.5 to 15 ms, so the best guess at what comes next is what came
one period before. The period is where the last 15 ms look most like what came before them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from media.frames import samples_in

SHORTEST: Final = samples_in(2.5)  # 400 Hz
LONGEST: Final = samples_in(15)  # 66 Hz
TEMPLATE: Final = samples_in(15)
LEAST_PAST: Final = samples_in(20)
"""So much sound is needed to go on from; TEMPLATE + LONGEST show the lowest voices too."""

_LEAST_TEMPLATE: Final = samples_in(7.5)
_STEP: Final = samples_in(2)

Floats = NDArray[np.float64]


def pitch_period(past: Floats) -> int:
    """The lag, in samples (2.5 to 15 ms), at which the end of `past` looks most like before.

    It may be a multiple of the period: of a period that is no whole number of samples, some
    multiple nearly is, and repeats the better for it.
    """
    template = min(max(len(past) - LONGEST, _LEAST_TEMPLATE), TEMPLATE)
    longest = min(LONGEST, len(past) - template)
    end = past[-template:]
    windows = sliding_window_view(past[-template - longest : -SHORTEST], template)
    energy = np.einsum("ij,ij->i", windows, windows)
    cosines = (windows @ end) / np.sqrt(energy + 1.0)
    return longest - int(np.argmax(cosines))  # window i lags by longest - i


def continued(past: Floats, count: int) -> Floats:
    """`count` samples that go on from `past`, of at least LEAST_PAST samples, as it went last.

    Where the period meets itself it is cross-faded. Between `past` and its first repetition nothing
    may be cross-faded, for the last sample is already played; there the step between them is taken
    up and let go within 2 ms.
    """
    period = pitch_period(past)
    overlap = period // 4
    piece = past[-period:].copy()
    before = past[-period - overlap : -period]
    rising = np.arange(1, overlap + 1) / (overlap + 1)
    piece[-overlap:] = piece[-overlap:] * (1 - rising) + before * rising
    wave = np.resize(piece, count)
    step = past[-1] - piece[-1]
    falling = 1 - np.arange(1, _STEP + 1) / (_STEP + 1)
    wave[:_STEP] += step * falling[:count]
    return wave
