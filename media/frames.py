"""The one audio format of the house, and its names.

Inside the house audio is mono, signed 16-bit little-endian PCM at 8000 Hz, in frames of 20 ms:
160 samples, 320 bytes. On the wire and on the bus it is G.711: one byte a sample, 160 a frame.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 8000
"""Samples a second."""
FRAME_MS: Final = 20
"""Milliseconds a frame, and between two ticks."""
FRAME_SAMPLES: Final = SAMPLE_RATE * FRAME_MS // 1000
SAMPLE_BYTES: Final = 2
FRAME_BYTES: Final = FRAME_SAMPLES * SAMPLE_BYTES
"""Bytes of one PCM frame; a G.711 frame has FRAME_SAMPLES bytes."""

Samples = NDArray[np.int16]


class Codec(Enum):
    """What a payload is made of. The value is its encoding name in SDP (RFC 3551 section 4.5)."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    L16 = "L16"

    @property
    def clock_rate(self) -> int:
        """RTP clock in Hz; 8000 for all we speak."""
        return SAMPLE_RATE

    @property
    def payload_type(self) -> int | None:
        """The static payload type of RFC 3551 table 4; None where SDP must assign one.

        L16 has static types at 44.1 kHz only, so at 8 kHz it is dynamic.
        """
        return _STATIC_TYPE.get(self)

    @property
    def bytes_per_sample(self) -> int:
        return SAMPLE_BYTES if self is Codec.L16 else 1

    def silence(self, samples: int = FRAME_SAMPLES) -> bytes:
        """Digital silence of that many samples in this codec."""
        return _ZERO[self] * samples


_STATIC_TYPE: Final = {Codec.PCMU: 0, Codec.PCMA: 8}
# G.711 tables 2a and 1a: the code of the smallest positive value.
_ZERO: Final = {Codec.PCMU: b"\xff", Codec.PCMA: b"\xd5", Codec.L16: b"\0\0"}

SILENCE: Final = Codec.L16.silence()
"""One PCM frame of silence."""


def to_samples(pcm: bytes) -> Samples:
    """View PCM bytes as int16 samples, without a copy (the array is read-only)."""
    return np.frombuffer(pcm, dtype="<i2")


def to_pcm(samples: NDArray[Any]) -> bytes:
    """PCM bytes of a sample array of any numeric type: rounded, and saturated at 16 bits."""
    if samples.dtype != np.int16:
        # np.clip says the same in one call, and takes three times as long on a frame.
        samples = np.maximum(np.minimum(np.rint(samples), 32767), -32768)
    return samples.astype("<i2").tobytes()


def samples_in(ms: float) -> int:
    """How many samples that many milliseconds are, to the nearest."""
    return round(ms * SAMPLE_RATE / 1000)
