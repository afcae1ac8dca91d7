"""The spectrogram that Whisper and models made from it listen to: 80 mel bands every 10 ms.

As published with the model (Radford et al., "Robust Speech Recognition via Large-Scale Weak
Supervision", 2.2): a 25 ms periodic Hann window every 10 ms, the power in Slaney's mel bands
(of equal area, to 8 kHz), its logarithm with all that is 80 dB below the loudest raised to that,
and (x + 4) / 4.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

#: Of the audio it takes, Hz.
RATE: Final = 16_000
BANDS: Final = 80
_WINDOW: Final = 400
_HOP: Final = 160
_LEAST: Final = 1e-10

Features = NDArray[np.float32]
Floats = NDArray[np.float64]


def normalized(audio: Floats) -> Floats:
    """The same audio at zero mean and unit variance; silence stays silence."""
    return np.asarray((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7))


def log_mel(audio: Floats) -> Features:
    """The features of audio at 16 kHz (mono, any scale): [80, samples // 160].

    Raises:
        ValueError: there are not more than 200 samples, so the ends cannot be mirrored.
    """
    if len(audio) <= _WINDOW // 2:
        raise ValueError(f"{len(audio)} samples are too few for a spectrogram")
    around = np.pad(audio, _WINDOW // 2, mode="reflect")
    windows = sliding_window_view(around, _WINDOW)[::_HOP][: len(audio) // _HOP]
    power = np.abs(np.fft.rfft(windows * _hann())) ** 2
    loudness = np.log10(np.maximum(power @ _bands(), _LEAST))
    loudness = np.maximum(loudness, loudness.max() - 8.0)
    return np.asarray(((loudness + 4.0) / 4.0).T, np.float32)


@cache
def _hann() -> Floats:
    return np.hanning(_WINDOW + 1)[:-1]


@cache
def _bands() -> Floats:
    """Triangles on Slaney's mel scale, each of area 1 over Hz: [bins, bands]."""
    bins = np.fft.rfftfreq(_WINDOW, 1 / RATE)
    edges = _hz(np.linspace(0.0, _mel(RATE / 2), BANDS + 2))
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (bins[:, None] - low) / (peak - low)
    fall = (high - bins[:, None]) / (high - peak)
    return np.asarray(np.maximum(0.0, np.minimum(rise, fall)) * 2.0 / (high - low))


# Slaney's scale (Auditory Toolbox): linear to 1000 Hz, 15 mel there; above it a factor of 6.4 in
# frequency is 27 mel.
_LINEAR_TO: Final = 1000.0
_LINEAR: Final = 15.0 / _LINEAR_TO
_LOG: Final = 27.0 / np.log(6.4)


def _mel(hz: float) -> float:
    if hz < _LINEAR_TO:
        return hz * _LINEAR
    return float(15.0 + _LOG * np.log(hz / _LINEAR_TO))


def _hz(mel: Floats) -> Floats:
    return np.where(
        mel < 15.0, mel / _LINEAR, _LINEAR_TO * np.exp((np.maximum(mel, 15.0) - 15.0) / _LOG)
    )
