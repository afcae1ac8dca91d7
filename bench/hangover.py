"""How long a voice activity detector hears speech that is over, and how often it ends it too soon.

    .venv/bin/python bench/hangover.py [FOLDER ...]

The first is latency before any work begins; whoever shortens it must show the second beside it. No
system runs here, only the detectors of `media`, on the shipped recordings, or on every fitting WAV
of the folders: clean, in white noise, and in the babble of eight others.

What is speech is known from the clean recording (speech.py): it begins and ends with samples over
-30 dB of its peak, and within, each frame with a sample over -36 dB is speech.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from processes import ROOT
from reply import FRAME
from speech import load

from media.frames import FRAME_MS, Samples, to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm
from media.vad import EnergyVad, Vad, WebRtcVad, WithoutHangover

DETECTORS: Final[dict[str, Callable[[], Vad]]] = {
    "webrtc": WebRtcVad,
    "webrtc, without hangover": lambda: WithoutHangover(WebRtcVad()),
    "energy": EnergyVad,
}
#: Name, and how far it lies below the speech, dB.
_NOISES: Final = (
    ("clean", 0), ("white", 40), ("white", 30), ("white", 20), ("white", 10),
    ("babble", 40), ("babble", 30), ("babble", 20), ("babble", 10),
)  # fmt: skip
_SILENCES_MS: Final = (200, 300, 400, 600)
_AROUND: Final = 50  # frames before and after the speech
_SOFT: Final = 300  # of the recordings' peak of 20000
_VOICES: Final = 8

Bits = NDArray[np.bool_]


class Ends(NamedTuple):
    """Ends of turn that a wait for silence finds within one utterance."""

    all: int
    false: int
    """Those whose silence holds speech."""


def hangover_ms(vad: Vad, speech: list[bytes]) -> int:
    """From the end of `speech` to the end of the last frame called speech; below 0 if before it."""
    pcm = to_samples(b"".join(map(ulaw_to_pcm, speech)))
    return _after(_heard(vad, _padded(pcm)), len(speech))


def ends(heard: Bits, speech: Bits, silence_ms: int) -> Ends:
    """Where the silence after speech that was heard reaches `silence_ms` before the last word."""
    wait, found, false, silent = silence_ms // FRAME_MS, 0, 0, -1
    first, last = np.flatnonzero(speech)[[0, -1]]
    for at in range(first, last + 1):
        if heard[at]:
            silent = 0
        elif silent >= 0:
            silent += 1
            if silent == wait:
                found, silent = found + 1, -1
                false += bool(speech[at + 1 - wait : at + 1].any())
    return Ends(found, false)


def table(files: list[Path]) -> str:
    """Every detector in every noise, as Markdown."""
    clean = [to_samples(b"".join(map(ulaw_to_pcm, load(file)))) for file in files]
    lines = [
        "| noise | detector | hangover, ms, p50 / p95 | speech frames missed "
        + "".join(f"| ends at {ms} ms: false / all " for ms in _SILENCES_MS)
        + "|",
        "| --- | --- | --- | --- " + "| --- " * len(_SILENCES_MS) + "|",
    ]
    for noise, below_db in _NOISES:
        noisy = [_with_noise(pcm, noise, below_db, clean, at) for at, pcm in enumerate(clean)]
        for name, make in DETECTORS.items():
            hangovers, missed, spoken = [], 0, 0
            counts = np.zeros((len(_SILENCES_MS), 2), int)
            for pcm, mixed in zip(clean, noisy, strict=True):
                heard = _heard(make(), mixed)
                speech = np.abs(_padded(pcm).reshape(-1, FRAME)).max(axis=1) > _SOFT
                hangovers.append(_after(heard, len(pcm) // FRAME))
                missed += int((speech & ~heard).sum())
                spoken += int(speech.sum())
                counts += [ends(heard, speech, ms)[::-1] for ms in _SILENCES_MS]
            p50, p95 = np.percentile(hangovers, (50, 95))
            where = f"{noise}, {below_db} dB" if below_db else noise
            lines.append(
                f"| {where} | {name} | {p50:.0f} / {p95:.0f} | {missed / spoken:.1%} "
                + "".join(f"| {false} / {found} " for false, found in counts)
                + "|"
            )
    return "\n".join(lines)


def _padded(pcm: Samples) -> Samples:
    return np.pad(pcm, _AROUND * FRAME)


def _heard(vad: Vad, pcm: Samples) -> Bits:
    return np.array([vad.is_speech(frame.tobytes()) for frame in pcm.reshape(-1, FRAME)])


def _after(heard: Bits, frames: int) -> int:
    last = int(np.flatnonzero(heard)[-1]) if heard.any() else -1
    return (last + 1 - _AROUND - frames) * FRAME_MS


def _with_noise(
    pcm: Samples, noise: str, below_db: int, others: list[Samples], seed: int
) -> Samples:
    """The recording amid silence or noise, once through mu-law. The same each time."""
    rng = np.random.default_rng(seed)
    padded = _padded(pcm).astype(float)
    if noise == "white":
        padded += _scaled(rng.normal(size=padded.size), _level(pcm), below_db)
    elif noise == "babble":
        tongues = [
            np.roll(np.resize(others[which], padded.size), rng.integers(padded.size))
            for which in rng.integers(len(others), size=_VOICES)
        ]
        padded += _scaled(np.sum(tongues, axis=0, dtype=float), _level(pcm), below_db)
    return to_samples(ulaw_to_pcm(pcm_to_ulaw(to_pcm(padded))))


def _level(pcm: Samples) -> float:
    """RMS where somebody speaks: of the frames less than 26 dB below the loudest."""
    levels = np.sqrt((pcm.astype(float).reshape(-1, FRAME) ** 2).mean(axis=1))
    return float(np.sqrt((levels[levels > levels.max() / 20] ** 2).mean()))


def _scaled(noise: NDArray[np.float64], level: float, below_db: int) -> NDArray[np.float64]:
    return noise * (level * 10 ** (-below_db / 20) / np.sqrt((noise**2).mean()))


def _fitting(folder: Path) -> list[Path]:
    """The WAVs that `load` takes, and that hold more than half a second of speech."""
    fitting = []
    for file in sorted(folder.glob("*.wav")):
        try:
            if len(load(file)) * FRAME_MS > 500:
                fitting.append(file)
        except (ValueError, IndexError):
            continue
    return fitting


if __name__ == "__main__":
    folders = [Path(each) for each in sys.argv[1:]] or [ROOT / "trunkline/callers"]
    recordings = [file for folder in folders for file in _fitting(folder)]
    print(f"{len(recordings)} recordings\n\n{table(recordings)}")
