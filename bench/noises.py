"""Recordings, and what is heard on a telephone line beside them: all at 8000 Hz, through mu-law."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from reply import FRAME, RATE
from speech import load

from media.frames import FRAME_MS, Samples, to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm

PROMPTS: Final = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
"""Debian's asterisk-core-sounds-en-wav."""

Wave = NDArray[np.float64]
Random = np.random.Generator


def recordings(folder: Path, least_ms: int = 500) -> list[Samples]:
    """The folder's WAVs that `load` takes, and that hold more than so much speech."""
    found = []
    for file in sorted(folder.glob("*.wav")):
        try:
            frames = load(file)
        except (ValueError, IndexError):
            continue
        if len(frames) * FRAME_MS > least_ms:
            found.append(to_samples(b"".join(map(ulaw_to_pcm, frames))))
    return found


def phone(wave: Wave) -> Samples:
    """Once through mu-law."""
    return to_samples(ulaw_to_pcm(pcm_to_ulaw(to_pcm(wave))))


def frames_of(samples: Samples) -> list[bytes]:
    whole = samples[: len(samples) // FRAME * FRAME]
    return [frame.tobytes() for frame in whole.reshape(-1, FRAME)]


def active_level(wave: NDArray) -> float:
    """RMS where somebody speaks: of the frames less than 26 dB below the loudest."""
    whole = wave[: len(wave) // FRAME * FRAME].astype(float).reshape(-1, FRAME)
    levels = np.sqrt((whole**2).mean(axis=1))
    return float(np.sqrt((levels[levels > levels.max() / 20] ** 2).mean()))


def at_level(wave: NDArray, dbov: float) -> Wave:
    """The wave with that RMS."""
    return wave * (32768 * 10 ** (dbov / 20) / np.sqrt((wave.astype(float) ** 2).mean()))


def babble(random: Random, samples: int, others: list[Samples], voices: int = 8) -> Wave:
    """Others who speak all at once, without a pause."""
    tongues = [
        np.roll(np.resize(others[which], samples), random.integers(samples))
        for which in random.integers(len(others), size=voices)
    ]
    return np.sum(tongues, axis=0, dtype=float)


def noisy(samples: Samples, noise: str, below_db: int, others: list[Samples], seed: int) -> Samples:
    """The recording amid "clean" silence, or "white" noise or "babble" so far below its speech."""
    random = np.random.default_rng(seed)
    wave = samples.astype(float)
    if noise == "white":
        added = random.normal(size=wave.size)
    elif noise == "babble":
        added = babble(random, wave.size, others)
    else:
        return phone(wave)
    return phone(wave + at_level(added, 20 * np.log10(active_level(samples) / 32768) - below_db))


def without_speech(voices: list[Samples], seed: int) -> Iterator[tuple[str, Samples]]:
    """Twelve seconds each of what is not the caller, by name."""
    random = np.random.default_rng(seed)
    length = 12 * RATE
    steady: dict[str, Callable[[], Wave]] = {
        "white noise": lambda: random.normal(size=length),
        "pink noise": lambda: _pink(random, length, 1),
        "hum": lambda: _hum(length, 50),
        "melody": lambda: _melody(random, length),
    }
    for name, make in steady.items():
        for dbov in (-50, -35, -20):
            yield name, phone(at_level(make(), dbov))
            yield f"{name}, bursts", phone(_bursts(random, at_level(make(), dbov), (0.1, 1.5)))
    events: dict[str, tuple[Callable[[], Wave], tuple[float, float]]] = {
        "slams": (lambda: _slam(random), (0.6, 2.5)),
        "clicks": (lambda: random.normal(size=400) * _decay(400, 0.005), (0.05, 0.6)),
        "breaths": (lambda: _band(random, 4000, 300, 3000) * np.hanning(4000), (1, 3)),
        "coughs": (lambda: _band(random, 2400, 400, 3400) * _decay(2400, 0.08), (1, 3)),
    }
    for name, (make, every) in events.items():
        for dbov in (-45, -35, -25):
            yield name, phone(at_level(_repeated(random, length, make, every), dbov))
    for dbov in (-60, -50, -40, -30):
        for count in (4, 8, 16):
            crowd = at_level(babble(random, length, voices, count), dbov)
            yield f"{count} voices, {dbov} dBov", phone(crowd)
            yield f"{count} voices, bursts, {dbov} dBov", phone(_bursts(random, crowd, (1, 3)))
        one = at_level(babble(random, length, voices, 1), dbov)
        yield f"1 voice, {dbov} dBov", phone(one)


def _decay(samples: int, seconds: float) -> Wave:
    return np.exp(-np.arange(samples) / RATE / seconds)


def _band(random: Random, samples: int, low: int, high: int) -> Wave:
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum = np.fft.rfft(random.normal(size=samples))
    return np.fft.irfft(np.where((hertz < low) | (hertz > high), 0, spectrum), samples)


def _pink(random: Random, samples: int, slope: float) -> Wave:
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 60)
    return np.fft.irfft(np.fft.rfft(random.normal(size=samples)) / hertz ** (slope / 2), samples)


def _slam(random: Random) -> Wave:
    thud = _pink(random, 4800, 2)
    thud *= _decay(4800, random.uniform(0.05, 0.15)) * 3 / np.abs(thud).max()
    return thud + 0.3 * random.normal(size=4800) * _decay(4800, 0.03)


def _hum(samples: int, hertz: int) -> Wave:
    time = np.arange(samples) / RATE
    parts = [np.sin(2 * np.pi * hertz * k * time + k) / k for k in (1, 2, 3, 5, 7)]
    return np.sum(parts, axis=0)


def _melody(random: Random, samples: int) -> Wave:
    wave, at = np.zeros(samples), 0
    while at < samples:
        time = np.arange(min(int(random.uniform(0.15, 0.6) * RATE), samples - at)) / RATE
        pitch = 220 * 2 ** (random.integers(0, 24) / 12)
        note = np.sum([np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3, 4)], axis=0)
        wave[at : at + time.size] = note * np.exp(-3 * time)
        at += time.size
    return wave


def _bursts(random: Random, wave: Wave, on: tuple[float, float]) -> Wave:
    gate, at = np.zeros(wave.size), RATE // 2
    while at < wave.size:
        length = int(random.uniform(*on) * RATE)
        gate[at : at + length] = 1
        at += length + int(random.uniform(0.3, 1.5) * RATE)
    return wave * np.convolve(gate, np.ones(80) / 80, "same")


def _repeated(
    random: Random, samples: int, make: Callable[[], Wave], every: tuple[float, float]
) -> Wave:
    wave, at = np.zeros(samples), RATE // 2
    while at < samples - RATE:
        event = make()
        wave[at : at + event.size] += event[: samples - at]
        at += int(random.uniform(*every) * RATE)
    return wave
