"""A call's media as it lives: two sockets, and the session that decides what they carry."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

import structlog

from ingress_sip.rtp.dtls import Certificate
from ingress_sip.rtp.parameters import MediaParameters
from ingress_sip.rtp.receiver import HeardFrame, StreamQuality
from ingress_sip.rtp.session import Identity, RtpSession
from ingress_sip.sdp.security import Security
from ingress_sip.securing import Securing
from ingress_sip.sockets.udp import Address, RtpSocket

_log = structlog.get_logger(__name__)
#: An unfinished handshake is looked at so often, s.
_HANDSHAKE_S: Final = 0.02
_RANDOM: Final = secrets.SystemRandom()


class MediaStream:
    """One call's RTP and RTCP. Silent until it is told what was agreed."""

    def __init__(
        self,
        name: str,
        *,
        ours: str,
        signalling: str,
        clock_ms: Callable[[], float],
        now_ms: Callable[[], float],
        certificate: Certificate,
        tone_detection: bool = False,
    ) -> None:
        """`name` is for the log. `ours` is the address that we send from, `signalling` the host
        that the peer's SIP comes from. `clock_ms` never jumps; `now_ms` is the wall clock.
        """
        self._name = name
        self._ours = ours
        self._signalling = signalling
        self._clock_ms = clock_ms
        self._now_ms = now_ms
        self._tone_detection = tone_detection
        self._securing = Securing(certificate)
        self._socket: RtpSocket | None = None
        self._session: RtpSession | None = None
        self._told = False
        self._muted = False
        self._once_heard: Callable[[], None] | None = None

    def use(self, socket: RtpSocket) -> None:
        """Give it its ports; what comes on that of RTP is to be given to `rtp_received`."""
        self._socket = socket
        socket.rtcp_receive = self.rtcp_received

    @property
    def port(self) -> int:
        """RTP's; RTCP's is one above."""
        return self._socket.port if self._socket else 0

    def signalled_from(self, host: str) -> None:
        """The signalling comes from another host now: somebody else is the peer."""
        self._signalling = host
        if self._session is not None:
            self._session.signalled_from(host)

    def agree(self, parameters: MediaParameters, security: Security | None = None) -> None:
        """The first or a later offer/answer is done: media flows as it says."""
        self._muted = False
        now_ms = self._clock_ms()
        before = self._securing.handshake
        self._securing.agree(security)
        protection, handshake = self._securing.protection, self._securing.handshake
        if self._session is not None:
            if handshake is None or handshake is not before:
                self._session.protection = protection
            self._session.handshake = handshake
            self._session.renegotiate(parameters, now_ms)
        else:
            self._session = RtpSession(
                parameters,
                Identity(
                    ssrc=secrets.randbits(32),
                    # RFC 3711 3.3.1: it must not wrap before the peer has heard anything.
                    sequence=secrets.randbits(15),
                    timestamp=secrets.randbits(32),
                    cname=secrets.token_urlsafe(12),
                ),
                ours=self._ours,
                signalling=self._signalling,
                now_ms=now_ms,
                epoch_ms=self._now_ms() - now_ms,
                chance=_RANDOM.random,
                protection=protection,
                handshake=handshake,
                tone_detection=self._tone_detection,
            )
        self._shake()

    async def secured(self, patience_s: float) -> bool:
        """Wait until media may flow; False if the handshake has not ended by then."""
        until_ms = self._clock_ms() + patience_s * 1000
        while self.is_shaking and self._clock_ms() < until_ms:
            self._shake()
            await asyncio.sleep(_HANDSHAKE_S)
        return not self.is_shaking

    @property
    def is_shaking(self) -> bool:
        """Is a handshake under way, before which nothing may flow?"""
        is_open = self._socket is not None
        return is_open and self._session is not None and self._session.waits_for_keys

    @property
    def heard_ms(self) -> float | None:
        """When the peer was last heard, by `clock_ms`; None before."""
        return self._session.heard_ms if self._session else None

    def once_heard(self, then: Callable[[], None]) -> None:
        """Have `then()` called when the peer's first packet is here, or now if it is."""
        self._once_heard = then
        self._tell_heard()

    def rtp_received(self, datagram: bytes, source: Address) -> None:
        """Take a datagram that came on the port of RTP."""
        if self._session is not None:
            self._session.rtp_received(datagram, source, self._clock_ms())
            self._flush()  # a handshake answers at once
            self._tell_garbage(source)
            self._tell_heard()

    def rtcp_received(self, datagram: bytes, source: Address) -> None:
        """Take a datagram that came on the port of RTCP."""
        if self._session is not None:
            self._session.rtcp_received(datagram, source, self._clock_ms())
            self._tell_garbage(source)

    def hear(self, late_ms: float) -> HeardFrame | None:
        """The caller's next 20 ms, as of `late_ms` ago; None before anything was agreed."""
        if self._session is None:
            return None
        frame = self._session.tick(self._clock_ms() - late_ms)
        self._flush()
        return frame

    def say(self, payload: bytes | None) -> None:
        """Send the agent's 20 ms: 160 bytes of mu-law, None for silence."""
        if self._muted:
            self.lapse()
        elif self._session is not None:
            self._session.say(payload, self._clock_ms())
            self._flush()

    def mute(self) -> None:
        """The peer has gone: it is sent no more audio, until something is agreed again."""
        self._muted = True

    def lapse(self) -> None:
        """20 ms have passed in which nothing could be sent."""
        if self._session is not None:
            self._session.lapse()

    def dial(self, digits: str) -> None:
        """Press keys. Raises ValueError for what is none, or too many."""
        if self._session is not None:
            self._session.dial(digits)

    @property
    def dialling(self) -> bool:
        """Are keys being pressed?"""
        return self._session is not None and self._session.dialling

    @property
    def sent(self) -> int:
        """RTP packets that we sent."""
        return self._session.sent if self._session else 0

    def quality(self) -> StreamQuality | None:
        """How both directions went so far; None before anything was agreed."""
        return self._session.quality() if self._session else None

    def close(self) -> None:
        """Say goodbye, and give the ports back."""
        if self._session is not None:
            self._session.close(self._clock_ms())
            self._flush()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _shake(self) -> None:
        """The handshake does not wait for the call's first tick, which comes after it."""
        if self._session is not None:
            self._session.shake(self._clock_ms())
            self._flush()

    def _flush(self) -> None:
        session = self._session
        if session is None or not session.outgoing:
            return
        if self._socket is not None:
            for datagram, to, rtcp in session.outgoing:
                self._socket.send(datagram, to, rtcp=rtcp)
        session.outgoing.clear()

    def _tell_heard(self) -> None:
        then = self._once_heard
        if then is not None and self.heard_ms is not None:
            self._once_heard = None
            then()

    def _tell_garbage(self, source: Address) -> None:
        session = self._session
        if session is not None and session.garbage and not self._told:
            self._told = True
            _log.info("rtp.garbage", call=self._name, source=source, error=session.fault)
