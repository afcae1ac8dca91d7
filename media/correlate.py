"""Finding a known sound in a recording, whatever its volume.

Used to prove that what was said really arrived: not that something loud came, but that waveform.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples, samples_in

_QUIET: Final = 1e-4
"""A window with less than this share of the loudest window's power is no match for anything."""
_SPEECH_SHARE: Final = 0.1
"""A piece with less than this share of the mean power is a pause."""

_EQUAL: Final = 0.97
"""With this share of the best cosine a window is as good."""
_PEAK_WIDTH: Final = 40
"""Samples from where a peak begins to its top, at most: half a period of 100 Hz."""


class Match(NamedTuple):
    """Where a reference fits best.

    `peak` is the cosine between the reference and the recording's best window: 1.0 is the same
    waveform at any volume, 0 is unrelated. Speech through G.711 gives more than 0.98, in noise of
    its own power about 0.7. Other speech of the same voice gives up to 0.25 for a reference of a
    second and up to 0.5 for half a second; noise gives less.
    `lag` is that window's first sample in the recording.
    """

    peak: float
    lag: int


def find(reference: Samples, recording: Samples) -> Match:
    """The best match of a reference (up to a few seconds) in a recording at the same rate.

    The normalized cross-correlation, by FFT. Both may be int16 or float. A reference that is
    empty, silent or longer than the recording is found nowhere: Match(0.0, 0).
    """
    pattern = _centred(reference)
    signal = _centred(recording)
    norm = float(np.sqrt(pattern @ pattern))
    if not norm or len(pattern) > len(signal):
        return Match(0.0, 0)
    size = 1 << (len(signal) + len(pattern) - 1).bit_length()
    spectrum = np.fft.rfft(signal, size) * np.conj(np.fft.rfft(pattern, size))
    products = np.fft.irfft(spectrum, size)[: len(signal) - len(pattern) + 1]
    running = np.concatenate(([0.0], np.cumsum(signal * signal)))
    energy = running[len(pattern) :] - running[: -len(pattern)]
    floor = _QUIET * float(energy.max())
    if not floor:
        return Match(0.0, 0)
    cosines = np.where(energy > floor, products / np.sqrt(np.maximum(energy, floor)), 0.0) / norm
    # Of equals the first: what was said twice is found where it was said first.
    rise = int(np.argmax(cosines >= _EQUAL * cosines.max()))
    lag = rise + int(np.argmax(cosines[rise : rise + _PEAK_WIDTH]))
    return Match(float(np.clip(cosines[lag], -1.0, 1.0)), lag)


def coverage(
    reference: Samples, recording: Samples, *, piece_ms: int = 500, peak: float = 0.6
) -> float:
    """The share, 0 to 1, of a long utterance that is found in a recording, in its order.

    The reference is cut into pieces, pauses are left out, and each piece is looked for after the
    one before it. So a receiver that stretches or shortens pauses (a jitter buffer does) still
    matches, and words that are missing are not covered.
    """
    size = samples_in(piece_ms)
    pieces = [reference[at : at + size] for at in range(0, len(reference) - size + 1, size)]
    powers = np.array([float(np.mean(piece.astype(np.float64) ** 2)) for piece in pieces])
    spoken = [
        piece
        for piece, power in zip(pieces, powers, strict=True)
        if power and power >= _SPEECH_SHARE * powers.mean()
    ]
    found, start = 0, 0
    for piece in spoken:
        match = find(piece, recording[start:])
        if match.peak >= peak:
            found += 1
            start += match.lag + len(piece) // 2
    return found / len(spoken) if spoken else 0.0


def _centred(samples: Samples) -> NDArray[np.float64]:
    values: NDArray[np.float64] = samples.astype(np.float64)
    return values - values.mean() if len(values) else values
