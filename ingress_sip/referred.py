"""The caller has us call somebody in its place: a REFER to us, or an INVITE with Replaces.

Either way the conversation with the agent goes on with whoever takes the caller's place: the call
keeps its log, its leg and its ports, and gets another dialog and another session.
"""

from __future__ import annotations

import asyncio
import fnmatch
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl

import structlog

from calls.ending import Ending
from ingress_sip.call import SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.live import LiveCalls
from ingress_sip.media_setup import MediaSetup
from ingress_sip.placing import Attempt, Placing
from ingress_sip.sdp.offer_answer import LocalMedia, Offer, answer, offer
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling import events as sip
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import OtherUri, SipUri, Uri
from ingress_sip.trunking.outbound import NoRouteError, Route
from ingress_sip.trunking.policy import Admitted

_log = structlog.get_logger(__name__)
_RING_S: Final = 60.0
#: Whoever asked for it hangs up when it hears of the success; we do after so long, s.
_LEAVE_S: Final = 3.0
#: Header fields that a Refer-To may put into our INVITE (RFC 3261 19.1.5: few are safe).
_TAKEN: Final = ("replaces",)


class Referrals:
    """Callers that change under a call."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        live: LiveCalls,
        placing: Placing,
        setup: MediaSetup,
        allowed: tuple[str, ...],
    ) -> None:
        """`allowed` are patterns of the targets that callers may have us call. The default is none:
        whoever calls must not make us call at our cost.
        """
        self.endpoint = endpoint
        self.live = live
        self.placing = placing
        self.setup = setup
        self._allowed = allowed
        self._under_way: dict[SipCall, _Referred] = {}
        #: Dialogs of callers in whose place somebody else is now.
        self._leaving: set[DialogId] = set()
        live.told.append(self._call_over)

    def asked(self, call: SipCall, event: sip.ReferReceived) -> None:
        """A REFER in a call."""
        uri = event.target.uri
        if isinstance(uri, OtherUri) or not self._may(uri):
            _log.info("sip.refer_refused", call=call.started.call, target=str(uri)[:200])
            self.endpoint.answer_refer(event.dialog, 603)
            return
        self.endpoint.answer_refer(event.dialog, 202)
        referred = _Referred(self, call)
        self._under_way[call] = referred
        self.live.spawn(referred.go(uri), name=f"refer {call.started.call}")

    def caller_left(self, call: SipCall) -> bool:
        """The caller hung up; True where somebody else is being called in its place."""
        referred = self._under_way.get(call)
        if referred is None:
            return False
        referred.orphaned = True
        call.stream.mute()
        return True

    def forget(self, call: SipCall) -> None:
        self._under_way.pop(call, None)

    def let_go(self, dialog: DialogId) -> None:
        """Whoever was the caller hangs up now, or we do."""
        self._leaving.add(dialog)
        asyncio.get_running_loop().call_later(_LEAVE_S, self._hang_up, dialog)

    def leave(self) -> None:
        """Hang up on all that have not left yet."""
        for dialog in tuple(self._leaving):
            self._hang_up(dialog)

    def _hang_up(self, dialog: DialogId) -> None:
        self._leaving.discard(dialog)
        self.endpoint.hang_up(dialog)

    def _call_over(self, call: SipCall) -> None:
        referred = self._under_way.pop(call, None)
        if referred is not None:
            referred.call_over()

    def replaced(self, event: sip.InviteReceived, admitted: Admitted) -> bool:
        """Somebody takes the caller's place (RFC 3891), and its line. False: it was refused."""
        call = None if event.replaces is None else self.live.of(event.replaces)
        if call is None or not call.answered:
            self.endpoint.reject(event.dialog, 481)
            return False
        trunk = admitted.trunk
        local = self.setup.local(call.stream, event.source, trunk)
        try:
            media = answer(event.offer, local) if event.offer else None
        except SdpError as error:
            self.endpoint.reject(event.dialog, error.status)
            return False
        pending = offer(local)
        if not self.endpoint.accept(event.dialog, media.body if media else pending.body):
            return False
        if (referred := self._under_way.pop(call, None)) is not None:
            referred.call_over()  # it has another caller already
        before = self.live.hand_over(call, event.dialog, admitted.line)
        call.begin_again(local)
        call.pending = None if media else pending
        call.stream.signalled_from(event.source.host)
        if media is not None:
            call.agree(media)
        _log.info("sip.replaced", call=call.started.call, by=str(event.source))
        self.endpoint.hang_up(before)
        return True

    def _may(self, uri: Uri) -> bool:
        names = (uri.user, str(uri).partition("?")[0])
        return any(
            fnmatch.fnmatchcase(name, pattern) for name in names for pattern in self._allowed
        )


class _Referred:
    """One call in the caller's place (ingress_sip.placing.Listener)."""

    def __init__(self, house: Referrals, call: SipCall) -> None:
        #: The caller has left already: if nobody answers, the call is over.
        self.orphaned = False
        self._house = house
        self._call = call
        self._caller = call.dialog
        self._offer: Offer | None = None
        self._attempt: Attempt | None = None
        self._over = False

    async def go(self, uri: Uri) -> None:
        extra: tuple[tuple[str, str], ...] = ()
        if isinstance(uri, SipUri) and uri.headers:
            named = parse_qsl(uri.headers, max_num_fields=16)
            extra = tuple((k.title(), v) for k, v in named if k.lower() in _TAKEN and _is_line(v))
            uri = replace(uri, headers="")
        started = self._call.started
        try:
            routes = await self._house.placing.routes(str(uri), caller=self._call.our_number)
        except NoRouteError as error:
            _log.info("sip.refer_failed", call=started.call, reason=str(error))
            self.refused(404, REASONS[404])
            return
        if not self._over:
            self._attempt = self._house.placing.place(routes, self, ring_s=_RING_S, extra=extra)

    def call_over(self) -> None:
        """The call has ended, or somebody has taken the caller's place by himself."""
        self._over = True
        if self._attempt is not None:
            self._attempt.cancel()

    def offer(self, route: Route) -> bytes:
        local: LocalMedia = self._house.setup.local(self._call.stream, route.hops[0], route.trunk)
        self._offer = offer(local)
        return self._offer.body

    def placed(self, dialog: DialogId) -> None:
        """The call goes on in the caller's dialog until it is answered."""

    def rang(self, status: int, body: bytes) -> None:  # noqa: ARG002  # the caller is still here
        self._house.endpoint.notify(self._caller, status, REASONS.get(status, "Progress"))

    def answered(self, attempt: Attempt, body: bytes, source: Hop) -> None:
        house, call = self._house, self._call
        if self._over or self._offer is None:
            house.endpoint.hang_up(attempt.dialog)
            return
        try:
            media = self._offer.accept(body)
        except SdpError as error:
            house.endpoint.hang_up(attempt.dialog)
            self.refused(error.status, error.reason)
            return
        house.forget(call)
        house.live.hand_over(call, attempt.dialog, attempt.keep_line())
        call.begin_again(media.local)
        call.stream.signalled_from(source.host)
        call.agree(media)
        _log.info("sip.referred", call=call.started.call, to=str(source))
        house.endpoint.notify(self._caller, 200, "OK")
        house.let_go(self._caller)

    def refused(self, status: int, reason: str) -> None:
        if self._over:
            return
        self._over = True
        self._house.forget(self._call)
        if self.orphaned:
            self._house.live.finish(self._call, Ending.CALLER_HUNG_UP)
        else:
            self._house.endpoint.notify(self._caller, status, reason or REASONS.get(status, "No"))


def _is_line(text: str) -> bool:
    return text.isprintable() and len(text) <= 1000
