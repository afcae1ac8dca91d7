"""FFmpeg's audio codecs, one payload in and one out, by the package av (PyAV).

Only what telephony needs of it: mono, 16 bits, one payload at a time, no container and no delay
beyond the codec's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
from av.error import FFmpegError

from media.codec import PayloadError
from media.frames import SAMPLE_BYTES


class FfmpegDecoder:
    """Payloads to PCM at the codec's own rate."""

    def __init__(self, name: str, rate: int) -> None:
        """`name` is FFmpeg's of the decoder; `rate` in Hz."""
        context: Any = av.CodecContext.create(name, "r")
        context.sample_rate, context.layout, context.format = rate, "mono", "s16"
        self._context = context

    def decode(self, payload: bytes) -> bytes:
        """The PCM of one payload. Raises PayloadError."""
        if not payload:
            # To FFmpeg an empty packet is the end of the stream, for good.
            raise PayloadError("an empty payload")
        try:
            frames = self._context.decode(av.Packet(payload))
        except FFmpegError as error:
            raise PayloadError(f"{len(payload)} bytes are no payload: {error.strerror}") from error
        # A plane may be padded.
        return b"".join(bytes(each.planes[0])[: each.samples * SAMPLE_BYTES] for each in frames)


class FfmpegEncoder:
    """PCM to payloads."""

    def __init__(
        self, name: str, rate: int, samples: int, options: Mapping[str, str] | None = None
    ) -> None:
        """`samples` at `rate` Hz go into a payload; `options` are FFmpeg's of the encoder."""
        context: Any = av.CodecContext.create(name, "w")
        context.sample_rate, context.layout, context.format = rate, "mono", "s16"
        context.options = dict(options or {})
        self._context = context
        self._rate = rate
        self._samples = samples
        self._pts = 0

    def encode(self, pcm: bytes) -> bytes:
        """The payload of just so many samples."""
        frame = av.AudioFrame(format="s16", layout="mono", samples=self._samples)
        frame.planes[0].update(pcm)
        frame.sample_rate, frame.pts = self._rate, self._pts
        self._pts += self._samples
        return b"".join(bytes(packet) for packet in self._context.encode(frame))
