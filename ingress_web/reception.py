"""Who is expected: calls that a webhook was told of, until their streams come.

The webhooks' side of the server (ingress_web.door.Door), and the judge of streams that begin.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import structlog
from aiohttp import web

from calls.ending import Ending
from calls.events import CallRinging
from calls.ids import CallId
from ingress_web.actions import Actions
from ingress_web.call import WebCall
from ingress_web.carriers.twiml import TOKEN
from ingress_web.dialects.messages import Dialect, Started
from ingress_web.door import Dialled, Next, Offer, Refused, Standing, StatusChange
from ingress_web.server import RefusedError, WebServer
from ingress_web.tokens import LIFE_S, StreamTokens, TokenError

_log = structlog.get_logger(__name__)
_TWILIO: Final = "twilio"
#: Calls that are remembered when they are over, or expected, at most.
_MOST: Final = 20_000
#: What Twilio says of a call that we place before it is answered, as SIP has it.
_RINGING: Final = {"initiated": 100, "ringing": 180}


class StreamKeys(NamedTuple):
    """What streams prove themselves by."""

    tokens: StreamTokens
    #: The secret in the URLs of streams that have no webhook; None: they are refused.
    key: str | None = None
    #: Does a Twilio stream from this address need no token? In development.
    unsigned: Callable[[str], bool] = lambda _: False


class Reception:
    """Lets calls in: first their webhook, then their stream."""

    def __init__(
        self,
        server: WebServer,
        actions: Actions,
        keys: StreamKeys,
        clock_s: Callable[[], float],
    ) -> None:
        """`clock_s` never jumps."""
        self._server = server
        self._actions = actions
        self._keys = keys
        self._clock_s = clock_s
        #: Twilio's calls whose stream is to come, and until when.
        self._expected: OrderedDict[str, tuple[Offer, float]] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        server.live.told.append(self._ended)

    # The webhooks' door

    def standing(self, call: str) -> Standing:
        """See `Door`."""
        known = self._server.of(_TWILIO, call)
        if known is not None and known.connected_ms is not None:
            return "attached" if known.stream.is_open else "broken"
        if self._expects(call) is not None:
            return "expected"
        return "over" if call in self._over else "unknown"

    async def admit(self, offer: Offer) -> Refused | None:
        """See `Door`."""
        if offer.placed_as:
            placed = self._server.live.named(CallId(offer.placed_as))
            if placed is None or placed.started.carrier != _TWILIO:
                return Refused("shortage", "the call that was placed is over")
            self._server.rename(placed, offer.call)
        else:
            try:
                self._server.agent_for(offer)
            except RefusedError as refusal:
                return Refused("no_agent", str(refusal))
            if (lack := self._server.lack()) is not None:
                return Refused("draining" if lack == "draining" else "shortage", lack)
        self._expect(offer)
        return None

    def stream_ended(self, call: str) -> Next:
        """See `Door`."""
        known = self._server.of(_TWILIO, call)
        if known is None:
            return "connect" if self._expects(call) is not None else "hang_up"
        self._actions.stream_ended(known)
        self._server.put_aside(known)
        self._expect(_again(known))
        return "connect"

    def transfer_progressed(self, call: str, status: int, detail: str) -> None:
        """See `Door`."""
        if (known := self._server.of(_TWILIO, call)) is not None:
            self._actions.progressed(known, status, detail)

    def dialled(self, call: str, outcome: Dialled) -> Next:
        """See `Door`."""
        known = self._server.of(_TWILIO, call)
        if known is None:
            return "hang_up" if call in self._over else "refuse"
        next_ = self._actions.dialled(known, outcome)
        if next_ == "connect":
            self._expect(_again(known))
        return next_

    def status_changed(self, change: StatusChange) -> None:
        """See `Door`."""
        call = self._server.of(_TWILIO, change.call)
        if call is None and change.placed_as:
            call = self._server.live.named(CallId(change.placed_as))
        if call is None:
            if change.ending is not None:
                self._expected.pop(change.call, None)
            return
        if change.ending is not None:
            answered = call.connected_ms is not None
            self._server.live.finish(call, Ending.CALLER_HUNG_UP if answered else change.ending)
        elif call.connected_ms is None and (status := _RINGING.get(change.status, 0)) >= 180:
            self._server.live.tell(call, CallRinging(at=call.now_ms(), status=status))

    # Streams

    def judge(self, request: web.Request, source: str, dialect: Dialect, started: Started) -> Offer:
        """What a stream that begins is a call of (ingress_web.streams.Admit).

        Raises:
            RefusedError: it is none that we expect.
        """
        if dialect.name != _TWILIO:
            return self._judge_by_key(request, dialect, started)
        if TOKEN not in started.parameters and self._keys.unsigned(source):
            _log.warning("twilio.unsigned_stream", source=source, carrier_call=started.call)
            return self._offer(started) or _unannounced(dialect.name, started)
        try:
            token = started.parameters.get(TOKEN, "")
            self._keys.tokens.redeem(token, started.call, started.account)
        except TokenError as error:
            raise RefusedError(f"its token is {error.fault}", reason="token") from error
        offer = self._offer(started)
        if offer is None:
            raise RefusedError("nobody expects it", reason="unexpected")
        return offer

    def _judge_by_key(self, request: web.Request, dialect: Dialect, started: Started) -> Offer:
        key = self._keys.key
        given = request.query.get("key", "")
        if key is None or not hmac.compare_digest(key.encode(), given.encode("utf-8", "replace")):
            raise RefusedError("its URL has not the key (TRUNKLINE_STREAM_KEY)", reason="token")
        return _unannounced(dialect.name, started)

    def _offer(self, started: Started) -> Offer | None:
        # It stays expected: where the call cannot begin now, its carrier is to come again.
        expected = self._expects(started.call)
        if expected is None and (known := self._server.of(_TWILIO, started.call)) is not None:
            return _again(known)  # its socket broke, and it comes back by itself
        return expected

    def _expects(self, call: str) -> Offer | None:
        offer, until = self._expected.get(call, (None, 0.0))
        return offer if self._clock_s() < until else None

    def _expect(self, offer: Offer) -> None:
        self._expected[offer.call] = offer, self._clock_s() + LIFE_S
        self._expected.move_to_end(offer.call)
        if len(self._expected) > _MOST:
            self._expected.popitem(last=False)

    def _ended(self, call: WebCall) -> None:
        if call.started.carrier == _TWILIO:
            self._expected.pop(call.carrier_call, None)
            self._over[call.carrier_call] = None
            if len(self._over) > _MOST:
                self._over.popitem(last=False)


def _again(call: WebCall) -> Offer:
    """A call that is here, offered by its carrier once more."""
    started = call.started
    return Offer(
        carrier="twilio",
        call=call.carrier_call,
        account="",
        caller=started.caller,
        called=started.called,
        direction=started.direction,
        parameters=started.variables,
    )


def _unannounced(carrier: str, started: Started) -> Offer:
    """A call that only its stream tells of."""
    named: Literal["twilio", "telnyx", "plivo", "vonage"] = carrier  # type: ignore[assignment]
    said = started.parameters
    return Offer(
        carrier=named,
        call=started.call,
        account=started.account,
        caller=started.caller or said.get("caller", ""),
        called=started.called or said.get("called", ""),
        parameters=said,
    )
