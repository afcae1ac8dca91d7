"""ITU-T G.722, wideband telephony at 64 kbit/s, by FFmpeg (media/ffmpeg.py).

Its audio has 16000 Hz, two samples an octet; its RTP clock has 8000 all the same (RFC 3551 section
4.5.2: an error of RFC 1890 that must stay), which is our rate: an octet is a sample of ours.

A 20 ms frame takes 20 us to decode and 30 us to encode, resampling included. From PCM to PCM the
audio is held back by 5.4 ms: 1.4 by the codec's two filters, twice 2 by the resamplers.
"""

from __future__ import annotations

from typing import Final

from media.codec import PayloadError
from media.ffmpeg import FfmpegDecoder, FfmpegEncoder
from media.frames import SAMPLE_RATE, samples_in
from media.resample import Resampler

_RATE: Final = 16000  # Hz


class G722Decoder:
    """A stream's payloads to PCM (media.codec.Decoder)."""

    def __init__(self) -> None:
        self._codec = FfmpegDecoder("g722", _RATE)
        self._resampler = Resampler(_RATE, SAMPLE_RATE, even=True)

    def samples(self, payload: bytes) -> int:
        if not payload:
            raise PayloadError("an empty payload")
        return len(payload)

    def decode(self, payload: bytes) -> bytes:
        return self._resampler.process(self._codec.decode(payload))


class G722Encoder:
    """PCM to a stream's payloads (media.codec.Encoder)."""

    def __init__(self, ptime_ms: int) -> None:
        """`ptime_ms` is how much goes into each payload."""
        samples = samples_in(ptime_ms) * _RATE // SAMPLE_RATE
        self._codec = FfmpegEncoder("g722", _RATE, samples, {"frame_size": str(samples)})
        self._resampler = Resampler(SAMPLE_RATE, _RATE, even=True)

    def encode(self, pcm: bytes) -> bytes:
        return self._codec.encode(self._resampler.process(pcm))
