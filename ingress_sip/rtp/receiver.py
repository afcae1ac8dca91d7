"""One call's inbound side: datagrams in as they come, one 20 ms frame out at each tick."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from ingress_sip.rtp.jitter import Frame, JitterBuffer, JitterCounters, Missing
from ingress_sip.rtp.packet import RtpError, RtpPacket, is_rtcp, parse
from ingress_sip.rtp.plc import Concealer
from ingress_sip.rtp.quality import burst_ratio, mean_opinion_score, r_factor
from ingress_sip.rtp.reception import Reception
from ingress_sip.rtp.source import Address, SourceLock
from ingress_sip.rtp.telephone_event import Digit, DigitReader
from media.frames import FRAME_MS, SILENCE, Codec
from media.g711 import alaw_to_ulaw, decode, pcm_to_ulaw, ulaw_to_pcm
from media.vad import EnergyVad

COMFORT_NOISE: Final = 13
"""Static payload type of comfort noise at 8 kHz (RFC 3389): a sign of silence, never played."""

_ULAW_SILENCE: Final = Codec.PCMU.silence()


class Heard(Enum):
    """Where a frame's sound comes from."""

    RECEIVED = auto()
    CONCEALED = auto()
    SILENCE = auto()


class HeardFrame(NamedTuple):
    """20 ms of the caller, the same sound twice: mu-law (160 bytes) and PCM (320 bytes).

    `digits` are keys that turn out to have ended though no packet said so.
    """

    ulaw: bytes
    pcm: bytes
    kind: Heard
    digits: tuple[Digit, ...] = ()


class StreamQuality(NamedTuple):
    """How the caller's audio reached us, over the whole call.

    `loss` is the share 0 to 1 of packets that could not be played; `delay_ms` the buffer's target;
    `jitter_ms` as of RFC 3550; `mos` 1.0 to 4.5 is what a listener on our side would say.
    """

    packets: JitterCounters
    loss: float
    jitter_ms: float
    delay_ms: float
    r_factor: float
    mos: float


class RtpReceiver:
    """Parses, checks the source, reads keys, buffers, conceals.

    Whatever codec the peer chooses among those negotiated, frames come out as mu-law, which is
    what the bus carries. Payload types that were not negotiated are counted and ignored.
    """

    def __init__(
        self,
        payload_types: Mapping[int, Codec],
        event_type: int | None = None,
        announced: Address | None = None,
        signalling: str | None = None,
    ) -> None:
        """What the answer agreed: codecs and telephone-event by payload type; the peer's address
        in its SDP; the host that its signalling comes from.
        """
        self.ignored = 0
        """Packets of a payload type that nobody negotiated."""
        self.foreign = 0
        """Packets from a source that is not the call's."""
        self.reception: Reception | None = None
        """RFC 3550 statistics of the present SSRC, for RTCP."""
        self._payload_types = dict(payload_types)
        self._event_type = event_type
        self._lock = SourceLock(announced, signalling)
        self._vad = EnergyVad()
        self._jitter = JitterBuffer(quiet=self._is_quiet)
        self._concealer = Concealer()
        self._digits = DigitReader()
        self._silent = True

    @property
    def source(self) -> Address | None:
        """Where the peer's audio comes from, and ours should go; None before its first packet."""
        return self._lock.address

    @property
    def heard_ms(self) -> float | None:
        """When the peer last sent anything; None before its first packet."""
        return self._lock.heard_ms

    def renegotiate(
        self,
        payload_types: Mapping[int, Codec],
        event_type: int | None = None,
        announced: Address | None = None,
    ) -> None:
        """Take the outcome of another offer/answer. What is buffered is still played."""
        self._payload_types = dict(payload_types)
        self._event_type = event_type
        if announced is not None:
            self._lock.announce(announced)

    def receive(self, datagram: bytes, source: Address, arrival_ms: float) -> tuple[Digit, ...]:
        """Take one datagram; give the keys that it says were let go.

        Raises RtpError for what is no RTP. Time is any clock in ms, the same as for `tick`.
        """
        if is_rtcp(datagram):
            # RFC 5761 section 4: from a peer that muxes though nobody agreed to; never audio.
            self._lock.alive(source, arrival_ms)
            return ()
        packet = parse(datagram)
        codec = self._payload_types.get(packet.payload_type)
        is_event = packet.payload_type == self._event_type
        if codec is None and not is_event and packet.payload_type != COMFORT_NOISE:
            self.ignored += 1
            self._lock.alive(source, arrival_ms)
            return ()
        if codec is not None and codec is not Codec.PCMU:
            packet = packet._replace(payload=_as_ulaw(packet, codec))
        if not self._lock.admits(packet, source, arrival_ms):
            self.foreign += 1
            return ()
        if self.reception is None or self.reception.ssrc != packet.ssrc:
            self.reception = Reception(packet.ssrc)
        self.reception.push(packet, arrival_ms, timed=not is_event)
        if codec is not None:
            self._jitter.push(packet, arrival_ms)
            return ()
        self._jitter.skip(packet)
        return self._digits.push(packet, arrival_ms) if is_event else ()

    def tick(self, now_ms: float) -> HeardFrame:
        """The next 20 ms of the caller; to be called at every tick of the call."""
        digits = self._digits.tick(now_ms)
        slot = self._jitter.pop(now_ms)
        if isinstance(slot, Frame):
            self._silent = False
            decoded = ulaw_to_pcm(slot.payload)
            self._vad.is_speech(decoded)  # learns the noise floor
            pcm = self._concealer.receive(decoded, spliced=slot.spliced)
            ulaw = slot.payload if pcm is decoded else pcm_to_ulaw(pcm)
            return HeardFrame(ulaw, pcm, Heard.RECEIVED, digits)
        if isinstance(slot, Missing):
            pcm = self._concealer.conceal()
            return HeardFrame(pcm_to_ulaw(pcm), pcm, Heard.CONCEALED, digits)
        if not self._silent:
            self._silent = True
            self._concealer.reset()
        return HeardFrame(_ULAW_SILENCE, SILENCE, Heard.SILENCE, digits)

    def quality(self, network_ms: float = 0.0) -> StreamQuality:
        """The figures so far; `network_ms` is the one-way delay if RTCP has told it."""
        packets = self._jitter.counters
        unplayed = packets.lost + packets.late + packets.overflow
        sent = packets.received - packets.duplicate - packets.rejected + packets.lost
        loss = unplayed / sent if sent > 0 else 0.0
        delay_ms = self._jitter.target_ms
        r = r_factor(
            loss=loss,
            one_way_ms=network_ms + delay_ms + FRAME_MS,
            burst_ratio=burst_ratio(lost=packets.lost, bursts=packets.bursts, expected=sent),
        )
        return StreamQuality(
            packets=packets,
            loss=loss,
            jitter_ms=self.reception.jitter_ms if self.reception else 0.0,
            delay_ms=delay_ms,
            r_factor=r,
            mos=mean_opinion_score(r),
        )

    def _is_quiet(self, payload: bytes) -> bool:
        return not self._vad.is_speech(ulaw_to_pcm(payload))


def _as_ulaw(packet: RtpPacket, codec: Codec) -> bytes:
    if codec is Codec.PCMA:
        return alaw_to_ulaw(packet.payload)
    if len(packet.payload) % codec.bytes_per_sample:
        raise RtpError(f"{len(packet.payload)} bytes of {codec.value} cut a sample in half")
    return pcm_to_ulaw(decode(packet.payload, codec))
