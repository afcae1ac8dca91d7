"""Opus (RFC 6716), by libopus in FFmpeg (media/ffmpeg.py).

What comes in may change its bandwidth, its frame length and its number of frames with each payload
(RFC 7587 section 4); stereo is mixed down. It is decoded at 48000 Hz and resampled. What goes out
is the telephone band of the bus, encoded at 8000 Hz as it is, with in-band error correction for
peers who can use it. FFmpeg gives no access to the error correction in what comes in: lost packets
are concealed like those of any codec.

A 20 ms frame takes 30 us to decode, resampling included, and 45 us to encode. Decoding holds back
2 ms of the audio, encoding 6.4 ms.
"""

from __future__ import annotations

from typing import Final

from media.codec import PayloadError
from media.ffmpeg import FfmpegDecoder, FfmpegEncoder
from media.frames import SAMPLE_BYTES, SAMPLE_RATE, samples_in
from media.resample import Resampler

RATE: Final = 48000
"""Hz: of the decoder, and of the RTP clock whatever the bandwidth (RFC 7587 section 4.1)."""
LONGEST_MS: Final = 120
"""Of a payload (RFC 6716 section 3.2.5, requirement R5)."""
FRAMES_MS: Final = (10, 20, 40, 60)
"""What we send in one payload: a frame each."""

_OPTIONS: Final = {
    "application": "voip",
    "b": "20000",  # of the narrow band, with room for the error correction
    "fec": "1",
    "packet_loss": "5",  # per cent: how much of the rate goes into it
    "compression_level": "0",  # half the CPU of 10, and no worse by PESQ (4.43, 4.40) at this rate
}


class OpusDecoder:
    """A stream's payloads to PCM (media.codec.Decoder)."""

    def __init__(self) -> None:
        self._codec = FfmpegDecoder("libopus", RATE)
        self._resampler = Resampler(RATE, SAMPLE_RATE, even=True)

    def samples(self, payload: bytes) -> int:
        return samples_in(duration_ms(payload))

    def decode(self, payload: bytes) -> bytes:
        due = self.samples(payload) * SAMPLE_BYTES
        return self._resampler.process(self._codec.decode(payload))[:due].ljust(due, b"\0")


class OpusEncoder:
    """PCM to a stream's payloads (media.codec.Encoder)."""

    def __init__(self, ptime_ms: int) -> None:
        """`ptime_ms` is one of FRAMES_MS."""
        options = _OPTIONS | {"frame_duration": str(ptime_ms)}
        self._codec = FfmpegEncoder("libopus", SAMPLE_RATE, samples_in(ptime_ms), options)

    def encode(self, pcm: bytes) -> bytes:
        return self._codec.encode(pcm)


def duration_ms(payload: bytes) -> float:
    """How long a payload sounds, by its first bytes (RFC 6716 section 3.1). Raises PayloadError."""
    if not payload:
        raise PayloadError("an empty payload")
    code = payload[0] & 3
    if code < 3:
        count = 1 if code == 0 else 2
    elif len(payload) < 2 or not payload[1] & 0x3F:
        raise PayloadError("an Opus payload without its frame count")
    else:
        count = payload[1] & 0x3F
    duration = count * _frame_ms(payload[0] >> 3)
    if duration > LONGEST_MS:
        raise PayloadError(f"an Opus payload of {duration} ms")
    return duration


def _frame_ms(configuration: int) -> float:
    """The length of one frame (RFC 6716 table 2)."""
    if configuration < 12:  # SILK
        return (10, 20, 40, 60)[configuration & 3]
    if configuration < 16:  # hybrid
        return (10, 20)[configuration & 1]
    return (2.5, 5, 10, 20)[configuration & 3]  # CELT
