"""How long a voice activity detector hears speech after a recording's last sample has gone by.

    .venv/bin/python bench/hangover.py

That time is latency before any work begins, and the log cannot see it: its clock starts with the
last frame that the detector took for speech. No system runs here, only the detectors of `media`.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from processes import ROOT
from speech import SILENCE, load

from media.frames import FRAME_MS
from media.g711 import ulaw_to_pcm
from media.vad import EnergyVad, Vad, WebRtcVad

_LEAD_FRAMES = _TAIL_FRAMES = 50


def hangover_ms(vad: Vad, speech: list[bytes]) -> int:
    """From the end of `speech` to the end of the last frame called speech; below 0 if before it."""
    frames = [SILENCE] * _LEAD_FRAMES + speech + [SILENCE] * _TAIL_FRAMES
    heard = [vad.is_speech(ulaw_to_pcm(frame)) for frame in frames]
    last = max((number for number, is_speech in enumerate(heard) if is_speech), default=-1)
    return (last + 1 - _LEAD_FRAMES - len(speech)) * FRAME_MS


def report(files: list[Path]) -> None:
    detectors = {f"webrtc, mode {mode}": lambda mode=mode: WebRtcVad(mode) for mode in range(4)}
    for name, make in {**detectors, "energy": EnergyVad}.items():
        found = {file.name: hangover_ms(make(), load(file)) for file in files}
        print(
            f"{name}: p50 {median(found.values()):.0f} ms, {min(found.values())} to "
            f"{max(found.values())} ms over {len(found)} recordings"
        )


if __name__ == "__main__":
    report(sorted((ROOT / "trunkline/callers").glob("*.wav")))
