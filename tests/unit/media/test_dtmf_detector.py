"""The limits of ITU-T Q.24, and that no speech is taken for a key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.dtmf import DIGITS, FREQUENCIES, FULL_SCALE_DBM0, dial
from media.dtmf_detector import DtmfDetector, Tone
from media.frames import FRAME_BYTES, samples_in, to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm
from media.wav import read_mono

ROOT = Path(__file__).parents[3]
Floats = NDArray[np.float64]


def key(
    digit: str,
    ms: float = 50,
    *,
    low_dbm0: float = -10,
    high_dbm0: float = -10,
    off_low: float = 0.0,
    off_high: float = 0.0,
    start: int = 0,
) -> Floats:
    """A key between silence, `off` its frequencies by that share, `start` samples into a frame."""
    time = np.arange(samples_in(ms)) / 8000
    low, high = FREQUENCIES[digit]
    amplitudes = [32767 * 10 ** ((db - FULL_SCALE_DBM0) / 20) for db in (low_dbm0, high_dbm0)]
    sound = amplitudes[0] * np.sin(2 * np.pi * low * (1 + off_low) * time + start)
    sound += amplitudes[1] * np.sin(2 * np.pi * high * (1 + off_high) * time + 2 * start)
    return np.concatenate((np.zeros(480 + start), sound, np.zeros(1600)))


def heard(samples: Floats) -> list[Tone]:
    pcm = ulaw_to_pcm(pcm_to_ulaw(to_pcm(samples)))
    detector = DtmfDetector()
    frames = [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]
    tones = [detector.push(frame) for frame in frames if len(frame) == FRAME_BYTES]
    return [tone for tone in tones if tone is not None]


STARTS = range(0, 160, 37)


@pytest.mark.parametrize("digit", DIGITS)
@pytest.mark.parametrize(
    "limits",
    [
        {"ms": 40},
        {"ms": 500},
        {"low_dbm0": -3, "high_dbm0": -3},
        {"low_dbm0": -25, "high_dbm0": -25},
        {"low_dbm0": -14},
        {"high_dbm0": -18},
        {"off_low": 0.018, "off_high": 0.018},
        {"off_low": -0.018, "off_high": -0.018},
        {"off_low": 0.018, "off_high": -0.018},
    ],
    ids=str,
)
def test_a_key_within_the_limits_is_heard_once(digit: str, limits: dict[str, float]) -> None:
    for start in STARTS:
        [tone] = heard(key(digit, start=start, **limits))  # type: ignore[arg-type]  # by name
        assert tone.digit == digit
        assert tone.duration_ms == pytest.approx(limits.get("ms", 50), abs=10)


@pytest.mark.parametrize(
    "limits",
    [
        {"ms": 25},
        {"low_dbm0": -40, "high_dbm0": -40},
        {"off_low": 0.035},
        {"off_high": -0.035},
        {"low_dbm0": -24},
        {"high_dbm0": -26},
    ],
    ids=str,
)
def test_what_is_beyond_the_limits_is_no_key(limits: dict[str, float]) -> None:
    for digit in DIGITS:
        assert heard(key(digit, **limits)) == []  # type: ignore[arg-type]  # by name


def test_one_tone_alone_is_no_key() -> None:
    for hz in (697, 941, 1209, 1477, 350, 440):
        assert heard(9000 * np.sin(2 * np.pi * hz * np.arange(4000) / 8000)) == []


@pytest.mark.parametrize(("gap_ms", "keys"), [(10, 1), (15, 1), (40, 2), (60, 2)])
def test_a_short_break_is_none_and_a_pause_is_one(gap_ms: int, keys: int) -> None:
    for start in STARTS:
        sound = key("5", 200, start=start)
        at = 480 + start + 800
        sound[at : at + gap_ms * 8] = 0
        assert [tone.digit for tone in heard(sound)] == ["5"] * keys


def test_keys_as_quick_as_a_machine_dials() -> None:
    sound = np.concatenate((to_samples(dial(DIGITS, 45, 45)).astype(float), np.zeros(800)))
    assert "".join(tone.digit for tone in heard(sound)) == DIGITS


def test_keys_in_noise_of_12_db_below_each_tone() -> None:
    rng = np.random.default_rng(1)
    noise = 32767 * 10 ** ((-10 - FULL_SCALE_DBM0) / 20) * 10 ** (-12 / 20)
    for digit in DIGITS:
        sound = key(digit)
        assert [tone.digit for tone in heard(sound + rng.normal(0, noise, len(sound)))] == [digit]


def test_no_speech_is_a_key() -> None:
    paths = [*(ROOT / "trunkline/callers").glob("*.wav"), ROOT / "tests/golden/audio/speech.wav"]
    for path in paths:
        with path.open("rb") as file:
            samples = to_samples(read_mono(file)).astype(float)
        for gain in (0.2, 1.0):
            assert heard(gain * samples) == [], path.name
