"""Finding a sentence by its sound, in whatever phase a synthesizer spoke it.

The embedded synthesizer speaks a sentence in the same time and colour each time, and never in the
same waveform. So it is looked for by its spectrum: of the sentences here, one is found again with a
likeness of 0.91 and more, and taken for another with less than 0.8.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from media.frames import SAMPLE_RATE, Samples

ALIKE: Final = 0.85
#: Enough of a sentence to know it by, in samples.
PATTERN: Final = SAMPLE_RATE
_HOP: Final = 80
_WINDOW: Final = 256
#: Bands from 94 Hz to 3.4 kHz, in bins of the window.
_EDGES: Final = np.unique(np.round(np.geomspace(3, 110, 15)).astype(int))
_FLOOR: Final = 1e5
_VOICE: Final = 500


def places(reference: Samples, audio: Samples) -> list[int]:
    """Every place where the audio has the beginning of the reference, in samples."""
    likenesses = _slide(reference[:PATTERN], audio)
    found = []
    while len(likenesses) and likenesses.max() > ALIKE:
        at = int(likenesses.argmax())
        found.append(at * _HOP)
        likenesses[max(0, at - PATTERN // _HOP // 2) : at + PATTERN // _HOP // 2] = 0
    return sorted(found)


def likeness(reference: Samples, audio: Samples) -> float:
    """How much the audio is like the reference, from its beginning on; 1 is the same."""
    length = min(len(reference), len(audio))
    if abs(len(reference) - len(audio)) > SAMPLE_RATE // 10:
        return 0.0
    return float(_slide(reference[:length], audio[:length]).max())


def voice(audio: Samples) -> int:
    """How many samples of the audio are in 20 ms with voice in them."""
    frames = audio[: len(audio) // 160 * 160].reshape(-1, 160).astype(np.int32)
    return int((np.abs(frames).max(axis=1) > _VOICE).sum()) * 160


def _slide(reference: Samples, audio: Samples) -> NDArray[np.float64]:
    ours, theirs = _spectrum(reference), _spectrum(audio)
    if len(ours) > len(theirs):
        return np.zeros(0)
    ours = ours - ours.mean()
    windows = sliding_window_view(theirs, ours.shape)[:, 0]
    windows = windows - windows.mean(axis=(1, 2), keepdims=True)
    norms = np.sqrt((windows**2).sum(axis=(1, 2)) * (ours**2).sum())
    likenesses: NDArray[np.float64] = (windows * ours).sum(axis=(1, 2)) / np.maximum(norms, 1e-9)
    return likenesses


def _spectrum(samples: Samples) -> NDArray[np.float64]:
    """The logarithm of the power in each band, every 10 ms."""
    padded = np.concatenate([samples.astype(np.float64), np.zeros(_WINDOW)])
    windows = sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(windows)) ** 2
    bands = [power[:, low:high].sum(axis=1) for low, high in pairwise(_EDGES)]
    return np.log10(np.stack(bands, axis=1) + _FLOOR)
