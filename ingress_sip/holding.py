"""Holding a caller, and resuming: one re-INVITE at a time, until the session is as wanted."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ingress_sip.call import SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.live import LiveCalls
from ingress_sip.sdp.direction import Direction
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling import events as sip

_log = structlog.get_logger(__name__)
#: Something else is under way in the dialog: look again, s.
_AGAIN_S: Final = 1.0
#: Answers of a peer that could not do it just then (RFC 3261 14.2).
_LATER: Final = frozenset({500, 503})
_MOST_REFUSALS: Final = 5


class Holding:
    """Which callers are to be on hold, and how far they are."""

    def __init__(self, endpoint: SipEndpoint, live: LiveCalls) -> None:
        self._endpoint = endpoint
        self._live = live

    def hold(self, call: SipCall) -> None:
        """Hold the caller: they hear what we play, and are not heard (RFC 3264 8.4)."""
        call.holds = True
        self._go_on(call)

    def resume(self, call: SipCall) -> None:
        call.holds = False
        self._go_on(call)

    def happened(self, event: sip.Event) -> bool:
        """Take what came of a re-INVITE of ours, or of the core's refresh; False if it is none."""
        if not isinstance(event, sip.ReofferAnswered | sip.ReofferRefused | sip.ReofferDue):
            return False
        call = self._live.of(event.dialog)
        if call is None:
            return True
        match event:
            case sip.ReofferAnswered():
                self._answered(call, event.body)
            case sip.ReofferRefused():
                _log.info("sip.reoffer_refused", call=call.started.call, status=event.status)
                call.refused()  # it stays as it was: whoever cannot be held hears us, at worst
                if event.status in _LATER:
                    self._once_more(call)
            case sip.ReofferDue():
                call.refused()
                self._go_on(call)
        return True

    def _answered(self, call: SipCall, body: bytes) -> None:
        try:
            if call.pending is None:
                call.refreshed(body)
            else:
                call.accepted(body)
        except SdpError as error:
            _log.warning("sip.bad_answer", call=call.started.call, error=str(error))
            self._once_more(call)
        else:
            call.refusals = 0
            self._go_on(call)

    def _once_more(self, call: SipCall) -> None:
        call.refusals += 1
        if call.refusals < _MOST_REFUSALS:
            self._later(call)

    def _go_on(self, call: SipCall) -> None:
        wanted = Direction.SENDONLY if call.holds else Direction.SENDRECV
        if call.over or call.pending is not None or call.local.direction is wanted:
            return
        body = call.offer_hold(wanted)
        if body is not None and not self._endpoint.reoffer(call.dialog, body):
            call.refused()
            self._later(call)

    def _later(self, call: SipCall) -> None:
        asyncio.get_running_loop().call_later(_AGAIN_S, self._go_on, call)
