"""Twilio's webhooks: what is answered to whom. Knows no sockets; time is an argument.

    POST /twilio/voice      a call comes in, or one that we placed was answered
    POST /twilio/connected  its stream is over and the call is not, or keys were played
    POST /twilio/dialled    a transfer is over
    POST /twilio/status     how a call stands, how a stream does

Twilio asks again where it could not connect, once, within 15 s (docs/usage/webhooks/
webhooks-connection-overrides). Such a retry is answered as the first time, for as long as a token
lives. After that the same request is a replay, for signatures say nothing of time. (The
I-Twilio-Idempotency-Token is no help here: it is not signed.) Status callbacks may come again: they
change nothing; those of a transfer are taken while it is under way.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog

from ingress_web.carriers import twiml
from ingress_web.carriers.twilio_calls import (
    HOOK,
    OfferedCall,
    OfferedCalls,
    hook_was_answered,
    use_hook,
)
from ingress_web.carriers.twilio_check import ForbiddenError, TwilioCheck
from ingress_web.carriers.twilio_fields import (
    ending_of,
    read_call,
    read_dialled,
    read_offer,
    read_progress,
    read_status,
)
from ingress_web.door import Door, Next, Offer, Refused
from ingress_web.forms import FormError, read_form
from ingress_web.refusals import Refusals
from ingress_web.tokens import LIFE_S, StreamTokens
from ingress_web.webhooks import Answer, Request

_log = structlog.get_logger(__name__)
#: Twilio waits 15 s in all (docs/usage/webhooks/webhooks-connection-overrides, "rt").
_ADMIT_S: Final = 10.0
#: A call whose stream does not come is asked to open it so many times more.
_MOST_LOST: Final = 3


class TwilioWebhook:
    """Answers Twilio's requests."""

    def __init__(
        self,
        door: Door,
        tokens: StreamTokens,
        check: TwilioCheck,
        *,
        clock: Callable[[], float] = time.monotonic,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(12),
        refusals: Refusals | None = None,
    ) -> None:
        """`clock` is in s and does not jump; `refusals` are counted and told of there."""
        self._door = door
        self._tokens = tokens
        self._check = check
        self._clock = clock
        self._refusals = refusals or Refusals(clock)
        self._calls = OfferedCalls(nonce)

    def hook_url(self, call: str, path: str) -> str:
        """A URL for Twilio to come back to about a call (twiml.CONNECTED or DIALLED), good once.

        Raises:
            LookupError: that call was not offered here.
        """
        return self._calls.hook_url(call, path)

    async def voice(self, request: Request) -> Answer:
        """A call is offered."""
        try:
            signed = self._pass(request)
            offer, left_out = read_offer(request.form, request.url, request.source)
            if left_out:
                _log.warning("twilio.parameters_left_out", carrier_call=offer.call, names=left_out)
            return await self._voice(offer, request.url.base, signed=signed)
        except (ForbiddenError, FormError) as error:
            return self._refuse(request, error)

    def connected(self, request: Request) -> Answer:
        """A stream is over, and what comes next is asked for."""
        return self._came_back(request, self._stream_ended)

    def dialled(self, request: Request) -> Answer:
        """A transfer is over, and what comes next is asked for."""
        return self._came_back(request, self._dial_ended)

    def status(self, request: Request) -> Answer:
        """A call, or a stream, stands otherwise than before."""
        try:
            self._pass(request)
            self._take_note(request)
            return Answer(204)
        except (ForbiddenError, FormError) as error:
            return self._refuse(request, error)

    def _pass(self, request: Request) -> bool:
        signed = self._check.check(request)
        if not signed:
            _log.warning(
                "twilio.unsigned_request",
                url=str(request.url),
                source=request.source,
                hint="TRUNKLINE_TWILIO_UNSIGNED is for development",
            )
        return signed

    async def _voice(self, offer: Offer, base: str, *, signed: bool) -> Answer:
        match self._door.standing(offer.call):
            case "attached":
                raise ForbiddenError("replay", "its stream is here")
            case "over":
                raise ForbiddenError("replay", "the call is over")
            case "broken":
                return self._connect(offer, base, signed=signed)
            case _:
                pass
        known = self._calls.get(offer.call)
        if known is None:
            admitting = asyncio.ensure_future(self._admit(offer, base, signed=signed))
            known = OfferedCall(offer, base, admitting, self._clock() + _ADMIT_S + LIFE_S)
            self._calls.add(known)
        elif self._clock() >= known.until:
            raise ForbiddenError("replay", "it was answered, and its stream did not come in time")
        # A sender that goes away does not take the retry's answer with it.
        return await asyncio.shield(known.answer)

    async def _admit(self, offer: Offer, base: str, *, signed: bool) -> Answer:
        try:
            async with asyncio.timeout(_ADMIT_S):
                refused = await self._door.admit(offer)
        except Exception:
            # 5xx has Twilio ask the number's fallback URL (docs/usage/security/
            # availability-reliability).
            _log.exception("twilio.not_admitted", carrier_call=offer.call)
            self._calls.forget(offer.call)
            return Answer(503, body="failed\n")
        if refused is not None:
            self._calls.forget(offer.call)
            return _refusal(offer, refused)
        if (known := self._calls.get(offer.call)) is not None:
            known.until = self._clock() + LIFE_S
        return self._connect(offer, base, signed=signed)

    def _came_back(self, request: Request, what_next: Callable[[str, Request], Next]) -> Answer:
        """Twilio is done with what a URL of ours was the end of."""
        try:
            signed = self._pass(request)
            call = read_call(request.form).call
            known = self._calls.get(call)
            if known is None:
                # Offered to a process that is gone, or to another: nobody here could go on.
                _log.warning("twilio.unknown_call", carrier_call=call)
                return _twiml(twiml.hang_up())
            hook, now = _query(request, HOOK), self._clock()
            attached = self._door.standing(call) == "attached"
            if (earlier := use_hook(known, hook, now, attached=attached)) is not None:
                return earlier
            answer = self._go_on(what_next(call, request), known.offer, request, signed=signed)
        except (ForbiddenError, FormError) as error:
            return self._refuse(request, error)
        hook_was_answered(known, hook, answer, now)
        return answer

    def _take_note(self, request: Request) -> None:
        if "StreamEvent" in request.form:  # docs/voice/twiml/stream, "statusCallback"
            call = read_call(request.form).call
            if error := request.form.get("StreamError"):
                _log.warning("twilio.stream_error", carrier_call=call, error=error[:200])
            return
        progress = read_progress(request.form)
        if progress is None:
            placed_as = _query(request, twiml.PLACED_AS)
            self._door.status_changed(read_status(request.form)._replace(placed_as=placed_as))
            return
        (call, _), status, detail = progress
        known = self._calls.get(call)
        # The <Dial>'s own URL: while that is open, the transfer is under way.
        if known is None or _query(request, HOOK) not in known.open_hooks:
            raise ForbiddenError("replay", "that transfer is not under way")
        self._door.transfer_progressed(call, status, detail)

    def _stream_ended(self, call: str, request: Request) -> Next:
        if self._is_over(request):
            return "hang_up"
        came = self._door.standing(call) != "expected"
        next_ = self._door.stream_ended(call)
        if next_ == "connect" and self._is_lost(call, came=came):
            _log.warning("twilio.stream_never_came", carrier_call=call)
            return "hang_up"
        return next_

    def _dial_ended(self, call: str, request: Request) -> Next:
        next_ = self._door.dialled(call, read_dialled(request.form))
        return "hang_up" if self._is_over(request) else next_

    def _go_on(self, next_: Next, offer: Offer, request: Request, *, signed: bool) -> Answer:
        if next_ == "refuse":
            raise ForbiddenError("replay", "nothing of that kind is under way")
        if next_ == "hang_up":
            return _twiml(twiml.hang_up())
        _log.info("twilio.connected_again", carrier_call=offer.call)
        return self._connect(offer, request.url.base, signed=signed)

    def _connect(self, offer: Offer, base: str, *, signed: bool) -> Answer:
        token = self._tokens.issue(offer.call, offer.account) if signed else ""
        try:
            action = self._calls.hook_url(offer.call, twiml.CONNECTED, base)
        except LookupError:  # it is broken, and its offer was forgotten: it waits for this stream
            action = base + twiml.CONNECTED
        return _twiml(twiml.connect(base, action, offer.parameters, token))

    def _is_lost(self, call: str, *, came: bool) -> bool:
        """Was it asked for its stream often enough? A URL that is wrong stays wrong."""
        known = self._calls.get(call)
        if known is None:
            return False
        known.lost = 0 if came else known.lost + 1
        return known.lost > _MOST_LOST

    def _is_over(self, request: Request) -> bool:
        """Did the caller hang up meanwhile? Twilio asks all the same, and the door is told."""
        if ending_of(request.form.get("CallStatus", "")) is None:
            return False
        self._door.status_changed(read_status(request.form))
        return True

    def _refuse(self, request: Request, error: ForbiddenError | FormError) -> Answer:
        call = request.form.get("CallSid", "")[:40]
        if isinstance(error, FormError):
            self._refusals.add(
                error.status, "bad_form", request.url, request.source, hint=str(error), call=call
            )
            return Answer(error.status, body="bad request\n")
        self._refusals.add(
            403, error.fault, request.url, request.source, hint=error.hint, call=call
        )
        return Answer(403, body="forbidden\n")


def _query(request: Request, name: str) -> str:
    return read_form(request.url.query.encode("ascii")).get(name, "")


def _refusal(offer: Offer, refused: Refused) -> Answer:
    """Why a call is not taken, as TwiML has it."""
    _log.info(
        "twilio.call_refused", carrier_call=offer.call, number=offer.number, why=refused.why,
        detail=refused.detail,
    )  # fmt: skip
    if refused.why == "draining":
        # Another ingress may take it: an error has Twilio ask the number's fallback URL at once,
        # where a <Reject> is an answer (docs/usage/security/availability-reliability).
        return Answer(503, body="draining\n")
    if offer.direction == "outbound":  # it was answered: there is nothing to reject
        return _twiml(twiml.hang_up())
    return _twiml(twiml.reject(busy=refused.why == "shortage"))


def _twiml(document: str) -> Answer:
    return Answer(200, "text/xml", document)
