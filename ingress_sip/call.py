"""One SIP call: its dialog, its session, its media, and the leg that carries it on the bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from calls.ending import Ending
from calls.events import CallStarted, MediaQuality
from calls.ids import ReplyId
from calls.transfer import TransferMode
from ingress_sip.agreement import media_parameters
from ingress_sip.sdp.direction import Direction
from ingress_sip.sdp.offer_answer import LocalMedia, Negotiated, Offer, answer, offer
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.stream import MediaStream
from ingress_sip.trunking.lines import Line
from legs.leg import Heard, Key, Leg
from legs.mouth import Paced
from media.frames import Codec
from media.listening.listener import Heard as HeardKind

_SILENT: Final = Heard(Codec.PCMU.silence(), concealed=False)


class Doer(Protocol):
    """What a call wants done of those that know more than one call."""

    def hang_up(self, call: SipCall) -> None:
        """The agent ends the call."""
        ...

    def transfer(self, call: SipCall, reply: ReplyId, target: str, mode: TransferMode) -> None:
        """The agent puts the caller through to somebody (legs.leg.Carrier.transfer)."""
        ...


class SipCall:
    """A call over SIP and RTP: what a leg needs of its carrier (legs.leg.Carrier)."""

    def __init__(
        self,
        dialog: DialogId,
        started: CallStarted,
        local: LocalMedia,
        stream: MediaStream,
        *,
        now_ms: Callable[[], float],
        clock_ms: Callable[[], float],
        doer: Doer,
    ) -> None:
        """`local` is our side of the session. `now_ms` is the wall clock, for the log; `clock_ms`
        never jumps, and times packets.
        """
        self.dialog = dialog
        self.started = started
        self.local = local
        self.leg = Leg(started.call, started.agent, self, Paced(self), now_ms)
        self.stream = stream
        self.now_ms = now_ms
        self.clock_ms = clock_ms
        self.answered = False
        #: Since when its media flows, by `clock_ms`.
        self.connected_ms: float | None = None
        #: Its log has begun; before that nothing can be written of it.
        self.is_open = False
        #: Why it is over; None while it is not.
        self.ending: Ending | None = None
        #: Takes back a call of ours that was not answered yet.
        self.withdraw: Callable[[], None] | None = None
        #: Is the caller to be on hold, by our wish?
        self.holds = False
        #: How often, one after the other, the peer would not change the session.
        self.refusals = 0
        #: What it takes of a trunk's lines, to be freed when it is over.
        self.line: Line | None = None
        #: What both sides agreed on, and our offer that waits for its answer.
        self.agreed: Negotiated | None = None
        self.pending: Offer | None = None
        self._doer = doer
        self._agreed_ms = clock_ms()
        self._dialled_for: ReplyId | None = None
        self._info_keys: list[Key] = []
        #: Which way keys came first: phones that send each twice are heard once.
        self._keys_by_rtp: bool | None = None

    @property
    def over(self) -> bool:
        return self.ending is not None

    @property
    def our_number(self) -> str:
        """The number or user that we are in this call."""
        started = self.started
        return started.caller if started.direction == "outbound" else started.called

    # The session

    def answer(self, offered: bytes) -> Negotiated:
        """What an offer of the peer's comes to; use it by `agree`. Raises SdpError."""
        if self.agreed is None:
            return answer(offered, self.local)
        return self.agreed.answer(offered, self.local)

    def offer(self) -> bytes:
        """Our offer, for an INVITE of ours or the 200 to one that brought none."""
        self.pending = offer(self.local) if self.agreed is None else self.agreed.offer(self.local)
        return self.pending.body

    def offer_hold(self, direction: Direction) -> bytes | None:
        """An offer that holds the peer, or resumes; None where nothing was agreed yet."""
        if self.agreed is None or self.pending is not None:
            return None
        self.pending = self.agreed.offer_again(direction=direction)
        return self.pending.body

    def accepted(self, answered: bytes) -> None:
        """The peer answered our offer, if one waits. Raises SdpError; all stays as it was."""
        pending = self.pending
        if pending is None:
            return
        try:
            media = pending.accept(answered)
        except SdpError:
            self.refused()
            raise
        self.agree(media)

    def accepted_early(self, answered: bytes) -> None:
        """The peer answers before it takes the call. Raises SdpError.

        The offer stays open: the final answer may be another phone's (RFC 3261 13.2.2.4).
        """
        pending = self.pending
        if pending is not None:
            self.agree(pending.accept(answered))
            self.pending = pending

    def refreshed(self, answered: bytes) -> None:
        """The peer answered our description, which was said again. Raises SdpError.

        Mostly it says the same again too; but it may have moved (RFC 4028 7.4).
        """
        if self.agreed is not None and answered:
            media = self.agreed.offer_again().accept(answered)
            if media.theirs != self.agreed.theirs:
                self.agree(media)

    def refused(self) -> None:
        """The peer refused our offer: the session stays as it was."""
        pending, self.pending = self.pending, None
        if pending is not None and self.agreed is not None:
            self.agreed = self.agreed.withdrawn(pending)
            self.local = self.agreed.local

    def begin_again(self, local: LocalMedia) -> None:
        """Somebody else is the other side now: a session of its own is agreed with them."""
        self.local, self.agreed, self.pending = local, None, None

    def agree(self, media: Negotiated) -> None:
        """The first or a later offer/answer is done: media flows as it says."""
        self.agreed, self.local, self.pending = media, media.local, None
        self._agreed_ms = self.clock_ms()
        self.stream.agree(media_parameters(media), media.security)

    @property
    def codec(self) -> str:
        """What is spoken; empty before anything was agreed."""
        return self.agreed.codec.name if self.agreed else ""

    @property
    def on_hold(self) -> bool:
        """Is no audio to come from the peer?"""
        return self.agreed is not None and not self.agreed.direction.receives

    @property
    def heard_ms(self) -> float:
        """When the caller was last heard, or last said what it would send."""
        return max(self._agreed_ms, self.stream.heard_ms or 0.0)

    # The carrier

    def hear(self, late_ms: float) -> Heard:
        frame = self.stream.hear(late_ms)
        if self._dialled_for is not None and not self.stream.dialling:
            reply, self._dialled_for = self._dialled_for, None
            self.leg.action_done(reply, "send_digits", ok=True)
        if frame is None:
            return _SILENT
        keys = tuple(Key(digit, duration_ms) for digit, duration_ms in frame.digits)
        if keys and self._keys_by_rtp is None:
            self._keys_by_rtp = True
        if not self._keys_by_rtp:
            keys = (*self._info_keys,)
        self._info_keys.clear()
        return Heard(frame.ulaw, frame.kind is HeardKind.CONCEALED, keys)

    def keys_told(self, *keys: tuple[str, int] | None) -> None:
        """The signalling told of keys (INFO): which, and for how long, ms."""
        for key in filter(None, keys):
            if self._keys_by_rtp is None:
                self._keys_by_rtp = False
            self._info_keys.append(Key(*key))

    def say(self, payload: bytes | None) -> None:
        self.stream.say(payload)

    def lapse(self) -> None:
        self.stream.lapse()

    def hang_up(self) -> None:
        self._doer.hang_up(self)

    def transfer(self, reply: ReplyId, target: str, mode: TransferMode) -> None:
        self._doer.transfer(self, reply, target, mode)

    def send_digits(self, reply: ReplyId, digits: str) -> None:
        if self.agreed is None or not self.agreed.direction.sends:
            self.leg.action_done(reply, "send_digits", ok=False, detail="the call is on hold")
            return
        try:
            self.stream.dial(digits)
        except ValueError as error:
            self.leg.action_done(reply, "send_digits", ok=False, detail=str(error))
        else:
            self._dialled_for = reply

    def quality(self) -> MediaQuality | None:
        """How both directions went so far; None before any media."""
        seen = self.stream.quality()
        if seen is None:
            return None
        packets, peer = seen.packets, seen.peer
        return MediaQuality(
            at=self.now_ms(),
            packets=packets.received,
            lost=packets.lost,
            late=packets.late,
            concealed=packets.concealed,
            jitter_ms=round(seen.jitter_ms, 2),
            round_trip_ms=None if seen.round_trip_ms is None else round(seen.round_trip_ms, 2),
            mos=round(seen.mos, 2),
            codec=seen.codec,
            sent=self.stream.sent,
            peer_lost=peer.lost if peer else None,
            peer_jitter_ms=round(peer.jitter_ms, 2) if peer else None,
        )

    def close(self) -> None:
        """Give the ports back."""
        self.stream.close()
