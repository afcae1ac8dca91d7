"""The caller's words, as the frames that a phone would send: 20 ms of mu-law each."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from reply import FRAME, RATE

SILENCE = b"\xff" * FRAME
#: Every recording is brought to this peak (-4 dBFS), and begins and ends with a sample above
#: the other (-35 dBFS): so the last frame ends with speech, and the clock starts there.
_PEAK = 20000
_SPEECH = 600


def load(file: Path) -> list[bytes]:
    """Read a mono 16-bit WAV at 8000 Hz as frames; the last one ends on the last speech sample.

    Raises:
        ValueError: it is another kind of WAV.
    """
    with wave.open(str(file)) as wav:
        kind = (wav.getframerate(), wav.getnchannels(), wav.getsampwidth())
        if kind != (RATE, 1, 2):
            raise ValueError(f"{file}: rate, channels, bytes are {kind}, not {(RATE, 1, 2)}")
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), np.int16).astype(np.float64)
    pcm *= _PEAK / np.abs(pcm).max()
    speech = np.flatnonzero(np.abs(pcm) > _SPEECH)
    pcm = pcm[speech[0] : speech[-1] + 1]
    pcm = np.concatenate([np.zeros(-len(pcm) % FRAME), pcm])
    codes = encode(pcm.astype(np.int32)).tobytes()
    return [codes[begin : begin + FRAME] for begin in range(0, len(codes), FRAME)]


def encode(pcm: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Mu-law of PCM (ITU-T G.711): sign, exponent of the biased magnitude, four bits below it."""
    magnitude = np.minimum(np.abs(pcm), 32635) + 0x84
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(pcm < 0, 0x80, 0)
    return (~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)
