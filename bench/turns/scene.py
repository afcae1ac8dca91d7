"""A case as audio: the caller's side of the line in frames of mu-law, and where its words are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from cases import Case
from sounds import FRAME, RATE, Floats, sound

from media.frames import to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm

#: What the agent speaks with, as loud as the caller.
_AGENT_VOICE: Final = "slt"
#: Whatever the caller says.
ANSWER: Final = "Thank you, I have made a note of it, and you will hear from us by tomorrow noon."
#: How long the caller thinks before an answer, ms; and how long a scene goes on after it.
_THINKS_MS: Final = 500
_AFTER_MS: Final = 5000
#: Between sounds that are one stretch, ms.
_JOINT_MS: Final = 60
#: Of a line on which nobody speaks: RMS of 32768 (-70 dBov).
_LINE: Final = 10
#: An echo's level against the agent's voice.
_ECHO: Final = 10 ** (-20 / 20)
_TALKERS: Final = (
    "demo-congrats", "demo-echotest", "demo-abouttotry", "vm-options", "screen-callee-options",
    "conf-adminmenu", "basic-pbx-ivr-main", "priv-callee-options",
)  # fmt: skip


@dataclass
class Word:
    """One word of the caller, at its middle (samples)."""

    text: str
    at: int


@dataclass
class Scene:
    """What reaches the agent's ear if nobody echoes."""

    case: Case
    #: The agent's sentence: PCM at 8000 Hz, in whole frames.
    asked: bytes
    #: Its answer.
    answer: bytes
    caller: Floats
    words: list[Word] = field(default_factory=list)
    #: Stretches of the caller's sounds, [begin, end) in samples.
    speech: list[tuple[int, int]] = field(default_factory=list)
    recorded: bool = False
    #: The transcriber writes as Whisper does: a capital, and a full stop after everything.
    punctuated: bool = False

    @property
    def true_begin(self) -> int:
        return self.speech[0][0] if self.speech else 0

    @property
    def true_end(self) -> int:
        """Where the caller's turn is over (samples)."""
        return self.speech[-1][1] if self.speech else 0

    @property
    def frames(self) -> int:
        return len(self.caller) // FRAME

    def frame(self, number: int, echo: bytes) -> bytes:
        """20 ms of the caller with the echo of what the agent said then (mu-law)."""
        heard = self.caller[number * FRAME : (number + 1) * FRAME]
        if echo:
            heard = heard + _ECHO * to_samples(ulaw_to_pcm(echo)).astype(float)
        return pcm_to_ulaw(to_pcm(np.clip(np.rint(heard), -32768, 32767)))


def scene(case: Case, scratch: Path) -> Scene:
    """Build a case. The same each time."""
    asked = sound(f"{_AGENT_VOICE}:{case.asked}", scratch).audio
    begin = len(asked) + _samples(_THINKS_MS)
    if case.over_ms is not None:
        begin = _samples(case.over_ms)
    answer = sound(f"{_AGENT_VOICE}:{ANSWER}", scratch).audio
    made = Scene(case, to_pcm(np.rint(asked)), to_pcm(np.rint(answer)), np.zeros(0))
    track: list[Floats] = [np.zeros(begin)]
    at = begin
    for part in case.said:
        if isinstance(part, int):
            track.append(np.zeros(_samples(part)))
            at += _samples(part)
            continue
        start = at
        for number, name in enumerate(part.split(" + ")):
            if number:
                track.append(np.zeros(_samples(_JOINT_MS)))
                at += _samples(_JOINT_MS)
            piece = sound(name, scratch)
            words = piece.words if case.transcript is None else _once(case.transcript, made.words)
            made.words += _placed(words, at, len(piece.audio))
            made.recorded = made.recorded or piece.recorded
            track.append(piece.audio)
            at += len(piece.audio)
        made.speech.append((start, at))
    track.append(np.zeros(max(_samples(_AFTER_MS), len(asked) + _samples(2000) - at)))
    caller = np.concatenate(track)
    caller = np.pad(caller, (0, -len(caller) % FRAME))
    seed = sum(map(ord, case.name))
    made.caller = caller + np.random.default_rng(seed).normal(0, _LINE, len(caller))
    if case.noise is not None:
        reference = _level(caller) if made.speech else 32768.0
        made.caller += _noise(case.noise, reference, len(caller), seed + 1, scratch)
    return made


def _samples(ms: int) -> int:
    return ms // 20 * FRAME


def _once(transcript: str, before: list[Word]) -> tuple[str, ...]:
    return () if before else tuple(transcript.split())


def _placed(words: tuple[str, ...], begin: int, length: int) -> list[Word]:
    """Words spread over their sound by how many letters they have."""
    letters = sum(len(word) + 1 for word in words)
    placed, so_far = [], 0
    for word in words:
        middle = so_far + (len(word) + 1) / 2
        placed.append(Word(word, begin + int(length * middle / letters)))
        so_far += len(word) + 1
    return placed


def _noise(
    noise: tuple[str, int], reference: float, length: int, seed: int, scratch: Path
) -> Floats:
    """Noise of a kind, at its level against the reference (RMS)."""
    kind, level_db = noise
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    match kind:
        case "white":
            made = rng.normal(size=length)
        case "hum":
            made = sum(
                np.sin(2 * np.pi * hz * time) / order
                for order, hz in enumerate((50, 100, 150, 200, 300), 1)
            )
        case "clicks":
            made = np.zeros(length)
            for at in rng.integers(0, length - 40, size=length * 3 // RATE):
                made[at : at + 40] += rng.normal(size=40) * np.hanning(80)[40:]
            return made / np.abs(made).max() * 32768 * 10 ** (level_db / 20)
        case _:
            talkers = [sound(name, scratch).audio for name in _TALKERS]
            made = np.sum(
                [np.resize(np.roll(each, rng.integers(len(each))), length) for each in talkers],
                axis=0,
            )
    return made / np.sqrt((made**2).mean()) * reference * 10 ** (level_db / 20)


def _level(audio: Floats) -> float:
    """RMS where somebody speaks: of the frames less than 26 dB below the loudest."""
    levels = np.sqrt((audio.reshape(-1, FRAME) ** 2).mean(axis=1))
    return float(np.sqrt((levels[levels > levels.max() / 20] ** 2).mean()))
