"""One call's incoming audio: what the jitter buffer gives, and what conceals the rest."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from media.codec import Decoder
from media.encoding import Encoding
from media.frames import FRAME_MS, SAMPLE_RATE, SILENCE
from media.listening.jitter import Frame, JitterBuffer, JitterCounters, Missing
from media.listening.packet import Packet
from media.listening.plc import Concealer
from media.listening.quality import OF_CODEC, burst_ratio, mean_opinion_score, r_factor
from media.vad import EnergyVad


class Heard(Enum):
    """Where a frame's sound comes from."""

    RECEIVED = auto()
    CONCEALED = auto()
    SILENCE = auto()


class Opinion(NamedTuple):
    """What a listener would say of the stream so far (ITU-T G.107).

    `loss` is the share 0 to 1 of packets that could not be played; `mos` 1.0 to 4.5.
    """

    loss: float
    r_factor: float
    mos: float


class Listener:
    """Buffers, times and conceals one call's incoming audio. Time is any clock in ms."""

    def __init__(
        self, *, least_ms: float = 20.0, start_ms: float = 40.0, most_ms: float = 200.0
    ) -> None:
        """How long audio is kept waiting for what is late, as JitterBuffer has it."""
        self._vad = EnergyVad()
        self._jitter = JitterBuffer(
            quiet=self._is_quiet, least_ms=least_ms, start_ms=start_ms, most_ms=most_ms
        )
        self._concealer = Concealer()
        self._silent = True

    @property
    def counters(self) -> JitterCounters:
        return self._jitter.counters

    @property
    def target_ms(self) -> float:
        """The delay that the buffer aims at."""
        return self._jitter.target_ms

    def push(
        self, packet: Packet, arrival_ms: float, decoder: Decoder, clock_rate: int = SAMPLE_RATE
    ) -> None:
        """Take an audio packet (JitterBuffer.push). Raises PayloadError."""
        self._jitter.push(packet, arrival_ms, decoder, clock_rate)

    def skip(self, packet: Packet) -> None:
        """Take a packet of the stream that carries no audio (JitterBuffer.skip)."""
        self._jitter.skip(packet)

    def tick(self, now_ms: float) -> tuple[bytes, Heard]:
        """The next 20 ms as PCM (320 bytes); to be called at every tick of the call."""
        slot = self._jitter.pop(now_ms)
        if isinstance(slot, Frame):
            self._silent = False
            self._vad.is_speech(slot.pcm)  # learns the noise floor
            return self._concealer.receive(slot.pcm, spliced=slot.spliced), Heard.RECEIVED
        if isinstance(slot, Missing):
            return self._concealer.conceal(self._jitter.ahead()), Heard.CONCEALED
        if not self._silent:
            self._silent = True
            self._concealer.reset()
        return SILENCE, Heard.SILENCE

    def opinion(self, encoding: Encoding, network_ms: float = 0.0) -> Opinion:
        """What is to be said of it; `network_ms` is the one-way delay, where that is known."""
        packets = self.counters
        unplayed = packets.lost + packets.late + packets.overflow
        sent = packets.received - packets.duplicate - packets.rejected + packets.lost
        loss = unplayed / sent if sent > 0 else 0.0
        r = r_factor(
            loss=loss,
            one_way_ms=network_ms + self.target_ms + FRAME_MS,
            burst_ratio=burst_ratio(lost=packets.lost, bursts=packets.bursts, expected=sent),
            codec=OF_CODEC[encoding],
        )
        return Opinion(loss, r, mean_opinion_score(r))

    def _is_quiet(self, pcm: bytes) -> bool:
        return not self._vad.is_speech(pcm)
