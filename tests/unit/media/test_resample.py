from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from media.frames import to_pcm, to_samples
from media.resample import Resampler, resample

RATES = [(24000, 8000), (22050, 8000), (16000, 8000), (44100, 8000), (8000, 16000), (8000, 24000)]


def sine(hz: float, rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    return 16000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def level_db(samples: NDArray[np.float64]) -> float:
    """Relative to the sine above, its edges left out."""
    middle = samples[len(samples) // 10 : -len(samples) // 10]
    return float(10 * np.log10(np.mean(middle**2) / (16000**2 / 2)))


@pytest.mark.parametrize(("rate", "to_rate"), RATES)
@pytest.mark.parametrize("hz", [100, 1000, 3000])
def test_a_tone_arrives_unchanged_and_in_its_place(rate: int, to_rate: int, hz: int) -> None:
    heard = to_samples(resample(to_pcm(sine(hz, rate)), rate, to_rate)).astype(float)
    ideal = sine(hz, to_rate)
    assert len(heard) == len(ideal)
    assert level_db(heard) == pytest.approx(0.0, abs=0.05)
    assert level_db(heard - ideal) < -60 if hz < 3000 else level_db(heard - ideal) < -45


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100, 48000])
def test_what_would_fold_into_the_telephone_band_is_gone(rate: int) -> None:
    full_scale_steps = -95  # dB: below one bit of the output, which therefore is silence
    for hz in np.arange(4650, rate / 2 - 100, 733):
        heard = to_samples(resample(to_pcm(sine(float(hz), rate, 0.25)), rate)).astype(float)
        middle = heard[len(heard) // 10 : -len(heard) // 10]
        assert np.abs(middle).max() <= 1, hz
        if np.any(middle):
            assert level_db(heard) < full_scale_steps + 20


def test_images_above_the_band_are_gone() -> None:
    heard = to_samples(resample(to_pcm(sine(3000, 8000)), 8000, 16000)).astype(float)
    middle = heard[1600:-1600]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    image = spectrum[int(4600 / 8000 * len(spectrum)) :]
    assert 20 * np.log10(image.max() / spectrum.max()) < -85


@given(
    rates=st.sampled_from(RATES),
    pcm=st.binary(min_size=0, max_size=3000),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_the_chunks_do_not_matter(rates: tuple[int, int], pcm: bytes, cuts: list[int]) -> None:
    whole = resample(pcm, *rates)
    resampler = Resampler(*rates)
    edges = [0, *sorted(min(cut, len(pcm)) for cut in cuts), len(pcm)]
    pieces = [resampler.process(pcm[a:b]) for a, b in pairwise(edges)]
    assert b"".join(pieces) + resampler.flush() == whole
    assert len(whole) // 2 == -(-(len(pcm) // 2) * rates[1] // rates[0])


def test_holds_back_two_milliseconds_and_no_more() -> None:
    resampler = Resampler(24000)
    frame = to_pcm(sine(440, 24000, 0.02))
    assert len(resampler.process(frame)) // 2 == 160 - 16
    assert len(resampler.process(frame)) // 2 == 160


def test_is_new_after_flush() -> None:
    resampler = Resampler(22050)
    pcm = to_pcm(sine(700, 22050, 0.1))
    first = resampler.process(pcm) + resampler.flush()
    assert resampler.process(pcm) + resampler.flush() == first


def test_a_rate_that_need_not_change_passes_through() -> None:
    resampler = Resampler(8000, 8000)
    assert resampler.process(b"\x01\x02\x03") == b"\x01\x02"
    assert resampler.process(b"\x04") == b"\x03\x04"
    assert resampler.flush() == b""


def test_loud_sound_saturates_instead_of_wrapping() -> None:
    square = np.where(np.arange(4800) // 24 % 2, 32767, -32768).astype(np.int16)
    heard = to_samples(resample(square.tobytes(), 24000)).astype(int)
    wanted = np.where(np.arange(1600) // 8 % 2, 1, -1)
    assert np.mean(np.sign(heard) == wanted) > 0.99


@pytest.mark.parametrize("rates", [(0, 8000), (8000, 0), (-1, 8000)])
def test_impossible_rates_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot resample"):
        Resampler(*rates)


@pytest.mark.parametrize("rates", [(48000, 8000), (16000, 8000), (8000, 16000), (8000, 48000)])
def test_even_chunks_give_as_much_as_they_hold(rates: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    pcm = to_pcm(rng.integers(-9000, 9000, rates[0] // 5).astype(np.int16))
    even, plain = Resampler(*rates, even=True), resample(pcm, *rates)
    step = rates[0] // 400 * 2  # 2.5 ms
    pieces = [even.process(pcm[at : at + step]) for at in range(0, len(pcm), step)]
    assert {len(piece) for piece in pieces} == {rates[1] // 400 * 2}
    behind = 16 * rates[1] // min(rates) * 2
    assert b"".join(pieces)[behind:] == plain[: len(plain) - behind]
