"""One call's RTP and RTCP, both ways: datagrams and ticks in, frames and datagrams out.

    rtp_received(), rtcp_received()  ->  tick(): the caller's next 20 ms, and keys
    say(), lapse()                   ->  outgoing: what is to be sent now

Nothing that comes from the network is raised out of here; what is wrong is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ingress_sip.rtp.destination import Destination
from ingress_sip.rtp.dialler import Dialler
from ingress_sip.rtp.handshake import Handshake, is_handshake
from ingress_sip.rtp.packet import RtpError, is_rtcp
from ingress_sip.rtp.packetizer import Packetizer
from ingress_sip.rtp.parameters import MediaParameters
from ingress_sip.rtp.protection import Protection
from ingress_sip.rtp.receiver import HeardFrame, RtpReceiver, StreamQuality
from ingress_sip.rtp.rtcp_session import RtcpSession
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.rtp.source import Address
from ingress_sip.rtp.telephone_event import Digit
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Codec

_SILENCE = Codec.PCMU.silence()


class Identity(NamedTuple):
    """Who we are in one call; all of it random (RFC 3550 section 5.1, RFC 7022)."""

    ssrc: int
    sequence: int
    timestamp: int
    cname: str


class Outgoing(NamedTuple):
    """A datagram to send. `rtcp`: from the port of RTCP, not from that of RTP."""

    datagram: bytes
    to: Address
    rtcp: bool = False


class RtpSession:
    """The media of one call. Time is any clock in ms that does not jump."""

    def __init__(
        self,
        parameters: MediaParameters,
        identity: Identity,
        *,
        ours: str,
        signalling: str | None,
        now_ms: float,
        epoch_ms: float,
        chance: Callable[[], float],
        protection: Protection | None = None,
        handshake: Handshake | None = None,
        tone_detection: bool = False,
    ) -> None:
        """`ours` is the address that we send from, `signalling` the host that the peer's SIP comes
        from, `epoch_ms` the Unix time at which `now_ms` was 0; `chance` gives numbers from 0 to
        below 1. `handshake` is to end in the `protection`. `tone_detection`: keys are also heard by
        their tones.
        """
        self.outgoing: list[Outgoing] = []
        """What is to be sent, to be taken away after each call."""
        self.garbage = 0
        """Datagrams that are no RTP or RTCP, or that failed their authentication."""
        self.fault = ""
        """What was wrong with the last of them."""
        self.protection = protection
        """May be changed by a new offer/answer."""
        self.handshake = handshake
        """May be changed by a new offer/answer, which begins another association."""
        self._shaken_from: Address | None = None
        self._parameters = parameters
        self._destination = Destination(signalling, ours)
        self._destination.announce(parameters.remote, parameters.rtcp_address, now_ms)
        self._receiver = RtpReceiver(parameters, signalling, tone_detection=tone_detection)
        self._sender = RtpSender(
            payload_type=parameters.payload_type,
            ssrc=identity.ssrc,
            sequence=identity.sequence,
            timestamp=identity.timestamp,
            clock_rate=parameters.encoding.clock_rate,
        )
        self._packetizer = Packetizer(parameters.encoding, parameters.ptime_ms)
        self._dialler = Dialler()
        self._rtcp = RtcpSession(identity.cname, now_ms=now_ms, epoch_ms=epoch_ms, chance=chance)
        self._rtcp_source: Address | None = None
        self._chance = chance
        self._digits: list[Digit] = []
        self._closed = False

    @property
    def heard_ms(self) -> float | None:
        """When the peer last sent anything; None before its first packet."""
        return self._receiver.heard_ms

    @property
    def sent(self) -> int:
        """RTP packets that we sent."""
        return self._sender.packets

    @property
    def source(self) -> Address | None:
        """Where the peer's audio comes from; None before its first packet."""
        return self._receiver.source

    @property
    def dialling(self) -> bool:
        """Are keys being pressed?"""
        return self._dialler.busy

    def renegotiate(self, parameters: MediaParameters, now_ms: float) -> None:
        """Take the outcome of another offer/answer. Numbering and statistics go on."""
        before, self._parameters = self._parameters, parameters
        self._destination.announce(parameters.remote, parameters.rtcp_address, now_ms)
        if parameters.rtcp_address != before.rtcp_address:
            self._rtcp_source = None
        self._receiver.renegotiate(parameters)
        self._sender.payload_type = parameters.payload_type
        if (parameters.encoding, parameters.ptime_ms) != (before.encoding, before.ptime_ms):
            self._pass(self._packetizer.drop())
            self._packetizer = Packetizer(parameters.encoding, parameters.ptime_ms)
        if parameters.encoding.clock_rate != self._sender.clock_rate:
            self._dialler.interrupt()
            self._sender.restart(
                ssrc=int(self._chance() * 2**32),
                timestamp=int(self._chance() * 2**32),
                clock_rate=parameters.encoding.clock_rate,
            )

    def signalled_from(self, host: str) -> None:
        """The peer's signalling comes from another host now."""
        self._destination.signalled_from(host)
        self._receiver.signalled_from(host)

    def rtp_received(self, datagram: bytes, source: Address, now_ms: float) -> None:
        """Take what came on the port of RTP."""
        if self.handshake is not None and is_handshake(datagram):
            self._shake(self.handshake, datagram, source, now_ms)
            return
        if is_rtcp(datagram):
            # RFC 5761 section 4: even from a peer that muxes though nobody agreed to.
            self.rtcp_received(datagram, source, now_ms)
            return
        if self.waits_for_keys:
            self._receiver.ignored += 1
            return
        try:
            if self.protection is not None:
                # First, for the source of a forged packet must not become the call's.
                datagram = self.protection.unprotect(datagram)
            self._digits += self._receiver.receive(
                datagram, source, now_ms, proven=self.protection is not None
            )
        except RtpError as error:
            self._count(error)

    def rtcp_received(self, datagram: bytes, source: Address, now_ms: float) -> None:
        """Take what came on the port of RTCP."""
        try:
            if self.protection is not None:
                datagram = self.protection.unprotect_rtcp(datagram)
            elif self.waits_for_keys or not self._is_peers(source):
                self._receiver.foreign += 1
                return
            self._rtcp.received(datagram, now_ms, self._sender, self._receiver.reception)
        except RtpError as error:
            self._count(error)
            return
        if self._receiver.source is not None:
            self._receiver.alive(self._receiver.source, now_ms)
        if source != self._receiver.source:
            self._rtcp_source = source

    def tick(self, now_ms: float) -> HeardFrame:
        """The caller's next 20 ms, with the keys that were let go; once a tick."""
        frame = self._receiver.tick(now_ms)
        if self._digits:
            frame = frame._replace(digits=(*self._digits, *frame.digits))
            self._digits.clear()
        self.shake(now_ms)
        if now_ms >= self._rtcp.due_ms:
            self._report(now_ms)
        return frame

    def shake(self, now_ms: float) -> None:
        """Begin the handshake, if there is one, or go on with it: each tick does."""
        if self.handshake is not None and self.protection is None:
            self._shake(self.handshake, b"", None, now_ms)

    def say(self, payload: bytes | None, now_ms: float) -> None:
        """Send the agent's 20 ms (160 bytes of mu-law), None for silence; once a tick."""
        to = self._destination.rtp(self._receiver.source, now_ms)
        if to is None or self.waits_for_keys or not self._parameters.sending:
            self.lapse()
            return
        if self._dialler.busy:
            step = self._dialler.next(
                self._sender, self._parameters.event_format, between=not self._packetizer.held
            )
            if isinstance(step, tuple):
                for datagram in step:
                    self._send(datagram, to)
                return
            payload = step or payload
        for packet in self._packetizer.push(payload or _SILENCE):
            self._send(self._sender.audio(packet, self._packetizer.samples), to)

    def lapse(self) -> None:
        """A tick has passed in which nothing could be sent."""
        self._dialler.interrupt()
        self._pass(self._packetizer.drop() + FRAME_SAMPLES)

    def dial(self, digits: str, tone_ms: int = 100, gap_ms: int = 100) -> None:
        """Press keys, one after the other, in place of what is said meanwhile.

        Raises ValueError as Dialler.dial does.
        """
        self._dialler.dial(digits, tone_ms, gap_ms)

    def close(self, now_ms: float) -> None:
        """Say goodbye (RFC 3550 section 6.3.7), to whom anything was said at all."""
        if not self._closed and self._sender.packets:
            goodbye = self._rtcp.goodbye(now_ms, self._sender, self._receiver.reception)
            self._send_rtcp(goodbye, now_ms)
        self._closed = True

    def quality(self) -> StreamQuality:
        """The figures of the whole call so far."""
        round_trip_ms = self._rtcp.round_trip_ms
        quality = self._receiver.quality(network_ms=(round_trip_ms or 0.0) / 2)
        return quality._replace(round_trip_ms=round_trip_ms, peer=self._rtcp.peer)

    @property
    def waits_for_keys(self) -> bool:
        """Are the keys not there yet, without which nothing is said or heard?"""
        return self.protection is None and self._parameters.secure

    def _shake(
        self, handshake: Handshake, datagram: bytes, source: Address | None, now_ms: float
    ) -> None:
        """Go on with the handshake: by a datagram of the peer's, or because time has passed."""
        try:
            if source is None:
                handshake.handle_timeout()
            elif not self._destination.knows(source[0]):
                # An answer is thrice as long as the question: not to whoever asks.
                self._receiver.foreign += 1
                return
            else:
                handshake.receive(datagram)
                self._shaken_from = source
        except RtpError as error:
            self._count(error)
            if source is None:
                self.handshake = None
        if handshake.protection is not None:
            self.protection = handshake.protection
        to = self._destination.rtp(self._receiver.source or self._shaken_from, now_ms)
        if to is not None:
            self.outgoing += [Outgoing(each, to) for each in handshake.datagrams_to_send()]

    def _report(self, now_ms: float) -> None:
        held = self._packetizer.held * self._sender.clock_rate // SAMPLE_RATE
        report = self._rtcp.report(now_ms, self._sender, self._receiver.reception, held=held)
        # RFC 3550 6.4: an empty report is allowed, but whoever has neither spoken nor been spoken
        # to has nobody who waits for it.
        if self._sender.packets or self._receiver.reception is not None:
            self._send_rtcp(report, now_ms)

    def _send_rtcp(self, compound: bytes, now_ms: float) -> None:
        if self.waits_for_keys:
            return
        if self.protection is not None:
            compound = self.protection.protect_rtcp(compound)
        source = self._receiver.source
        if self._parameters.rtcp_mux:
            to = self._destination.rtp(source, now_ms)
        else:
            to = self._destination.rtcp(source, self._rtcp_source, now_ms)
        if to is not None:
            self.outgoing.append(Outgoing(compound, to, rtcp=not self._parameters.rtcp_mux))

    def _send(self, datagram: bytes, to: Address) -> None:
        if self.protection is not None:
            datagram = self.protection.protect(datagram)
        self.outgoing.append(Outgoing(datagram, to))

    def _pass(self, samples: int) -> None:
        if samples:
            self._sender.pause(samples)

    def _is_peers(self, source: Address) -> bool:
        """Whether to believe RTCP from there: the host of the audio, or the address in the SDP."""
        audio = self._receiver.source
        if audio is not None and audio[0] == source[0]:
            return True
        return source == self._parameters.rtcp_address

    def _count(self, error: RtpError) -> None:
        self.garbage += 1
        self.fault = str(error)
