from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from media.frames import FRAME_BYTES, SILENCE, to_pcm
from media.vad import EnergyVad, Vad, VadUnavailableError, WebRtcVad
from media.wav import read_mono

GOLDEN = Path(__file__).parents[2] / "golden" / "audio"


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def noise(level: float, count: int) -> list[bytes]:
    rng = np.random.default_rng(7)
    return frames(to_pcm(rng.normal(0, level, count * 160)))


@pytest.fixture(params=["webrtc", "energy"])
def vad(request: pytest.FixtureRequest) -> Vad:
    if request.param == "energy":
        return EnergyVad()
    pytest.importorskip("webrtcvad")
    return WebRtcVad()


def test_hears_speech_and_not_the_silence_around_it(vad: Vad) -> None:
    with (GOLDEN / "speech.wav").open("rb") as file:
        speech = frames(read_mono(file))
    before = [vad.is_speech(SILENCE) for _ in range(50)]
    during = [vad.is_speech(frame) for frame in speech]
    after = [vad.is_speech(SILENCE) for _ in range(50)]
    assert sum(before) == 0
    assert np.mean(during) > 0.6
    assert sum(after[25:]) == 0


def test_energy_learns_a_steady_noise_and_hears_over_it() -> None:
    vad = EnergyVad()
    verdicts = [vad.is_speech(frame) for frame in noise(600, 500)]
    assert verdicts[0]
    assert not any(verdicts[-100:])
    assert vad.is_speech(noise(4000, 1)[0])


def test_energy_recovers_at_once_when_the_noise_ends() -> None:
    vad = EnergyVad()
    for frame in noise(600, 500):
        vad.is_speech(frame)
    vad.is_speech(noise(30, 1)[0])
    assert vad.is_speech(noise(600, 1)[0])


def test_other_frame_sizes_are_refused(vad: Vad) -> None:
    with pytest.raises(ValueError, match="320 bytes"):
        vad.is_speech(bytes(160))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(VadUnavailableError, match=r"trunkline\[embedded\]"):
        WebRtcVad()


def test_modes_are_checked() -> None:
    pytest.importorskip("webrtcvad")
    with pytest.raises(ValueError, match="0 to 3"):
        WebRtcVad(4)
