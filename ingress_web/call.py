"""One call that comes as a media stream, and the leg that carries it on the bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from calls.ending import Ending
from calls.events import CallStarted, MediaQuality
from calls.ids import ReplyId
from calls.transfer import TransferMode
from ingress_web.stream import MediaStream
from legs.leg import Heard, Leg


class Doer(Protocol):
    """What a call wants done of those that speak with its carrier."""

    def hang_up(self, call: WebCall) -> None:
        """The agent ends the call."""
        ...

    def transfer(self, call: WebCall, reply: ReplyId, target: str, mode: TransferMode) -> None:
        """The agent puts the caller through to somebody (legs.leg.Carrier.transfer)."""
        ...

    def send_digits(self, call: WebCall, reply: ReplyId, digits: str) -> None:
        """The agent presses keys (legs.leg.Carrier.send_digits)."""
        ...


class WebCall:
    """A call over a media stream (legs.leg.Carrier, legs.live.LiveCall)."""

    def __init__(
        self,
        started: CallStarted,
        *,
        now_ms: Callable[[], float],
        clock_ms: Callable[[], float],
        doer: Doer,
    ) -> None:
        """`now_ms` is the wall clock, for the log; `clock_ms` never jumps, and times messages."""
        self.started = started
        #: The carrier's id of it. Of a call that we place it is told once it was asked for.
        self.carrier_call = started.carrier_call
        self.now_ms = now_ms
        self.clock_ms = clock_ms
        self.stream = MediaStream(clock_ms)
        self.leg = Leg(started.call, started.agent, self, self.stream.mouth, now_ms)
        self.is_open = False
        self.ending: Ending | None = None
        #: Since when its media flows, by `clock_ms`.
        self.connected_ms: float | None = None
        #: Since when it has no connection, by `clock_ms`; None while it has one.
        self.detached_ms: float | None = clock_ms()
        #: Until then the carrier has the caller, and the stream may be away, by `clock_ms`.
        self.away_until_ms = float("-inf")
        self._doer = doer

    @property
    def over(self) -> bool:
        return self.ending is not None

    def is_heard(self, now_ms: float, within_ms: float) -> bool:
        """Has its stream brought audio so lately? By `clock_ms`."""
        heard_ms = self.stream.heard_ms
        return heard_ms is not None and now_ms - heard_ms < within_ms

    @property
    def is_away(self) -> bool:
        """Does the carrier do something with the caller that takes the stream away for a while?"""
        return self.clock_ms() < self.away_until_ms

    # The carrier

    def hear(self, late_ms: float) -> Heard:
        return self.stream.hear(late_ms)

    def hang_up(self) -> None:
        self._doer.hang_up(self)

    def transfer(self, reply: ReplyId, target: str, mode: TransferMode) -> None:
        self._doer.transfer(self, reply, target, mode)

    def send_digits(self, reply: ReplyId, digits: str) -> None:
        self._doer.send_digits(self, reply, digits)

    def quality(self) -> MediaQuality | None:
        return self.stream.quality(self.now_ms())

    def close(self) -> None:
        """End the connection."""
        self.stream.close()
