"""The spectrogram that Whisper takes."""

from __future__ import annotations

import numpy as np
import pytest

from media.whisper_features import BANDS, RATE, log_mel, normalized


def tone(hz: float, seconds: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


def test_a_second_has_a_hundred_columns_of_eighty_bands() -> None:
    features = log_mel(tone(440))
    assert features.shape == (BANDS, 100)
    assert features.dtype == np.float32


def test_a_tone_is_loudest_in_the_band_of_its_mel() -> None:
    # Slaney's scale: 1000 Hz is 15 mel of the 45.2 up to 8 kHz, cut into 81 steps.
    steps = 45.245 / 81
    for hz, mel in ((440.0, 6.6), (1000.0, 15.0), (4000.0, 15 + 27 * np.log(4) / np.log(6.4))):
        loudest = log_mel(tone(hz))[:, 50].argmax()
        assert abs(loudest - (mel / steps - 1)) <= 1


def test_nothing_is_further_down_than_eighty_decibels() -> None:
    features = log_mel(np.concatenate([tone(440), np.zeros(RATE)]))
    assert features.max() - features.min() == pytest.approx(8.0 / 4.0)


def test_loudness_and_offset_are_normalized_away() -> None:
    loud = normalized(3.0 * tone(300) + 1.0)
    assert np.allclose(loud, normalized(tone(300)), atol=1e-5)
    assert loud.var() == pytest.approx(1.0, abs=1e-4)
    assert not normalized(np.zeros(RATE)).any()


def test_too_little_audio_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        log_mel(np.zeros(200))
