"""Linear PCM of 16 bits as a carrier sends it over a WebSocket, at 8, 16 or 24 kHz.

By RFC 3551 section 4.5.11 L16 is big-endian, and so it is in RTP payloads; streams that are not RTP
are mostly little-endian, so whoever makes a decoder says which. At 16 and 24 kHz the resampler
holds the audio back by 2 ms each way; 20 ms take about 15 us.
"""

from __future__ import annotations

from typing import Final, Literal

from media.codec import PayloadError
from media.frames import SAMPLE_BYTES, SAMPLE_RATE, Codec
from media.g711 import decode, encode
from media.resample import Resampler

RATES: Final = (8000, 16000, 24000)
"""Hz."""

Order = Literal["big", "little"]


class L16Decoder:
    """A stream's payloads to PCM (media.codec.Decoder)."""

    def __init__(self, rate: int, order: Order) -> None:
        """Raises ValueError: `rate` is none of RATES."""
        self._step = _times(rate)
        self._order = order
        self._resampler = Resampler(rate, SAMPLE_RATE, even=True)

    def samples(self, payload: bytes) -> int:
        samples, rest = divmod(len(payload), SAMPLE_BYTES * self._step)
        if rest or not samples:
            raise PayloadError(f"{len(payload)} bytes of L16 are no whole samples at 8000 Hz")
        return samples

    def decode(self, payload: bytes) -> bytes:
        self.samples(payload)
        pcm = decode(payload, Codec.L16) if self._order == "big" else payload
        return self._resampler.process(pcm)


class L16Encoder:
    """PCM to a stream's payloads (media.codec.Encoder), as long as what they are made of."""

    def __init__(self, rate: int, order: Order) -> None:
        """Raises ValueError: `rate` is none of RATES."""
        _times(rate)
        self._order = order
        self._resampler = Resampler(SAMPLE_RATE, rate, even=True)

    def encode(self, pcm: bytes) -> bytes:
        payload = self._resampler.process(pcm)
        return encode(payload, Codec.L16) if self._order == "big" else payload


def _times(rate: int) -> int:
    """How many samples at `rate` are one of ours."""
    if rate not in RATES:
        raise ValueError(f"L16 at {rate} Hz, which is none of {RATES}")
    return rate // SAMPLE_RATE
