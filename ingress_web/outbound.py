"""Calls that a carrier places for us: asked for on the bus, and carried as any other then."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from bus.dialling import CannotPlaceError
from bus.jobs import PlaceCall
from bus.log import Ownership
from calls.agent import Agents
from calls.ending import Ending
from calls.events import CallStarted
from calls.ids import CallId
from ingress_web.call import WebCall
from ingress_web.carriers.carrier import Carrier, CarrierError
from ingress_web.server import WebServer

_log = structlog.get_logger(__name__)
#: What comes of a call may be told so long after it has stopped ringing, s.
_GRACE_S: Final = 30.0


class Outbound:
    """Places calls by a carrier's REST API (bus.dialling.Place)."""

    def __init__(self, server: WebServer, agents: Agents, carrier: Carrier, caller_id: str) -> None:
        """`caller_id` is the number of ours that is shown where the asker names none."""
        self._server = server
        self._agents = agents
        self._carrier = carrier
        self._caller_id = caller_id

    async def place(self, job: PlaceCall, owner: Ownership) -> None:
        """Begin the call's log, and have it placed.

        Raises:
            CannotPlaceError: nothing was begun.
            SupersededError: another ingress places it.
        """
        agent = next((each for each in self._agents.agents if each.name == job.agent), None)
        if agent is None:
            known = ", ".join(each.name for each in self._agents.agents)
            raise CannotPlaceError(f"no agent is named {job.agent!r}; there are: {known}")
        from_ = job.caller_id or self._caller_id
        if not from_:
            raise CannotPlaceError(
                "whose number is to be shown? Name one of the account's: --caller-id, or "
                "TRUNKLINE_TWILIO_NUMBER"
            )
        if (lack := self._server.lack()) is not None:
            raise CannotPlaceError(f"no room: {lack}")
        started = CallStarted(
            at=self._server.now_ms(),
            call=job.call,
            agent=agent,
            carrier="twilio",
            caller=from_,
            called=job.number,
            carrier_call=job.call,  # Twilio's own comes once it was asked
            codec="",
            remote="",
            direction="outbound",
            variables=dict(job.variables),
        )
        call = await self._server.open_outbound(started, owner)
        if not call.over:
            self._server.live.spawn(self._ask(call, job, from_))

    def cancel(self, call_id: CallId) -> None:
        """Hang a call up, answered or not; one that is not here is none of our business."""
        call = self._server.live.named(call_id)
        if call is None:
            return
        answered = call.connected_ms is not None
        self._server.end(call, Ending.AGENT_HUNG_UP if answered else Ending.CANCELLED)

    async def _ask(self, call: WebCall, job: PlaceCall, from_: str) -> None:
        try:
            name = await self._carrier.place(
                job.number, from_, call=job.call, timeout_s=job.timeout_s
            )
        except (CarrierError, ValueError) as error:
            _log.warning("carrier.refused", call=job.call, what="place", error=str(error))
            self._server.live.finish(call, Ending.REJECTED)
            return
        if call.over:  # cancelled while it was asked for
            try:
                await self._carrier.hang_up(name)
            except CarrierError as error:
                _log.warning("carrier.refused", call=job.call, what="hangup", error=str(error))
            return
        if call.connected_ms is None and call.carrier_call == job.call:
            self._server.rename(call, name)
        await asyncio.sleep(job.timeout_s + _GRACE_S)
        if call.connected_ms is None and not call.over:
            # Its status callbacks did not reach us.
            self._server.end(call, Ending.NO_ANSWER)
