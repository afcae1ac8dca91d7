"""One SIP call: its dialog, its RTP, and the leg that carries it on the bus."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from calls.events import CallStarted, MediaQuality
from calls.ids import ReplyId
from calls.transfer import TransferMode
from ingress_sip.rtp.packet import RtpError
from ingress_sip.rtp.receiver import Heard as HeardKind
from ingress_sip.rtp.receiver import RtpReceiver
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.rtp.telephone_event import Digit
from ingress_sip.sdp.offer_answer import LocalMedia, Negotiated
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.sockets.udp import Address, RtpSocket
from legs.leg import Heard, Key, Leg
from media import g711
from media.frames import SILENCE, Codec

_log = structlog.get_logger(__name__)
#: How long audio is sent to an address that nothing comes from.
_PROOF_MS: Final = 10_000
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
_SILENT: Final = g711.encode(SILENCE, Codec.PCMU)


class SipCall:
    """A call over SIP and RTP: what a leg needs of its carrier (legs.leg.Carrier)."""

    def __init__(
        self,
        dialog: DialogId,
        started: CallStarted,
        local: LocalMedia,
        *,
        signalling: str,
        now_ms: Callable[[], float],
        clock_ms: Callable[[], float],
        hang_up: Callable[[SipCall], None],
    ) -> None:
        """`signalling` is the host that the INVITE came from. `now_ms` is the wall clock, for the
        log; `clock_ms` never jumps, and times packets.
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
        self._socket: RtpSocket | None = None
        self._media: Negotiated | None = None
        self._signalling = signalling
        self._reachable: Address | None = None
        self._negotiated_ms = clock_ms()
        self._receiver: RtpReceiver | None = None
        self._sender: RtpSender | None = None
        self._garbage = 0
        self._digits: list[Digit] = []

    def use(self, socket: RtpSocket) -> None:
        """Give the call its sockets."""
        self._socket = socket

    def negotiated(self, media: Negotiated) -> None:
        """The first or a later offer/answer is done: media flows as it says."""
        self._media = media
        self._reachable = _literal(media.remote, self.local.address)
        self._negotiated_ms = self._clock_ms()
        codecs = {media.payload_type: Codec(media.codec.name)}
        if self._receiver is None or self._sender is None:
            self._receiver = RtpReceiver(
                codecs, media.event_payload_type, media.remote, self._signalling
            )
            self._sender = RtpSender(
                payload_type=media.payload_type,
                ssrc=secrets.randbits(32),
                sequence=secrets.randbits(16),
                timestamp=secrets.randbits(32),
            )
        else:
            self._receiver.renegotiate(codecs, media.event_payload_type, media.remote)
            self._sender.payload_type = media.payload_type

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
        heard = self._receiver.heard_ms if self._receiver else None
        return max(self._negotiated_ms, heard or 0.0)

    def rtp_received(self, datagram: bytes, source: Address) -> None:
        if self._receiver is None:
            return
        try:
            self._digits += self._receiver.receive(datagram, source, self._clock_ms())
        except RtpError as error:
            self._garbage += 1
            if self._garbage == 1:
                _log.info("rtp.garbage", call=self.started.call, source=source, error=str(error))

    def hear(self, late_ms: float) -> Heard:
        if self._receiver is None:
            return Heard(_SILENT, concealed=False)
        frame = self._receiver.tick(self._clock_ms() - late_ms)
        keys = tuple(Key(key.digit, key.duration_ms) for key in (*self._digits, *frame.digits))
        self._digits.clear()
        return Heard(frame.ulaw, frame.kind is HeardKind.CONCEALED, keys)

    def say(self, payload: bytes | None) -> None:
        media, socket, sender = self._media, self._socket, self._sender
        if media is None or socket is None or sender is None or self._receiver is None:
            return
        # RFC 4961: where the caller's audio comes from, before where its SDP says.
        to = self._receiver.source or self._announced()
        if not media.direction.sends or to is None:
            sender.pause()
            return
        frame = payload or _SILENT
        if media.codec.name == "PCMA":
            frame = g711.ulaw_to_alaw(frame)
        socket.send(sender.audio(frame), to)

    def lapse(self) -> None:
        if self._sender is not None:
            self._sender.pause()

    def _announced(self) -> Address | None:
        """The address of the SDP, while it may be taken for the caller's.

        RFC 8445 19.5.1: an offer can name anybody, who would then be sent audio for as long as the
        call lasts. An address on another host than the signalling's has to show itself.
        """
        address = self._reachable
        if address is None or address[0] == self._signalling:
            return address
        return address if self._clock_ms() - self._negotiated_ms < _PROOF_MS else None

    def hang_up(self) -> None:
        self._hang_up(self)

    def transfer(self, reply: ReplyId, target: str, mode: TransferMode) -> None:  # noqa: ARG002  # a stub
        self.leg.action_done(reply, "transfer", ok=False, detail="not wired")

    def send_digits(self, reply: ReplyId, digits: str) -> None:  # noqa: ARG002  # a stub
        self.leg.action_done(reply, "send_digits", ok=False, detail="not wired")

    def quality(self) -> MediaQuality | None:
        """How the caller's audio arrived so far; None before any media."""
        if self._receiver is None:
            return None
        seen = self._receiver.quality()
        packets = seen.packets
        return MediaQuality(
            at=self._now_ms(),
            packets=packets.received,
            lost=packets.lost,
            late=packets.late,
            concealed=packets.concealed,
            jitter_ms=round(seen.jitter_ms, 2),
            mos=round(seen.mos, 2),
        )

    def close(self) -> None:
        """Give the ports back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _literal(remote: Address, ours: str) -> Address | None:
    """The address of the peer's SDP if audio can be sent there without asking anybody.

    A host name would be looked up by the sender, 50 times a second; an address of the other family
    cannot be reached from our socket; a group or a whole network is no caller. Symmetric RTP finds
    such a peer with its first packet.
    """
    try:
        host = ipaddress.ip_address(remote[0])
        same = host.version == ipaddress.ip_address(ours).version
    except ValueError:
        return None
    is_group = host.is_multicast or host == _BROADCAST
    return remote if same and not is_group and remote[1] else None
