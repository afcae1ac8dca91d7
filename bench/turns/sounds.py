"""The sounds that cases are made of, from packages installed on this machine; none is committed.

A sound is named by where it comes from:

    digits/2                   a prompt recorded by a person, of asterisk-core-sounds-en-wav
                               (Debian), its words from that package's own list
    vm-num-i-have@2            the second stretch between that recording's pauses
    caller:rms-yes-please      a shipped caller (trunkline/callers): synthetic
    rms:my number is um        spoken by flite with that voice: synthetic
    throat                     a throat being cleared, made here of noise
    tt-monkeys                 its first 0.7 s: recorded, and the nearest to a laugh

Each is cut to begin and end with speech and brought to one level, so its true end is known.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import wave
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000
FRAME: Final = 160
#: Of every sound, of 32768; and what is quieter than the other, at its ends, is not of it (-32 dB).
PEAK: Final = 12000
_SPEECH: Final = 300

_RECORDED: Final = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
_LIST: Final = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
_CALLERS: Final = Path(__file__).resolve().parents[2] / "trunkline/callers"
_VOICES: Final = ("rms", "awb", "slt", "kal")

Floats = NDArray[np.float64]


class Sound(NamedTuple):
    """A stretch of audio, what is said in it, and whether a person said it."""

    audio: Floats
    words: tuple[str, ...]
    recorded: bool


class MissingSoundError(RuntimeError):
    """Install what the message names: Debian's asterisk-core-sounds-en-wav, flite, sox."""


@cache
def sound(name: str, scratch: Path) -> Sound:
    """Find or make a sound; flite's are kept in `scratch`.

    Raises:
        MissingSoundError
    """
    if name == "throat":
        return Sound(_level(_throat()), (), False)
    voice, _, words = name.partition(":")
    if voice == "caller":
        spoken = tuple(words.split("-")[1:])
        return Sound(_level(_trim(_read(_CALLERS / f"{words}.wav"))), spoken, False)
    if voice in _VOICES:
        return Sound(_level(_trim(_spoken(voice, words, scratch))), tuple(_plain(words)), False)
    name, _, stretch = name.partition("@")
    audio = _trim(_read(_RECORDED / f"{name}.wav"))
    text = _transcripts()[name]
    if name == "tt-monkeys":
        return Sound(_level(audio[: int(0.7 * RATE)]), (), True)
    if stretch:
        sentences = [each for each in re.split(r"(?<=[.!?])\s+", text) if each]
        pieces = _stretches(audio, len(sentences))
        audio, text = pieces[int(stretch) - 1], sentences[int(stretch) - 1]
    return Sound(_level(audio), tuple(_plain(text)), True)


@cache
def _transcripts() -> dict[str, str]:
    if not _LIST.exists():
        raise MissingSoundError(f"{_LIST} is missing: install asterisk-core-sounds-en-wav")
    with gzip.open(_LIST, "rt", encoding="utf-8", errors="replace") as lines:
        pairs = (line.split(": ", 1) for line in lines if ": " in line)
        return {name.strip(): text.strip() for name, text in pairs}


def _plain(text: str) -> list[str]:
    """As a transcriber without punctuation writes it."""
    spelled = text.lower().replace("a.m.", "am").replace("p.m.", "pm").replace("...", " ")
    return re.findall(r"[a-z']+", spelled)


def _read(file: Path) -> Floats:
    if not file.exists():
        raise MissingSoundError(f"{file} is missing")
    with wave.open(str(file)) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(wav.readframes(wav.getnframes()), np.int16).astype(float)


def _spoken(voice: str, words: str, scratch: Path) -> Floats:
    file = scratch / f"{voice}-{re.sub('[^a-z0-9]+', '-', words.lower())}.wav"
    if not file.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        wide = file.with_suffix(".wide.wav")
        try:
            subprocess.run(["flite", "-voice", voice, "-t", words, "-o", str(wide)], check=True)
            subprocess.run(
                ["sox", "-D", str(wide), "-r", str(RATE), "-c", "1", "-b", "16", str(file)],
                check=True,
            )
        except FileNotFoundError as missing:
            raise MissingSoundError(f"{missing.filename} is missing") from missing
        wide.unlink()
    return _read(file)


def _trim(audio: Floats) -> Floats:
    """Without what is before and after the speech, in whole frames, ending with the speech."""
    loud = np.flatnonzero(np.abs(audio) > _SPEECH / PEAK * np.abs(audio).max())
    audio = audio[loud[0] : loud[-1] + 1]
    return np.concatenate([np.zeros(-len(audio) % FRAME), audio])


def _level(audio: Floats) -> Floats:
    return audio * (PEAK / np.abs(audio).max())


def _stretches(audio: Floats, count: int) -> list[Floats]:
    """Cut a recording at its longest pauses into so many pieces."""
    frames = np.abs(audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)).max(axis=1)
    quiet = frames < 0.02 * np.abs(audio).max()
    runs: list[tuple[int, int]] = []
    begin = None
    for at, silent in enumerate([*quiet, False]):
        if silent and begin is None:
            begin = at
        elif not silent and begin is not None:
            runs.append((at - begin, begin))
            begin = None
    cuts = sorted(begin + length // 2 for length, begin in sorted(runs)[-(count - 1) :])
    pieces = np.split(audio, [cut * FRAME for cut in cuts])
    assert len(pieces) == count
    return [_trim(piece) for piece in pieces]


def _throat() -> Floats:
    """Two bursts of low noise, 160 ms each: a throat being cleared."""
    rng = np.random.default_rng(4)
    noise = np.convolve(rng.normal(size=RATE), np.hanning(24), "same")
    burst = np.concatenate([np.hanning(2 * 160)[:160], np.ones(800), np.hanning(640)[320:]])
    gap = np.zeros(400)
    pulse = 0.6 + 0.4 * np.sign(np.sin(2 * np.pi * 70 * np.arange(len(burst)) / RATE))
    one = noise[: len(burst)] * burst * pulse
    return _trim(np.concatenate([one, gap, one[::-1]]))
