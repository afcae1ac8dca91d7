"""What a codec is: payloads of one RTP stream to PCM at 8000 Hz, and back.

Codecs keep state from payload to payload, so a stream has a decoder and an encoder of its own, and
a decoder takes payloads in the order they were sent. Which ones there are: media/encoding.py.
"""

from __future__ import annotations

from typing import Protocol


class PayloadError(ValueError):
    """The payload is none of this codec: drop it, and go on."""


class Decoder(Protocol):
    """One stream's payloads to PCM."""

    def samples(self, payload: bytes) -> int:
        """How long the payload sounds, in samples at 8000 Hz; never 0. Raises PayloadError."""
        ...

    def decode(self, payload: bytes) -> bytes:
        """PCM at 8000 Hz, of just as many samples. Raises PayloadError."""
        ...


class Encoder(Protocol):
    """One stream's PCM to payloads."""

    def encode(self, pcm: bytes) -> bytes:
        """The payload of PCM at 8000 Hz, as long as the encoder's packets are."""
        ...
