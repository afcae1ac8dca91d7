"""One SIP call: its dialog, its media, and the leg that carries it on the bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from calls.events import CallStarted, MediaQuality
from ingress_sip.rtp.parameters import EventFormat, MediaParameters
from ingress_sip.rtp.receiver import Heard as HeardKind
from ingress_sip.sdp.offer_answer import LocalMedia, Negotiated
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.sockets.udp import Address, RtpSocket
from ingress_sip.stream import MediaStream
from legs.leg import Heard, Key, Leg
from media.encoding import Encoding
from media.frames import Codec

_SILENT = Heard(Codec.PCMU.silence(), concealed=False)


class SipCall:
    """A call over SIP and RTP: what a leg needs of its carrier (legs.leg.Carrier)."""

    def __init__(
        self,
        dialog: DialogId,
        started: CallStarted,
        local: LocalMedia,
        *,
        signalling: Address,
        now_ms: Callable[[], float],
        clock_ms: Callable[[], float],
        hang_up: Callable[[SipCall], None],
    ) -> None:
        """`signalling` is where the INVITE came from. `now_ms` is the wall clock, for the log;
        `clock_ms` never jumps, and times packets.
        """
        self.dialog = dialog
        self.started = started
        self.local = local
        self.leg = Leg(started.call, started.agent, self, now_ms)
        self.answered = False
        #: Since when its media flows, by `clock_ms`.
        self.connected_ms: float | None = None
        self.over = False
        self._hang_up = hang_up
        self._now_ms = now_ms
        self._clock_ms = clock_ms
        self._media: Negotiated | None = None
        self._negotiated_ms = clock_ms()
        self._stream = MediaStream(
            started.call,
            ours=local.address,
            signalling=signalling[0],
            clock_ms=clock_ms,
            now_ms=now_ms,
        )

    def use(self, socket: RtpSocket) -> None:
        """Give the call its ports."""
        self._stream.use(socket)

    def negotiated(self, media: Negotiated) -> None:
        """The first or a later offer/answer is done: media flows as it says."""
        self._media = media
        self._negotiated_ms = self._clock_ms()
        self._stream.agree(_parameters(media))

    def next_local(self) -> LocalMedia:
        """Our side of the session for a new offer/answer (RFC 3264 section 8: one version up)."""
        self.local = replace(self.local, version=self.local.version + 1)
        return self.local

    @property
    def has_media(self) -> bool:
        """Is there an answer to an offer, of either side?"""
        return self._media is not None

    @property
    def on_hold(self) -> bool:
        """Has the peer asked for no audio of either kind?"""
        return self._media is not None and not self._media.direction.receives

    @property
    def heard_ms(self) -> float:
        """When the caller was last heard, or last said what it would send."""
        return max(self._negotiated_ms, self._stream.heard_ms or 0.0)

    def rtp_received(self, datagram: bytes, source: Address) -> None:
        self._stream.rtp_received(datagram, source)

    def hear(self, late_ms: float) -> Heard:
        frame = self._stream.hear(late_ms)
        if frame is None:
            return _SILENT
        keys = tuple(Key(digit, duration_ms) for digit, duration_ms in frame.digits)
        return Heard(frame.ulaw, frame.kind is HeardKind.CONCEALED, keys)

    def say(self, payload: bytes | None) -> None:
        self._stream.say(payload)

    def lapse(self) -> None:
        self._stream.lapse()

    def send_digits(self, digits: str) -> None:
        """Press keys, in place of what the agent says meanwhile; a comma waits for two seconds.

        Raises ValueError for what is no key, or too many.
        """
        self._stream.dial(digits)

    def hang_up(self) -> None:
        self._hang_up(self)

    def quality(self) -> MediaQuality | None:
        """How both directions went so far; None before any media."""
        seen = self._stream.quality()
        if seen is None:
            return None
        packets, peer = seen.packets, seen.peer
        return MediaQuality(
            at=self._now_ms(),
            packets=packets.received,
            lost=packets.lost,
            late=packets.late,
            concealed=packets.concealed,
            jitter_ms=round(seen.jitter_ms, 2),
            round_trip_ms=None if seen.round_trip_ms is None else round(seen.round_trip_ms, 2),
            mos=round(seen.mos, 2),
            codec=seen.codec,
            peer_lost=peer.lost if peer else None,
            peer_jitter_ms=round(peer.jitter_ms, 2) if peer else None,
        )

    def close(self) -> None:
        """Give the ports back."""
        self._stream.close()


def _parameters(media: Negotiated) -> MediaParameters:
    encoding, events = Encoding(media.codec.name), media.event_payload_type
    host, port = media.remote
    return MediaParameters(
        remote=media.remote,
        remote_rtcp=(host, port + 1),
        encoding=encoding,
        payload_type=media.payload_type,
        ptime_ms=media.ptime,
        receives={media.payload_type: encoding},
        event_clocks={} if events is None else {events: encoding.clock_rate},
        event_format=None if events is None else EventFormat(events, encoding.clock_rate),
        sending=media.direction.sends,
    )
