"""Concealment is measured: how near to the lost sound is what stands in its place?"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.frames import FRAME_BYTES, SILENCE, to_pcm, to_samples
from media.listening.jitter import Ahead
from media.listening.pitch import pitch_period
from media.listening.plc import Concealer
from media.wav import read_mono

GOLDEN = Path(__file__).parents[3] / "golden" / "audio"
Floats = NDArray[np.float64]


def voice(pitch_hz: float, seconds: float = 2.0, glide: float = 0.08) -> bytes:
    """A vowel: harmonics of a gliding pitch under three formants, swelling three times a second."""
    time = np.arange(int(seconds * 8000)) / 8000
    pitch = pitch_hz * (1 + glide * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / 8000
    sound = np.zeros(len(time))
    for harmonic in range(1, int(3600 / pitch_hz)):
        hz = harmonic * pitch_hz
        envelope = sum(1 / (1 + ((hz - formant) / 120) ** 2) for formant in (600, 1300, 2500))
        sound += envelope * np.sin(harmonic * phase)
    sound *= 0.7 + 0.3 * np.sin(2 * np.pi * 3 * time)
    return to_pcm(sound / np.abs(sound).max() * 12000)


def frames(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def lose(sent: list[bytes], share: float, seed: int = 4) -> set[int]:
    rng = random.Random(seed)
    return {at for at in range(5, len(sent)) if rng.random() < share}


def concealed(sent: list[bytes], lost: set[int], *, known: bool = False) -> list[bytes]:
    """What is heard; `known`: the frames after a gap are already there when it is filled."""
    concealer = Concealer()
    heard = []
    for at, frame in enumerate(sent):
        if at not in lost:
            heard.append(concealer.receive(frame))
            continue
        after = next((n for n in range(at, len(sent)) if n not in lost), None)
        ahead = Ahead((after - at - 1) * 160, sent[after]) if known and after else None
        heard.append(concealer.conceal(ahead))
    return heard


def repeated(sent: list[bytes], lost: set[int]) -> list[bytes]:
    heard: list[bytes] = []
    for at, frame in enumerate(sent):
        heard.append(heard[-1] if at in lost else frame)
    return heard


def segmental_snr_db(sent: list[bytes], heard: list[bytes], lost: set[int]) -> float:
    """Mean over the lost frames that held sound, each within -10 to 35 dB as is the custom."""
    ratios = []
    for at in lost:
        signal = to_samples(sent[at]).astype(float)
        error = signal - to_samples(heard[at])
        if np.mean(signal**2) > 100**2:
            ratio = 10 * np.log10((signal @ signal + 1) / (error @ error + 1))
            ratios.append(np.clip(ratio, -10, 35))
    return float(np.mean(ratios))


def speech() -> bytes:
    with (GOLDEN / "speech.wav").open("rb") as file:
        return read_mono(file)


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("pitch_hz", [90, 130, 210, 300])
def test_a_vowel_is_far_better_concealed_than_repeated_or_muted(
    pitch_hz: float, share: float
) -> None:
    sent = frames(voice(pitch_hz))
    ours, repeating = [], []
    for seed in range(8):
        lost = lose(sent, share, seed)
        ours.append(segmental_snr_db(sent, concealed(sent, lost), lost))
        repeating.append(segmental_snr_db(sent, repeated(sent, lost), lost))
    assert np.mean(ours) > 1.7  # muting is 0 dB by definition
    assert np.mean(ours) > np.mean(repeating) + 5


@pytest.mark.parametrize(("known", "muting", "repeating"), [(False, 1.5, 3.0), (True, 4.0, 6.0)])
def test_speech_is_better_concealed_than_repeated_or_muted(
    known: bool, muting: float, repeating: float
) -> None:
    sent = frames(speech())
    gains, over_repeating = [], []
    for seed in range(8):
        lost = lose(sent, 0.1, seed)
        ours = segmental_snr_db(sent, concealed(sent, lost, known=known), lost)
        gains.append(ours)
        over_repeating.append(ours - segmental_snr_db(sent, repeated(sent, lost), lost))
    assert np.mean(gains) > muting
    assert np.mean(over_repeating) > repeating


def test_what_comes_after_a_gap_is_led_up_to() -> None:
    # Silence, then a vowel whose first frame is lost: only what follows tells of it.
    sent = [SILENCE] * 10 + frames(voice(120))[20:40]
    blind, seeing = concealed(sent, {10}), concealed(sent, {10}, known=True)
    assert blind[10] == SILENCE
    assert np.std(to_samples(seeing[10])[80:]) > np.std(to_samples(sent[10])) / 3
    assert seeing[11] == sent[11]  # it adjoins; there is nothing to blend


def test_another_end_than_was_led_up_to_is_blended_in() -> None:
    sent = frames(voice(120))
    concealer = Concealer()
    for frame in sent[:40]:
        concealer.receive(frame)
    concealer.conceal(Ahead(160, sent[42]))
    late = concealer.receive(sent[41])  # it came while the gap was being filled
    assert late != sent[41]
    assert late[160:] == sent[41][160:]
    concealer.conceal(Ahead(0, sent[43]))
    assert concealer.receive(sent[50])[:160] != sent[50][:160]


@pytest.mark.parametrize("gap", [1, 2, 4])
def test_seams_of_a_filled_gap_do_not_click(gap: int) -> None:
    sent = frames(voice(120))
    whole = to_samples(b"".join(sent)).astype(float)
    heard = concealed(sent, set(range(41, 41 + gap)), known=True)
    steps = np.abs(np.diff(to_samples(b"".join(heard)).astype(float)))
    assert steps.max() < 1.2 * np.abs(np.diff(whole)).max()


def test_without_loss_nothing_changes() -> None:
    sent = frames(speech())
    assert concealed(sent, set()) == sent


def test_a_long_gap_fades_to_silence_within_80_ms() -> None:
    sent = frames(voice(120))
    heard = concealed(sent, set(range(40, 60)))
    loudness = [np.sqrt(np.mean(to_samples(frame).astype(float) ** 2)) for frame in heard]
    assert loudness[40] > 0.6 * loudness[39]
    assert 0.05 * loudness[39] < loudness[42] < 0.5 * loudness[39]
    assert heard[44:60] == [SILENCE] * 16


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_seams_do_not_click(gap: int) -> None:
    sent = frames(voice(120))
    lost = set(range(41, 41 + gap))
    whole = to_samples(b"".join(sent)).astype(float)
    heard = to_samples(b"".join(concealed(sent, lost))).astype(float)
    steepest = np.abs(np.diff(whole)).max()
    assert np.abs(np.diff(heard)).max() < 1.2 * steepest
    muted = [SILENCE if at in lost else frame for at, frame in enumerate(sent)]
    recovered = slice((41 + gap) * 160 - 1, (41 + gap) * 160 + 1)
    step = np.abs(np.diff(to_samples(b"".join(muted)).astype(float)[recovered]))[0]
    assert np.abs(np.diff(heard[recovered]))[0] < max(step, steepest)


def test_a_seam_left_by_a_dropped_frame_is_smoothed() -> None:
    sent = frames(voice(97))
    concealer = Concealer()
    for frame in sent[:40]:
        concealer.receive(frame)
    smooth = concealer.receive(sent[41], spliced=True)
    dropped, after, blended = (
        to_samples(frame)[:8].astype(float) for frame in (sent[40], sent[41], smooth)
    )
    assert np.std(blended - dropped) < np.std(after - dropped) / 2  # it goes on as it would have
    assert smooth[200:] == sent[41][200:]


def test_after_a_pause_nothing_from_before_it_returns() -> None:
    concealer = Concealer()
    for frame in frames(voice(120))[:20]:
        concealer.receive(frame)
    concealer.conceal()
    concealer.reset()
    assert concealer.conceal() == SILENCE


@pytest.mark.parametrize("level", [0, 1, 32767])
def test_extremes_stay_within_16_bits(level: int) -> None:
    rng = np.random.default_rng(1)
    concealer = Concealer()
    for _ in range(5):
        concealer.receive(to_pcm(rng.choice([-level, level], 160).astype(np.int16)))
    filled = to_samples(b"".join(concealer.conceal() for _ in range(5))).astype(int)
    assert np.abs(filled).max() <= level + 1 if level < 2 else len(filled) == 800


@pytest.mark.parametrize("hz", [80, 100, 160, 250, 390])
def test_the_pitch_is_found(hz: float) -> None:
    signal = to_samples(voice(hz, 0.2, glide=0))[-480:].astype(float)
    periods = pitch_period(signal) * hz / 8000
    assert round(periods) >= 1
    assert periods == pytest.approx(round(periods), rel=0.05)


def test_other_frame_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="320 bytes"):
        Concealer().receive(bytes(160))
