"""Outbound calls: an agent calls somebody because the bus says so (bus/dialling.py)."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from bus.dialling import CannotPlaceError
from bus.jobs import PlaceCall
from bus.log import Ownership
from calls.agent import Agent, Agents
from calls.ending import Ending
from calls.events import CallRerouted, CallRinging, CallStarted
from calls.ids import CallId
from ingress_sip.call import Doer, SipCall
from ingress_sip.live import LiveCalls
from ingress_sip.media_setup import MediaSetup
from ingress_sip.placing import NOWHERE, Attempt, Placing, ending_of
from ingress_sip.sdp.session import SdpError
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.routing import Hop
from ingress_sip.sockets.udp import NoPortError
from ingress_sip.trunking.outbound import NoRouteError, Route
from legs.engine import MediaEngine

_log = structlog.get_logger(__name__)


class Outbound:
    """Places the calls that are asked for, and says in their logs what comes of them."""

    def __init__(
        self,
        agents: Agents,
        placing: Placing,
        live: LiveCalls,
        engine: MediaEngine,
        *,
        setup: MediaSetup,
        shortage: Callable[[], str | None],
        doer: Doer,
    ) -> None:
        """`shortage()` says what one more call would lack, in words."""
        self._agents = agents
        self._placing = placing
        self._live = live
        self._engine = engine
        self._setup = setup
        self._shortage = shortage
        self._doer = doer
        self._pending: dict[CallId, _OutboundCall] = {}

    async def place(self, job: PlaceCall, owner: Ownership) -> None:
        """Begin the call's log, and let the call go its way.

        Raises:
            CannotPlaceError: it cannot be placed, and the asker is told why.
            BusError, SupersededError
        """
        agent = next((a for a in self._agents.agents if a.name == job.agent), None)
        if agent is None:
            known = ", ".join(agent.name for agent in self._agents.agents)
            raise CannotPlaceError(f"no agent is named {job.agent!r}; there are: {known}")
        if (short := self._shortage()) is not None:
            raise CannotPlaceError(short)
        try:
            routes = await self._placing.routes(job.number, caller=job.caller_id, trunk=job.trunk)
            stream = await self._setup.open(job.call, routes[0].hops[0])
        except (NoRouteError, NoPortError) as error:
            raise CannotPlaceError(str(error)) from error
        started = self._started(job, agent, routes[0])
        local = self._setup.local(stream, routes[0].hops[0], routes[0].trunk)
        call = SipCall(
            NOWHERE._replace(call_id=job.call), started, local, stream,
            now_ms=self._setup.now_ms, clock_ms=self._setup.clock_ms, doer=self._doer,
        )  # fmt: skip
        await self._live.open(call, owner)
        if call.over:
            return  # meanwhile: we are told to stop, or it was cancelled
        outbound = _OutboundCall(self, call)
        self._pending[job.call] = outbound
        call.withdraw = outbound.withdraw
        try:
            outbound.attempt = self._placing.place(
                routes, outbound, ring_s=job.timeout_s, call_id=started.carrier_call
            )
        except BaseException:
            self._pending.pop(job.call, None)
            self._live.finish(call, Ending.FAILED)
            raise

    def _started(self, job: PlaceCall, agent: Agent, route: Route) -> CallStarted:
        return CallStarted(
            at=self._setup.now_ms(),
            call=job.call,
            agent=agent,
            carrier="sip",
            caller=route.from_.uri.user,
            called=job.number,
            carrier_call=secrets.token_hex(16),
            codec="",
            remote=str(route.hops[0]),
            direction="outbound",
            trunk=route.trunk.name if route.trunk else "",
            variables=dict(job.variables),
        )

    def cancel(self, call_id: CallId) -> None:
        """Hang a call up, answered or not; one that we do not have is none of our business."""
        call = self._live.named(call_id)
        if call is None:
            return
        if (pending := self._pending.get(call_id)) is not None:
            pending.cancelled = True
            pending.withdraw()  # it may be answered all the same, at this moment
        else:
            self._live.end(call, Ending.AGENT_HUNG_UP if call.answered else Ending.CANCELLED)

    def move(self, call: SipCall, dialog: DialogId) -> None:
        self._live.move(call, dialog)

    def offer(self, call: SipCall, route: Route) -> bytes:
        trunk = route.trunk.name if route.trunk else ""
        if trunk != call.started.trunk:
            self._live.tell(call, CallRerouted(at=call.now_ms(), trunk=trunk))
        call.begin_again(self._setup.local(call.stream, route.hops[0], route.trunk))
        return call.offer()

    def rang(self, call: SipCall, status: int, body: bytes) -> None:
        if body:
            try:
                call.accepted_early(body)
            except SdpError as error:
                _log.info("sip.bad_early_answer", call=call.started.call, error=str(error))
        if status >= 180:
            ringing = CallRinging(at=call.now_ms(), status=status, early_media=bool(body))
            self._live.tell(call, ringing)

    def answered(self, call: SipCall, attempt: Attempt, body: bytes) -> None:
        self._pending.pop(call.started.call, None)
        if call.over:
            attempt.cancel()
            return
        call.answered = True
        call.line = attempt.keep_line()
        try:
            call.accepted(body)
        except SdpError as error:
            _log.warning("sip.bad_answer", call=call.started.call, error=str(error))
            self._live.end(call, Ending.FAILED)
            return
        _log.info("sip.answered", call=call.started.call, number=call.started.called)
        self._live.connect(call)

    def refused(self, call: SipCall, status: int, reason: str, *, why: Ending) -> None:
        self._pending.pop(call.started.call, None)
        _log.info("sip.not_answered", call=call.started.call, status=status, reason=reason)
        self._live.finish(call, why)


class _OutboundCall:
    """A call of ours until it is answered (ingress_sip.placing.Listener)."""

    def __init__(self, outbound: Outbound, call: SipCall) -> None:
        self.attempt: Attempt | None = None
        self.cancelled = False
        self._outbound = outbound
        self._call = call

    def withdraw(self) -> None:
        if self.attempt is not None:
            self.attempt.cancel()

    def offer(self, route: Route) -> bytes:
        return self._outbound.offer(self._call, route)

    def placed(self, dialog: DialogId) -> None:
        if not self._call.over:
            self._outbound.move(self._call, dialog)

    def rang(self, status: int, body: bytes) -> None:
        self._outbound.rang(self._call, status, body)

    def answered(self, attempt: Attempt, body: bytes, source: Hop) -> None:
        self._call.stream.signalled_from(source.host)
        self._outbound.answered(self._call, attempt, body)

    def refused(self, status: int, reason: str) -> None:
        attempt = self.attempt
        timed_out, rang = (attempt.timed_out, attempt.rang) if attempt else (False, False)
        why = ending_of(status, timed_out=timed_out, rang=rang, cancelled=self.cancelled)
        self._outbound.refused(self._call, status, reason, why=why)
