"""The codecs of a call's RTP, each by its name in SDP."""

from __future__ import annotations

from enum import Enum

from media.codec import Decoder, Encoder
from media.frames import SAMPLE_RATE, Codec
from media.g711 import G711Decoder, G711Encoder
from media.g722 import G722Decoder, G722Encoder
from media.opus import RATE, OpusDecoder, OpusEncoder


class Encoding(Enum):
    """What RTP payloads are. The value is the encoding name in SDP, whatever its case there."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    G722 = "G722"
    OPUS = "opus"

    @property
    def clock_rate(self) -> int:
        """Of the RTP timestamps, in Hz."""
        return RATE if self is Encoding.OPUS else SAMPLE_RATE

    def decoder(self) -> Decoder:
        """For one stream that comes in."""
        match self:
            case Encoding.G722:
                return G722Decoder()
            case Encoding.OPUS:
                return OpusDecoder()
            case _:
                return G711Decoder(Codec(self.value))

    def encoder(self, ptime_ms: int) -> Encoder:
        """For one stream that goes out, in packets of 10, 20, 40 or 60 ms; or 30, but for Opus."""
        match self:
            case Encoding.G722:
                return G722Encoder(ptime_ms)
            case Encoding.OPUS:
                return OpusEncoder(ptime_ms)
            case _:
                return G711Encoder(Codec(self.value))
