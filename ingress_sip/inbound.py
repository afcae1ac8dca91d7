"""Calls that come in: from an INVITE that was admitted to the answer, or to why there is none."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from bus.broker import BusError
from calls.ending import Ending
from calls.events import CallStarted
from calls.ids import new_call_id
from ingress_sip.admission import Admission, RefusedError, caller_of, number_called, plain
from ingress_sip.call import Doer, SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.live import LiveCalls
from ingress_sip.media_setup import MediaSetup
from ingress_sip.referred import Referrals
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling import events as sip
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.digest import DigestClient
from ingress_sip.sockets.udp import NoPortError
from ingress_sip.trunking.config import Trunk
from ingress_sip.trunking.lines import Lines
from ingress_sip.trunking.policy import Admitted
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: How long a caller waits for the bus before the call is refused, s.
_OPEN_S: Final = 3.0
#: So many calls are let in at once; a rush must not hold up the frames of those that are here.
_AT_ONCE: Final = 16


class Inbound:
    """Takes INVITEs, and makes calls of them."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        admission: Admission,
        live: LiveCalls,
        *,
        lines: Lines,
        setup: MediaSetup,
        referrals: Referrals,
        digest: Callable[[Trunk], DigestClient | None],
        doer: Doer,
    ) -> None:
        """`digest(trunk)` answers what a trunk asks of our requests in its calls."""
        #: Calls that are not answered yet.
        self.admitting: set[DialogId] = set()
        self._endpoint = endpoint
        self._admission = admission
        self._live = live
        self._lines = lines
        self._setup = setup
        self._referrals = referrals
        self._digest = digest
        self._doer = doer
        self._one_of_few = asyncio.Semaphore(_AT_ONCE)

    def received(self, event: sip.InviteReceived) -> None:
        admitted = event.admitted
        assert isinstance(admitted, Admitted)  # Admission.screen gives nothing else
        # At once, for the next INVITE to count it.
        self._lines.take(admitted.line)
        if admitted.trunk is not None and (digest := self._digest(admitted.trunk)):
            self._endpoint.use_credentials(event.dialog, digest)
        if event.replaces is None:
            self.admitting.add(event.dialog)
            self._live.spawn(self._invited(event, admitted))
        elif not self._referrals.replaced(event, admitted):
            self._lines.free(admitted.line)

    async def _invited(self, event: sip.InviteReceived, admitted: Admitted) -> None:
        call = None
        try:
            async with self._one_of_few:
                call = await self._prepared(event, admitted)
                await self._answer(call)
        except RefusedError as refusal:
            self._admission.refused(refusal, event.request)
            self._endpoint.reject(event.dialog, refusal.status, refusal.headers)
        except Exception:
            # Ours: it must leave no phone ringing and no port taken.
            metrics.ERRORS.labels("ingress", "admission").inc()
            _log.exception("sip.admission_failed", number=number_called(event.request))
            if call is not None:
                self._live.end(call, Ending.FAILED)
            else:
                self._endpoint.reject(event.dialog, 500)
        finally:
            if call is None:
                self._lines.free(admitted.line)
            self.admitting.discard(event.dialog)
            self._live.fewer.set()

    async def _prepared(self, event: sip.InviteReceived, admitted: Admitted) -> SipCall:
        """The call, with its ports and its line, before anybody is told of it.

        Raises:
            RefusedError
        """
        started = self._started(event, admitted)
        try:
            stream = await self._setup.open(started.call, event.source)
        except NoPortError as error:
            raise RefusedError(503, str(error), reason="ports", retry_after_s=10) from error
        try:
            local = self._setup.local(stream, event.source, admitted.trunk)
            call = SipCall(
                event.dialog, started, local, stream,
                now_ms=self._setup.now_ms, clock_ms=self._setup.clock_ms, doer=self._doer,
            )  # fmt: skip
            call.line = admitted.line
            if event.offer:
                call.agree(call.answer(event.offer))
                call.started = replace(started, codec=call.codec)
        except SdpError as error:
            stream.close()
            raise RefusedError(error.status, error.reason, reason="media") from error
        except BaseException:
            stream.close()
            raise
        return call

    def _started(self, event: sip.InviteReceived, admitted: Admitted) -> CallStarted:
        agent = self._admission.agent_for(admitted.number)
        now = self._setup.now_ms()
        return CallStarted(
            at=now,
            call=new_call_id(now, secrets.token_hex(5)),
            agent=agent,
            carrier="sip",
            caller=caller_of(event.request),
            called=plain(admitted.number),
            carrier_call=plain(event.request.call_id),
            codec="",
            remote=str(event.source),
            trunk=admitted.trunk.name if admitted.trunk else "",
        )

    async def _answer(self, call: SipCall) -> None:
        """Answer the call, unless its caller gives up meanwhile.

        Raises:
            RefusedError
        """
        self._endpoint.ring(call.dialog)
        try:
            async with asyncio.timeout(_OPEN_S):
                await self._live.open(call)
        except (BusError, OSError) as error:
            raise RefusedError(
                503, f"the bus is away: {error}", reason="bus", retry_after_s=5
            ) from error
        body = call.agreed.body if call.agreed else call.offer()
        if call.over or not self._endpoint.accept(call.dialog, body):
            self._live.finish(call, Ending.CANCELLED)
            return
        call.answered = True
        _log.info("sip.answered", call=call.started.call, number=call.started.called)
