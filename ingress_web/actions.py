"""What agents want done of a call's carrier: hang up, put through, press keys.

While the carrier does something with the caller its stream is away, and the call waits for what is
told of it: by the webhooks, through `Reception`, or by the carrier's refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from calls.ending import Ending
from calls.events import ActionName
from calls.ids import ReplyId
from calls.transfer import TransferMode
from ingress_web.call import WebCall
from ingress_web.carriers.carrier import Carrier, CarrierError
from ingress_web.door import Dialled, Next
from ingress_web.server import WebServer
from ingress_web.stream import Connection

_log = structlog.get_logger(__name__)
#: How long a transfer's target may ring, s: less than the leg waits for what comes of it.
_RING_S: Final = 60.0
#: Calls that are over because the carrier said so, or that it goes on with.
_THEIRS: Final = frozenset(
    {
        Ending.CALLER_HUNG_UP,
        Ending.TRANSFERRED,
        Ending.BUSY,
        Ending.REJECTED,
        Ending.UNREACHABLE,
    }
)
#: A carrier that has told nothing of a caller for so long will not bring them back, ms: longer than
#: the leg waits for what comes of it.
_AWAY_MS: Final = 200_000.0
#: How long after the last key the stream may take to come back, s.
_BACK_S: Final = 30.0


class _UnderWay(NamedTuple):
    """What a carrier does with a caller, for which reply."""

    reply: ReplyId
    what: ActionName


class Actions:
    """Does what agents want done (ingress_web.call.Doer)."""

    def __init__(self, server: WebServer, carriers: Mapping[str, Carrier]) -> None:
        """`carriers` are those whose REST API we may use."""
        self._server = server
        self._carriers = carriers
        self._under_way: dict[WebCall, _UnderWay] = {}
        server.live.told.append(self._ended)

    def hang_up(self, call: WebCall) -> None:
        """See `Doer`: the stream is closed, and the carrier asked, where it can be."""
        self._server.end(call, Ending.AGENT_HUNG_UP)

    def transfer(self, call: WebCall, reply: ReplyId, target: str, mode: TransferMode) -> None:  # noqa: ARG002
        """See `Doer`. Either mode is the same here: the carrier has the caller until it is over."""
        carrier = self._carriers.get(call.started.carrier)
        if carrier is None:
            _fail(call, reply, "transfer", f"{call.started.carrier} cannot be asked to", 501)
            return
        self._begin(call, reply, "transfer")
        self._server.live.spawn(self._transfer(carrier, call, reply, target))

    def send_digits(self, call: WebCall, reply: ReplyId, digits: str) -> None:
        """See `Doer`."""
        carrier = self._carriers.get(call.started.carrier)
        if carrier is None:
            _fail(call, reply, "send_digits", f"{call.started.carrier} cannot be asked to")
            return
        self._begin(call, reply, "send_digits")
        self._server.live.spawn(self._send_digits(carrier, call, reply, digits))

    # What becomes of it

    def stream_ended(self, call: WebCall) -> None:
        """The carrier says that it is done with the caller, who comes back."""
        under_way = self._under_way.get(call)
        if under_way is not None and under_way.what == "send_digits":
            self._end(call)
            call.leg.action_done(under_way.reply, "send_digits", ok=True)

    def dialled(self, call: WebCall, outcome: Dialled) -> Next:
        """A transfer is over."""
        under_way = self._under_way.get(call)
        if under_way is None or under_way.what != "transfer":
            return "refuse"
        self._end(call)
        status, detail = outcome.status, outcome.detail
        call.leg.transfer_progressed(under_way.reply, status, detail)
        call.leg.action_done(
            under_way.reply, "transfer", ok=outcome.ok, status=status, detail=detail
        )
        if outcome.ok:
            self._server.live.finish(call, Ending.TRANSFERRED)
            return "hang_up"
        return "connect"

    def progressed(self, call: WebCall, status: int, detail: str) -> None:
        """A step of a transfer: it rings, or the caller speaks to somebody else now."""
        under_way = self._under_way.get(call)
        if under_way is None or under_way.what != "transfer":
            return
        call.leg.transfer_progressed(under_way.reply, status, detail)
        if status == 200:
            reply = under_way.reply
            call.leg.action_done(reply, "transfer", ok=True, status=status, detail=detail)
            self._server.live.finish(call, Ending.TRANSFERRED)

    async def _transfer(self, carrier: Carrier, call: WebCall, reply: ReplyId, target: str) -> None:
        try:
            # Whom we called does not own a number of the account to be shown.
            shown = call.started.caller if call.started.direction == "outbound" else ""
            await carrier.transfer(call.carrier_call, target, caller_id=shown, timeout_s=_RING_S)
        except (CarrierError, ValueError) as error:
            self._refused(call, reply, "transfer", error)

    async def _send_digits(
        self, carrier: Carrier, call: WebCall, reply: ReplyId, digits: str
    ) -> None:
        try:
            await carrier.send_digits(call.carrier_call, digits)
            await asyncio.sleep(_BACK_S)
            if (under_way := self._under_way.get(call)) is not None and under_way.reply == reply:
                self._end(call)
                _fail(call, reply, "send_digits", "the stream did not come back")
        except (CarrierError, ValueError) as error:
            self._refused(call, reply, "send_digits", error)

    def _begin(self, call: WebCall, reply: ReplyId, what: ActionName) -> None:
        self._under_way[call] = _UnderWay(reply, what)
        call.away_until_ms = call.clock_ms() + _AWAY_MS

    def _end(self, call: WebCall) -> None:
        self._under_way.pop(call, None)
        call.away_until_ms = float("-inf")
        if call.detached_ms is not None:
            call.detached_ms = call.clock_ms()  # from now on the stream is waited for

    def _ended(self, call: WebCall) -> None:
        self._under_way.pop(call, None)
        carrier = self._carriers.get(call.started.carrier)
        named = call.carrier_call != call.started.call  # else the carrier never heard of it
        if carrier is not None and named and call.ending not in _THEIRS:
            # One of a call's endings: a drain waits for those.
            hanging_up = self._hang_up(carrier, call, call.stream.connection)
            self._server.live.spawn(hanging_up, f"end {call.carrier_call}")

    async def _hang_up(
        self, carrier: Carrier, call: WebCall, connection: Connection | None
    ) -> None:
        """End a call at its carrier, too. Its stream's end has it ask us what now; this is surer.

        The stream goes first: what was sent last is not cut off.
        """
        if connection is not None:
            await connection.closed()
        try:
            await carrier.hang_up(call.carrier_call)
        except (CarrierError, ValueError) as error:
            _log.warning("carrier.refused", call=call.started.call, what="hangup", error=str(error))

    def _refused(
        self, call: WebCall, reply: ReplyId, what: ActionName, error: CarrierError | ValueError
    ) -> None:
        """The carrier would not: the caller is still, or again, with the agent."""
        under_way = self._under_way.get(call)
        if under_way is None or under_way.reply != reply:
            return
        self._end(call)
        _log.warning("carrier.refused", call=call.started.call, what=what, error=str(error))
        status = (error.status or None) if isinstance(error, CarrierError) else None
        if what == "transfer":
            call.leg.transfer_progressed(reply, status or 500, str(error))
        _fail(call, reply, what, str(error), status)


def _fail(
    call: WebCall, reply: ReplyId, what: ActionName, detail: str, status: int | None = None
) -> None:
    call.leg.action_done(reply, what, ok=False, status=status, detail=detail)
