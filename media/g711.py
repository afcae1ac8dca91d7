"""G.711 mu-law and A-law to 16-bit PCM and back (ITU-T G.711).

One packet at a time goes through audioop (about 0.2 us for 20 ms); many calls at once go through
numpy tables, which give the same codes. Mu-law's negative zero (0x7F) is the one code that does
not come back as itself: it decodes to 0, which encodes as 0xFF.
"""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codec import PayloadError
from media.frames import Codec, Samples

with warnings.catch_warnings():
    # Python 3.11 and 3.12 announce audioop's removal; from 3.13 audioop-lts provides it.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

Codes = NDArray[np.uint8]


def ulaw_to_pcm(payload: bytes) -> bytes:
    """Decode mu-law, one byte a sample, to PCM, two bytes a sample."""
    return audioop.ulaw2lin(payload, 2)


def pcm_to_ulaw(pcm: bytes) -> bytes:
    """Encode PCM to mu-law. Raises ValueError if a sample is cut in half."""
    return audioop.lin2ulaw(_whole(pcm), 2)


def alaw_to_pcm(payload: bytes) -> bytes:
    """Decode A-law, one byte a sample, to PCM, two bytes a sample."""
    return audioop.alaw2lin(payload, 2)


def pcm_to_alaw(pcm: bytes) -> bytes:
    """Encode PCM to A-law. Raises ValueError if a sample is cut in half."""
    return audioop.lin2alaw(_whole(pcm), 2)


def alaw_to_ulaw(payload: bytes) -> bytes:
    """Transcode A-law to mu-law, byte for byte."""
    return payload.translate(_ALAW_TO_ULAW)


def ulaw_to_alaw(payload: bytes) -> bytes:
    """Transcode mu-law to A-law, byte for byte."""
    return payload.translate(_ULAW_TO_ALAW)


def decode(payload: bytes, codec: Codec) -> bytes:
    """PCM of one RTP payload. L16 is big-endian on the wire (RFC 3551 section 4.5.11)."""
    if codec is Codec.PCMU:
        return ulaw_to_pcm(payload)
    if codec is Codec.PCMA:
        return alaw_to_pcm(payload)
    return audioop.byteswap(_whole(payload), 2)


def encode(pcm: bytes, codec: Codec) -> bytes:
    """The RTP payload of that PCM. Raises ValueError if a sample is cut in half."""
    if codec is Codec.PCMU:
        return pcm_to_ulaw(pcm)
    if codec is Codec.PCMA:
        return pcm_to_alaw(pcm)
    return audioop.byteswap(_whole(pcm), 2)


class G711Decoder:
    """A stream's payloads to PCM (media.codec.Decoder)."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def samples(self, payload: bytes) -> int:
        if not payload:
            raise PayloadError("an empty payload")
        return len(payload)

    def decode(self, payload: bytes) -> bytes:
        return decode(payload, self._codec)


class G711Encoder:
    """PCM to a stream's payloads (media.codec.Encoder)."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def encode(self, pcm: bytes) -> bytes:
        return encode(pcm, self._codec)


def decode_batch(codes: Codes, codec: Codec) -> Samples:
    """Decode an array of G.711 codes of any shape to int16 samples of the same shape."""
    table: Samples = _DECODE[codec][codes]
    return table


def encode_batch(samples: Samples, codec: Codec) -> Codes:
    """Encode int16 samples of any shape to G.711 codes of the same shape."""
    table: Codes = _ENCODE[codec][samples.view(np.uint16)]
    return table


def rms(pcm: bytes) -> int:
    """Root mean square of PCM samples, 0 to 32768."""
    return audioop.rms(pcm, 2)


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % 2:
        raise ValueError(f"{len(pcm)} bytes are not whole 16-bit samples")
    return pcm


_ALL_CODES: Final = bytes(range(256))
_ALL_SAMPLES: Final = np.arange(65536, dtype=np.uint16).astype("<u2").tobytes()

_ALAW_TO_ULAW: Final = pcm_to_ulaw(alaw_to_pcm(_ALL_CODES))
_ULAW_TO_ALAW: Final = pcm_to_alaw(ulaw_to_pcm(_ALL_CODES))

_DECODE: Final = {
    Codec.PCMU: np.frombuffer(ulaw_to_pcm(_ALL_CODES), dtype="<i2"),
    Codec.PCMA: np.frombuffer(alaw_to_pcm(_ALL_CODES), dtype="<i2"),
}
_ENCODE: Final = {
    Codec.PCMU: np.frombuffer(pcm_to_ulaw(_ALL_SAMPLES), dtype=np.uint8),
    Codec.PCMA: np.frombuffer(pcm_to_alaw(_ALL_SAMPLES), dtype=np.uint8),
}
