"""The agent puts a caller through: REFER, blind or after asking whom it is for (RFC 5589).

    blind      REFER target -> the caller's side calls it and tells by NOTIFY how that goes
    attended   hold the caller, call the target ourselves; once it answers, REFER with a Replaces
               that hands our call with the target over to the caller's side

In the end the caller speaks to somebody else and our call is over; or the agent has it back.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

import structlog

from calls.ending import Ending
from calls.ids import ReplyId
from calls.transfer import TransferMode
from ingress_sip.call import SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.holding import Holding
from ingress_sip.live import LiveCalls
from ingress_sip.media_setup import MediaSetup
from ingress_sip.placing import Attempt, Placing, uri_of
from ingress_sip.sdp.offer_answer import Negotiated, Offer, offer
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling import events as sip
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri
from ingress_sip.sockets.udp import NoPortError
from ingress_sip.stream import MediaStream
from ingress_sip.trunking.outbound import NoRouteError, Route

_log = structlog.get_logger(__name__)
#: How long a target may ring when it is asked first, and how long all of it may take, s.
_RING_S: Final = 30.0
_ALL_S: Final = 55.0
#: A REFER that came at a bad moment (491) is sent again after so long, s, and so often.
_AGAIN_S: Final = 1.0
_MOST_AGAIN: Final = 3
_GLARE: Final = 491
#: A caller that hung up once it had taken the REFER may still be on its way to the target, s.
_TAKEOVER_S: Final = 10.0


class Transfers:
    """The transfers under way; a call has one at the most."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        live: LiveCalls,
        placing: Placing,
        setup: MediaSetup,
        holding: Holding,
    ) -> None:
        self.endpoint = endpoint
        self.live = live
        self.placing = placing
        self.setup = setup
        self.holding = holding
        self._under_way: dict[SipCall, _Transfer] = {}
        self._consultations: dict[DialogId, _Transfer] = {}
        live.told.append(self._call_over)

    def begin(self, call: SipCall, reply: ReplyId, target: str, mode: TransferMode) -> None:
        """Put the caller through; the call's leg is told how it goes."""
        transfer = _Transfer(self, call, reply, target)
        self._under_way[call] = transfer
        work = transfer.attended() if mode == "attended" else transfer.blind()
        self.live.spawn(work, name=f"transfer {call.started.call}")

    def happened(self, event: sip.Event) -> bool:
        """Take an event of a transfer; False if it is none."""
        match event:
            case sip.ReferAnswered() | sip.TransferNotified():
                call = self.live.of(event.dialog)
                transfer = self._under_way.get(call) if call else None
                if transfer is not None:
                    transfer.told(event)
                return True
            case sip.ByeReceived() | sip.SessionLost():
                transfer = self._consultations.pop(event.dialog, None)
                if transfer is not None:
                    transfer.target_left()
                return transfer is not None
            case sip.ReinviteReceived():
                transfer = self._consultations.get(event.dialog)
                if transfer is not None:
                    transfer.reoffered(event)
                return transfer is not None
            case _:
                return False

    def caller_left(self, call: SipCall) -> Ending:
        """The caller hung up: what that means if a transfer is under way."""
        transfer = self._under_way.pop(call, None)
        return transfer.caller_left() if transfer else Ending.CALLER_HUNG_UP

    def leave(self) -> None:
        """End the calls with targets that are still there."""
        for dialog in tuple(self._consultations):
            self.end_consultation(dialog)

    def forget(self, transfer: _Transfer) -> None:
        self._under_way.pop(transfer.call, None)

    def consults(self, dialog: DialogId, transfer: _Transfer) -> None:
        self._consultations[dialog] = transfer

    def leave_soon(self, dialog: DialogId) -> None:
        """End it, unless the caller takes our place in it before."""
        asyncio.get_running_loop().call_later(_TAKEOVER_S, self.end_consultation, dialog)

    def end_consultation(self, dialog: DialogId) -> None:
        if self._consultations.pop(dialog, None) is not None:
            self.endpoint.hang_up(dialog)

    def _call_over(self, call: SipCall) -> None:
        transfer = self._under_way.get(call)
        if transfer is not None:
            transfer.call_over()


class _Transfer:
    """One transfer. It is also what listens to the call with the target, where there is one."""

    def __init__(self, transfers: Transfers, call: SipCall, reply: ReplyId, target: str) -> None:
        self.call = call
        self._house = transfers
        self._reply = reply
        self._target = target
        #: The caller's side has taken the REFER: it may leave now.
        self._taken = False
        self._over = False
        self._attempt: Attempt | None = None
        self._consultation: DialogId | None = None
        self._stream: MediaStream | None = None
        self._offer: Offer | None = None
        self._agreed: Negotiated | None = None
        self._refer_to: NameAddr | None = None
        self._refused = 0
        self._timer = asyncio.get_running_loop().call_later(
            _ALL_S, self._fail, 408, "nothing was heard of the transfer"
        )

    async def blind(self) -> None:
        """Have the caller's side call the target."""
        try:
            self._refer_to = await self._named()
        except NoRouteError as error:
            self._fail(None, str(error))
            return
        self._refer()

    async def attended(self) -> None:
        """Ask the target first."""
        self._house.holding.hold(self.call)
        started = self.call.started
        try:
            # A number goes out by the trunk that the caller came by; an address says where it is.
            is_address = isinstance(uri_of(self._target), SipUri)
            routes = await self._house.placing.routes(
                self._target,
                caller=self.call.our_number,
                trunk="" if is_address else started.trunk,
            )
            stream = await self._house.setup.open(f"{started.call} target", routes[0].hops[0])
        except (NoRouteError, NoPortError) as error:
            self._fail(None, str(error))
            return
        if self._over:
            stream.close()
            return
        self._stream = stream
        self._attempt = self._house.placing.place(routes, self, ring_s=_RING_S)

    async def _named(self) -> NameAddr:
        """Whom the caller's side is to call: a number means what it means to them.

        Raises:
            NoRouteError
        """
        if (uri := uri_of(self._target)) is not None:
            return NameAddr(uri)
        dialog, started = self.call.dialog, self.call.started
        if started.trunk or self._house.placing.is_phone(self._target):
            routes = await self._house.placing.routes(self._target, trunk=started.trunk)
            return NameAddr(routes[0].uri)
        peer = self._house.endpoint.peer_of(dialog)
        if peer is None or not isinstance(peer.uri, SipUri):
            raise NoRouteError("the caller's address is no SIP URI: name the target by one")
        host = SipUri.of(peer.uri.host.strip("[]"), peer.uri.port, user=self._target)
        return NameAddr(host)

    def _refer(self) -> None:
        target = self._refer_to
        if self._over or target is None:
            return
        if not self._house.endpoint.refer(self.call.dialog, target):
            self._fail(None, "the call is not in a state to be transferred")

    def told(self, event: sip.ReferAnswered | sip.TransferNotified) -> None:
        """The caller's side tells how it goes."""
        if self._over:
            return
        if isinstance(event, sip.ReferAnswered):
            self._answered(event.status, event.reason)
            return
        self._taken = True
        status = event.status or 503
        reason = event.reason or REASONS.get(status, "")
        self.call.leg.transfer_progressed(self._reply, status, reason)
        if not event.ended:
            return
        if 200 <= status < 300:
            self._done(status, reason)
        else:
            self._fail(status, reason)

    def _answered(self, status: int, reason: str) -> None:
        if status < 300:
            self._taken = True
        elif status == _GLARE and self._refused < _MOST_AGAIN:
            # RFC 3261 14.1: something else is under way in the dialog, our hold perhaps.
            self._refused += 1
            asyncio.get_running_loop().call_later(_AGAIN_S, self._refer)
        else:
            self._fail(status, reason)

    def caller_left(self) -> Ending:
        """A caller who hangs up after taking the REFER has gone where it led."""
        taken = self._taken
        if taken:
            if self._consultation is not None:
                self._house.leave_soon(self._consultation)
                self._consultation = None
            self._finish(ok=True, status=None, detail="the caller has gone there")
        else:
            self._finish(ok=False, status=None, detail="the caller hung up")
        return Ending.TRANSFERRED if taken else Ending.CALLER_HUNG_UP

    def call_over(self) -> None:
        """The call with the caller is over, whoever ended it."""
        self._finish(ok=False, status=None, detail="the call has ended")

    def target_left(self) -> None:
        """The target hung up; or the caller took our place with it (Replaces), and all is well."""
        self._consultation = None
        if not self._taken:
            self._fail(None, "who was asked for hung up")

    # The call with the target (ingress_sip.placing.Listener)

    def offer(self, route: Route) -> bytes:
        assert self._stream is not None
        self._offer = offer(self._house.setup.local(self._stream, route.hops[0], route.trunk))
        return self._offer.body

    def placed(self, dialog: DialogId) -> None:
        """Nothing is asked in it before it is answered."""

    def rang(self, status: int, body: bytes) -> None:  # noqa: ARG002  # nobody listens yet
        self.call.leg.transfer_progressed(self._reply, status, REASONS.get(status, ""))

    def answered(self, attempt: Attempt, body: bytes, source: Hop) -> None:  # noqa: ARG002
        self._attempt = None
        dialog = attempt.dialog
        if self._over or self._offer is None:
            self._house.endpoint.hang_up(dialog)
            return
        self._consultation = dialog
        self._house.consults(dialog, self)
        try:
            self._agreed = self._offer.accept(body)
        except SdpError as error:
            self._fail(488, str(error))
            return
        replaces = self._house.endpoint.replaces_header(dialog)
        target = self._house.endpoint.target_of(dialog)
        if replaces is None or target is None:
            self._fail(None, "the call with the target cannot be handed over")
            return
        headers = f"Replaces={quote(replaces, safe='')}"
        uri = SipUri(
            target.scheme, target.userinfo, target.host, target.port, target.params, headers
        )
        self._refer_to = NameAddr(uri)
        self._refer()

    def reoffered(self, event: sip.ReinviteReceived) -> None:
        """The target changes its session, or shows that it is alive; nobody listens yet."""
        endpoint, agreed = self._house.endpoint, self._agreed
        if agreed is None:
            endpoint.reject(event.dialog, 488)
            return
        try:
            media = agreed.answer(event.offer) if event.offer else None
        except SdpError as error:
            endpoint.reject(event.dialog, error.status)
            return
        self._agreed = media or agreed
        endpoint.accept(event.dialog, media.body if media else agreed.offer().body)

    def refused(self, status: int, reason: str) -> None:
        self._attempt = None
        self._fail(status, reason)

    # Ends

    def _done(self, status: int, reason: str) -> None:
        self._finish(ok=True, status=status, detail=f"{status} {reason}")
        self._house.live.end(self.call, Ending.TRANSFERRED)

    def _fail(self, status: int | None, reason: str) -> None:
        if self._over:
            return
        detail = reason if status is None else f"{status} {reason}"
        _log.info("sip.transfer_failed", call=self.call.started.call, detail=detail)
        self._finish(ok=False, status=status, detail=detail)
        self._house.holding.resume(self.call)

    def _finish(self, *, ok: bool, status: int | None, detail: str) -> None:
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        self._house.forget(self)
        if self._attempt is not None:
            self._attempt.cancel()
        if self._consultation is not None:
            self._house.end_consultation(self._consultation)
        self._close()
        leg = self.call.leg
        leg.action_done(self._reply, "transfer", ok=ok, status=status, detail=detail)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
