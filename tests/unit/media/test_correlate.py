from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.correlate import coverage, find
from media.frames import Codec, Samples, to_samples
from media.g711 import decode_batch, encode_batch
from media.wav import read_mono

GOLDEN = Path(__file__).parents[2] / "golden" / "audio"
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def speech() -> Samples:
    with (GOLDEN / "speech.wav").open("rb") as file:
        return to_samples(read_mono(file))


def noise(count: int, level: float = 1000.0) -> NDArray[np.int16]:
    return RNG.normal(0, level, count).astype(np.int16)


@pytest.mark.parametrize("gain", [0.05, 0.5, 1.0])
def test_finds_a_sound_at_any_volume(speech: Samples, gain: float) -> None:
    recording = np.zeros(80000, dtype=np.int16)
    recording[12345 : 12345 + len(speech)] = speech * gain
    match = find(speech[4000:12000], recording)
    assert match.lag == 12345 + 4000
    assert match.peak > 0.98


def test_finds_what_went_through_a_telephone(speech: Samples) -> None:
    through = decode_batch(encode_batch(speech.copy(), Codec.PCMU), Codec.PCMU)
    match = find(speech[4000:12000], np.concatenate((noise(20000), through)))
    assert match.lag == 24000
    assert match.peak > 0.98


def test_finds_a_sound_in_noise_of_its_own_power(speech: Samples) -> None:
    power = float(np.std(speech[4000:12000].astype(float)))
    recording = noise(80000, power)
    recording[30000 : 30000 + len(speech)] += speech
    match = find(speech[4000:12000], recording)
    assert match.lag == 34000
    assert match.peak == pytest.approx(0.7, abs=0.1)


def test_does_not_find_it_in_noise_or_other_speech(speech: Samples) -> None:
    first, rest = speech[2000:8000], speech[9000:]
    assert find(first, noise(80000)).peak < 0.2
    assert find(first, rest).peak < 0.5
    assert find(first, -speech[2000:8000]).peak <= 0


@pytest.mark.parametrize(
    ("reference", "recording"),
    [
        (np.zeros(0, np.int16), np.ones(10, np.int16)),
        (np.zeros(5, np.int16), noise(50)),
        (noise(50), np.zeros(100, np.int16)),
        (noise(50), noise(20)),
        (noise(50), np.zeros(0, np.int16)),
    ],
)
def test_what_cannot_be_found_is_not(reference: Samples, recording: Samples) -> None:
    assert find(reference, recording) == (0.0, 0)


def test_coverage_forgives_changed_pauses_but_not_missing_words(speech: Samples) -> None:
    half = len(speech) // 2 // 4000 * 4000
    pause = np.zeros(3000, dtype=np.int16)
    stretched = np.concatenate((pause, speech[:half], pause, speech[half:], pause))
    assert coverage(speech, stretched) == 1.0
    assert 0.2 < coverage(speech, np.concatenate((speech[:half], pause))) < 0.7
    assert coverage(speech, noise(len(speech))) == 0.0
    assert coverage(speech[:0], stretched) == 0.0


def test_coverage_wants_the_words_in_their_order(speech: Samples) -> None:
    half = len(speech) // 2 // 4000 * 4000
    assert coverage(speech, np.concatenate((speech[half:], speech[:half]))) < 0.8


def test_what_was_said_twice_is_found_where_it_was_said_first(speech: Samples) -> None:
    said = speech[4000:12000]
    twice = np.concatenate((noise(5000), said, noise(3000), speech[12000:16000], said))
    assert find(said[:4000], twice).lag == 5000
    assert coverage(np.concatenate((said, speech[12000:16000], said)), twice) == 1.0
