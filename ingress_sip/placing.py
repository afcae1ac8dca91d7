"""Calling somebody: by which ways, one after the other, until one answers or all have failed.

An agent's own call, the consultation before a transfer and the call that a REFER asks for are all
placed so; what they do with the answer differs (ingress_sip.outbound, ingress_sip.transfer).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from calls.ending import Ending
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.signalling import events as sip
from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri, TelUri, parse_uri
from ingress_sip.sockets.resolver import ResolveError
from ingress_sip.trunking.lines import Line, Lines
from ingress_sip.trunking.outbound import NoRouteError, Route

Extra = tuple[tuple[str, str], ...]
#: The dialog of what was not sent yet.
NOWHERE: Final = DialogId("", "", "")

_log = structlog.get_logger(__name__)
#: Answers after which the next way is tried: that server is not there, or full, or broken.
_NEXT_WAY: Final = frozenset({408, 500, 502, 503, 504})
#: Nobody's phone rings for longer, s.
MOST_RINGING_S: Final = 180.0
#: How long the answer to a CANCEL is waited for, s.
_LET_GO_S: Final = 2.0


class Listener(Protocol):
    """Whoever placed a call. Told once of `answered` or of `refused`, and then of nothing more."""

    def offer(self, route: Route) -> bytes:
        """Our SDP for this way."""
        ...

    def placed(self, dialog: DialogId) -> None:
        """It is called in this dialog, until the next way is tried."""
        ...

    def rang(self, status: int, body: bytes) -> None:
        """A provisional response; `body` is an answer to the offer, or empty."""
        ...

    def answered(self, attempt: Attempt, body: bytes, source: Hop) -> None:
        """Somebody answered, in `attempt.dialog`. `body` is the answer to the offer."""
        ...

    def refused(self, status: int, reason: str) -> None:
        """Nobody did: the last answer, or 487 where it was given up."""
        ...


class Attempt:
    """One call on its way to somebody."""

    def __init__(
        self,
        placing: Placing,
        routes: Sequence[Route],
        listener: Listener,
        extra: Extra = (),
        call_id: str | None = None,
    ) -> None:
        self._placing = placing
        self.extra = extra
        self.call_id = call_id
        self.routes = deque(routes)
        self.listener = listener
        self.dialog = NOWHERE
        self.line: Line | None = None
        self.timer: asyncio.TimerHandle | None = None
        #: The answer to our offer that came before the call was answered.
        self.early = b""
        #: It rang for as long as its caller wanted it to.
        self.timed_out = False
        self.rang = False

    def keep_line(self) -> Line | None:
        """Take over the line of the trunk, to be freed when the call is over."""
        line, self.line = self.line, None
        return line

    def cancel(self) -> None:
        """Give it up; `refused` follows, if nobody answers meanwhile."""
        self.routes.clear()
        if self.timer is not None:
            self.timer.cancel()
        self._placing.give_up(self)


class Placing:
    """All calls of an ingress that were placed and not answered yet."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        lines: Lines,
        routes: Callable[[str, str, str], Awaitable[Sequence[Route]]],
        resolve: Callable[[SipUri], Awaitable[Sequence[Hop]]],
        phones: frozenset[str] = frozenset(),
    ) -> None:
        """`routes(number, caller, trunk)` are a number's ways out (TrunkKeeper.routes); `resolve`
        finds the hops of a URI that is dialled as it stands; `phones` are our users.
        """
        self._endpoint = endpoint
        self._lines = lines
        self._routes = routes
        self._resolve = resolve
        self._phones = phones
        self._attempts: dict[DialogId, Attempt] = {}

    def __len__(self) -> int:
        return len(self._attempts)

    def is_phone(self, user: str) -> bool:
        """Is this a user whose phones register here?"""
        return user in self._phones

    async def routes(self, target: str, *, caller: str = "", trunk: str = "") -> Sequence[Route]:
        """The ways to a number, a user of ours, or a sip: or tel: URI.

        Raises:
            NoRouteError
        """
        uri = uri_of(target)
        if uri is None:
            return await self._routes(target, caller, trunk)
        if isinstance(uri, TelUri):
            return await self._routes(uri.user, caller, trunk)
        if uri.user and self._endpoint.is_ours(uri):
            return await self._routes(uri.user, caller, trunk)
        if trunk:
            return await self._routes(uri.user, caller, trunk)
        try:
            hops = tuple(await self._resolve(uri))
        except ResolveError as error:
            raise NoRouteError(str(error)) from error
        us = self._endpoint.address_towards(hops[0])
        from_ = NameAddr(SipUri.of(us, user=caller or "anonymous"))
        return (Route(uri, NameAddr(uri), from_, hops),)

    def place(
        self,
        routes: Sequence[Route],
        listener: Listener,
        *,
        ring_s: float,
        extra: Extra = (),
        call_id: str | None = None,
    ) -> Attempt:
        """Call by these ways; after `ring_s` without an answer it is given up.

        `call_id` is the Call-ID, by all ways the same; None for one made up.
        """
        attempt = Attempt(self, routes, listener, extra, call_id)
        loop = asyncio.get_running_loop()
        if self._next(attempt):
            attempt.timer = loop.call_later(min(ring_s, MOST_RINGING_S), self._timed_out, attempt)
        else:  # they were free when the routes were asked for
            loop.call_soon(listener.refused, 503, "all lines are taken")
        return attempt

    def give_up(self, attempt: Attempt) -> None:
        """Cancel it. Who has said nothing yet cannot be cancelled before it does (RFC 3261 9.1),
        which may be half a minute: its caller is not kept waiting.
        """
        assert attempt.dialog is not None
        self._endpoint.hang_up(attempt.dialog)
        asyncio.get_running_loop().call_later(_LET_GO_S, self._let_go, attempt)

    def _let_go(self, attempt: Attempt) -> None:
        if attempt.dialog is not None and self._attempts.pop(attempt.dialog, None) is attempt:
            self._free(attempt)
            self._stop_timer(attempt)
            status = 480 if attempt.rang else 408
            attempt.listener.refused(status, REASONS[status])

    def happened(self, event: sip.Event) -> bool:
        """Take an event of a call that was placed; False if it is none."""
        match event:
            case sip.CallProgress():
                attempt = self._attempts.get(event.dialog)
                if attempt is not None:
                    attempt.rang = attempt.rang or event.status >= 180
                    attempt.early = event.body or attempt.early
                    attempt.listener.rang(event.status, event.body)
                return True
            case sip.CallAnswered():
                attempt = self._attempts.pop(event.dialog, None)
                if attempt is not None:
                    self._stop_timer(attempt)
                    try:
                        body = event.body or attempt.early
                        attempt.listener.answered(attempt, body, event.source)
                    finally:
                        self._free(attempt)
                return True
            case sip.CallRefused():
                attempt = self._attempts.pop(event.dialog, None)
                if attempt is not None:
                    self._refused(attempt, event)
                return True
            case _:
                return False

    def _next(self, attempt: Attempt) -> bool:
        """Call by the next way that has a line; False: there is none."""
        while attempt.routes:
            route = attempt.routes.popleft()
            if route.trunk is None or not self._lines.trunk_is_full(route.trunk):
                self._call(attempt, route)
                return True
        return False

    def _call(self, attempt: Attempt, route: Route) -> None:
        ask = Ask(
            method="INVITE",
            uri=route.uri,
            to=route.to,
            from_=route.from_,
            hops=route.hops,
            call_id=attempt.call_id,
            headers=(*route.headers, *attempt.extra),
            body=attempt.listener.offer(route),
            digest=route.digest,
        )
        attempt.dialog, attempt.early = self._endpoint.call(ask), b""
        attempt.line = route.line
        self._lines.take(route.line)
        self._attempts[attempt.dialog] = attempt
        attempt.listener.placed(attempt.dialog)

    def _refused(self, attempt: Attempt, event: sip.CallRefused) -> None:
        self._free(attempt)
        if event.status in _NEXT_WAY and not attempt.rang and self._next(attempt):
            _log.info("sip.next_way", status=event.status, reason=event.reason)
            return
        self._stop_timer(attempt)
        attempt.listener.refused(event.status, event.reason)

    def _timed_out(self, attempt: Attempt) -> None:
        attempt.timed_out = True
        attempt.cancel()

    def _free(self, attempt: Attempt) -> None:
        if attempt.line is not None:
            self._lines.free(attempt.line)
            attempt.line = None

    def _stop_timer(self, attempt: Attempt) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()


def ending_of(status: int, *, timed_out: bool, rang: bool, cancelled: bool) -> Ending:
    """How a call of ours ended that nobody answered (RFC 3261 21.4 to 21.6)."""
    if cancelled:
        return Ending.CANCELLED
    if timed_out or status == 480 or (status == 408 and rang):
        return Ending.NO_ANSWER
    if status in (486, 600):
        return Ending.BUSY
    if status in (404, 408, 410, 484, 485, 500, 502, 503, 504, 604):
        return Ending.UNREACHABLE
    return Ending.REJECTED


def uri_of(target: str) -> SipUri | TelUri | None:
    """The URI that a target is, or None where it is a number or a user.

    Raises:
        NoRouteError: it is a URI that cannot be called.
    """
    if ":" not in target:
        return None
    try:
        uri = parse_uri(target)
    except SipError as error:
        raise NoRouteError(f"{target!r} is no number and no URI: {error.reason}") from error
    if not isinstance(uri, SipUri | TelUri):
        raise NoRouteError(f"{target!r}: only sip:, sips: and tel: can be called")
    return uri
