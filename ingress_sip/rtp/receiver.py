"""One call's inbound side: datagrams in as they come, one 20 ms frame out at each tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ingress_sip.rtp.keys import Keys
from ingress_sip.rtp.packet import RtpError, RtpPacket, parse
from ingress_sip.rtp.parameters import MediaParameters
from ingress_sip.rtp.reception import Reception
from ingress_sip.rtp.rtcp_session import PeerView
from ingress_sip.rtp.source import Address, SourceLock
from ingress_sip.rtp.telephone_event import Digit
from media.codec import Decoder, PayloadError
from media.encoding import Encoding
from media.frames import Codec
from media.g711 import pcm_to_ulaw
from media.listening.jitter import JitterCounters
from media.listening.listener import Heard, Listener

COMFORT_NOISE: Final = 13
"""Static payload type of comfort noise at 8 kHz (RFC 3389): a sign of silence, never played.

Who listens is a transcriber, to whom silence says the same, and a recording, which is the better
for it.
"""

_ULAW_SILENCE: Final = Codec.PCMU.silence()


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
    `jitter_ms` as of RFC 3550; `mos` 1.0 to 4.5 is what a listener on our side would say, half the
    round trip (None before RTCP told) counted as the way here. `codec` is the last one, by its name
    in SDP; `peer` is how ours reached it.
    """

    packets: JitterCounters
    loss: float
    jitter_ms: float
    delay_ms: float
    r_factor: float
    mos: float
    codec: str
    round_trip_ms: float | None = None
    peer: PeerView | None = None


class _Coding(NamedTuple):
    encoding: Encoding
    decoder: Decoder
    clock_rate: int  # Hz


class RtpReceiver:
    """Parses, checks the source, reads keys, buffers, conceals.

    Whatever codec the peer chooses among those negotiated, frames come out as mu-law, which is
    what the bus carries. Payload types that were not negotiated are counted and ignored.
    """

    def __init__(
        self,
        parameters: MediaParameters,
        signalling: str | None = None,
        *,
        tone_detection: bool = False,
    ) -> None:
        """`signalling` is the host that the peer's signalling comes from. `tone_detection`: keys
        are also heard by their tones.
        """
        self.ignored = 0
        """Packets of a payload type that nobody negotiated."""
        self.foreign = 0
        """Packets from a source that is not the call's."""
        self.reception: Reception | None = None
        """RFC 3550 statistics of the present SSRC, for RTCP."""
        self._codings: dict[int, _Coding] = {}  # by payload type
        self._coding: _Coding | None = None
        """What came last."""
        self._known: dict[Encoding, _Coding] = {}
        self._event_clocks: Mapping[int, int] = {}
        self._learn(parameters)
        self._lock = SourceLock(parameters.remote, signalling)
        self._listener = Listener()
        self._keys = Keys(tones=tone_detection)

    @property
    def source(self) -> Address | None:
        """Where the peer's audio comes from, and ours should go; None before its first packet."""
        return self._lock.address

    @property
    def heard_ms(self) -> float | None:
        """When the peer last sent anything; None before its first packet."""
        return self._lock.heard_ms

    def signalled_from(self, host: str) -> None:
        """The peer's signalling comes from another host now."""
        self._lock.signalled_from(host)

    def renegotiate(self, parameters: MediaParameters) -> None:
        """Take the outcome of another offer/answer. What is buffered is still played."""
        self._learn(parameters)
        self._lock.announce(parameters.remote)

    def alive(self, source: Address, arrival_ms: float) -> None:
        """Note a datagram that is no audio: RTCP on this port, a keep-alive."""
        self._lock.alive(source, arrival_ms)

    def receive(
        self, datagram: bytes, source: Address, arrival_ms: float, *, proven: bool = False
    ) -> tuple[Digit, ...]:
        """Take one RTP datagram; give the keys that it says were let go.

        Raises RtpError for what is no RTP. Time is any clock in ms, the same as for `tick`.
        `proven`: the datagram was authenticated, so its source is the peer.
        """
        packet = parse(datagram)
        coding = self._codings.get(packet.payload_type) or self._meet(packet.payload_type)
        if coding is not None:
            if not self._admits(packet, source, arrival_ms, coding.clock_rate, proven=proven):
                return ()
            self._coding = coding
            try:
                self._listener.push(packet, arrival_ms, coding.decoder, coding.clock_rate)
            except PayloadError as error:
                raise RtpError(str(error)) from error
            return ()
        event_clock = self._event_clocks.get(packet.payload_type)
        if event_clock is None and packet.payload_type != COMFORT_NOISE:
            self._ignore(packet, source, arrival_ms)
            return ()
        if not self._admits(packet, source, arrival_ms, None, proven=proven):
            return ()
        self._listener.skip(packet)
        if event_clock is None:
            return ()
        return self._keys.event(packet, event_clock, arrival_ms)

    def tick(self, now_ms: float) -> HeardFrame:
        """The next 20 ms of the caller; to be called at every tick of the call."""
        pcm, kind = self._listener.tick(now_ms)
        ulaw = _ULAW_SILENCE if kind is Heard.SILENCE else pcm_to_ulaw(pcm)
        return HeardFrame(ulaw, pcm, kind, self._keys.tick(now_ms, pcm))

    def quality(self, network_ms: float = 0.0) -> StreamQuality:
        """The figures so far; `network_ms` is the one-way delay if RTCP has told it."""
        encoding = self._coding.encoding if self._coding else None
        opinion = self._listener.opinion(encoding or Encoding.PCMU, network_ms)
        return StreamQuality(
            packets=self._listener.counters,
            loss=opinion.loss,
            jitter_ms=self.reception.jitter_ms if self.reception else 0.0,
            delay_ms=self._listener.target_ms,
            r_factor=opinion.r_factor,
            mos=opinion.mos,
            codec=encoding.value if encoding else "",
        )

    def _learn(self, parameters: MediaParameters) -> None:
        self._parameters = parameters
        self._codings = {}
        self._event_clocks = parameters.event_clocks

    def _meet(self, payload_type: int) -> _Coding | None:
        """How that payload type is read. Most calls use one of those that they agreed on."""
        encoding = self._parameters.receives.get(payload_type)
        if encoding is None:
            return None
        if encoding not in self._known:
            self._known[encoding] = _Coding(encoding, encoding.decoder(), encoding.clock_rate)
        self._codings[payload_type] = self._known[encoding]
        return self._known[encoding]

    def _admits(
        self,
        packet: RtpPacket,
        source: Address,
        arrival_ms: float,
        clock_rate: int | None,
        *,
        proven: bool,
    ) -> bool:
        """Whether the packet is the call's; counts it. Without a clock it says nothing of time."""
        if not self._lock.admits(packet, source, arrival_ms, proven=proven):
            self.foreign += 1
            return False
        reception = self.reception
        if reception is None or reception.ssrc != packet.ssrc:
            reception = self.reception = Reception(packet.ssrc)
        reception.push(packet, arrival_ms, clock_rate)
        return True

    def _ignore(self, packet: RtpPacket, source: Address, arrival_ms: float) -> None:
        """Leave a payload type out that nobody agreed to: comfort noise, a keep-alive (RFC 6263).

        Within the call's stream its number is not missing, and it is a sign of life.
        """
        self.ignored += 1
        self._lock.alive(source, arrival_ms)
        stream = self.reception
        if source == self._lock.address and stream is not None and stream.ssrc == packet.ssrc:
            stream.push(packet, arrival_ms, None)
            self._listener.skip(packet)
