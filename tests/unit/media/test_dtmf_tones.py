from __future__ import annotations

import numpy as np
import pytest

from media.dtmf import DIGITS, FREQUENCIES, dial, event_code, tone
from media.frames import to_samples


@pytest.mark.parametrize("digit", DIGITS)
def test_a_digit_is_its_two_tones(digit: str) -> None:
    samples = to_samples(tone(digit, 200)).astype(float)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8000))
    strongest = sorted(
        hz for hz in range(600, 1700) if spectrum[hz] == spectrum[hz - 12 : hz + 13].max()
    )
    loudest = sorted(sorted(strongest, key=lambda hz: -spectrum[hz])[:2])
    assert loudest == pytest.approx(FREQUENCIES[digit], abs=2)


def test_each_digit_has_its_own_tones() -> None:
    assert len(set(FREQUENCIES.values())) == 16
    assert FREQUENCIES["5"] == (770, 1336)
    assert FREQUENCIES["D"] == (941, 1633)


def test_event_codes_are_those_of_rfc_4733() -> None:
    assert [event_code(digit) for digit in "0189*#AD"] == [0, 1, 8, 9, 10, 11, 12, 15]
    assert event_code("a") == 12


@pytest.mark.parametrize("wrong", ["", "12", "E", " "])
def test_what_is_no_digit_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        event_code(wrong)


def test_the_level_is_per_tone_and_it_starts_softly() -> None:
    samples = to_samples(tone("1", 100, level_dbm0=-10.0)).astype(float)
    sine_rms = 32767 / np.sqrt(2) * 10 ** ((-10 - 3.17) / 20)
    assert np.sqrt(np.mean(samples[100:-100] ** 2)) == pytest.approx(sine_rms * 2**0.5, rel=0.03)
    assert np.abs(samples[:3]).max() < 0.2 * np.abs(samples).max()


def test_digits_are_dialled_one_after_the_other() -> None:
    pcm = dial("12", tone_ms=60, gap_ms=40)
    assert len(pcm) == 2 * 2 * 800
    assert pcm[:960] == tone("1", 60)
    assert not any(pcm[960:1600])
