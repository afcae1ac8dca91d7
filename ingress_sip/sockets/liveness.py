"""When a connection has lived long enough: rules of time alone, no socket."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much connections may take. Times in seconds, sizes in octets."""

    #: Connections in all, and from one host (an IPv6 /64). A host may be a house full of phones.
    connections: int = 1000
    per_host: int = 200
    connect_s: float = 5.0
    handshake_s: float = 10.0
    #: From the first octet of a message to its last, and from connecting to the first message.
    message_s: float = 30.0
    #: Without a sign of life. Phones register or keep alive far more often.
    idle_s: float = 1800.0
    #: RFC 5626 4.4.1: on connections of ours, between 80 % and all of it; the pong takes no longer
    #: than `pong_s`.
    ping_s: float = 120.0
    pong_s: float = 10.0
    #: What a peer leaves unread, or what waits for a connection.
    unsent: int = 262_144
    #: How long what we said last may take to leave.
    closing_s: float = 5.0
    #: How often connections are looked at.
    look_s: float = 2.0


class Due(StrEnum):
    """What it is time for."""

    PING = "ping"
    #: Close it, unless a dialog or a binding lives on it.
    IDLE = "idle"
    #: Close it: it takes too long over a message, a pong, or to let go.
    SLOW = "slow"
    DEAD = "dead"
    STUCK = "stuck"


class Liveness:
    """One connection's signs of life. `now` is in seconds; `spread` is random, from 0 to 1."""

    def __init__(self, limits: StreamLimits, now: float, *, ours: bool, spread: float) -> None:
        """`ours`: we connected."""
        self._limits = limits
        self._ours = ours
        self._opened = self._active = now
        self._has_spoken = False
        self._message_began: float | None = None
        self._ping_at = now + self._period(spread)
        self._pinged: float | None = None
        self._ponged = False
        self._closing: float | None = None

    def heard(self, now: float, *, whole: bool, mid_message: bool) -> None:
        """Octets came: did they make a message `whole`, and do they leave one begun?"""
        self._active = now
        self._pinged = None
        self._has_spoken |= whole
        if not mid_message:
            self._message_began = None
        elif whole or self._message_began is None:
            self._message_began = now

    def said(self, now: float) -> None:
        """We sent a message."""
        self._active = now

    def ponged(self) -> None:
        """An empty line came. Only a peer that ever answers pings is held to it: many do not."""
        if self._pinged is not None:
            self._ponged = True

    def pinged(self, now: float, spread: float) -> None:
        """We sent a ping."""
        self._ping_at = now + self._period(spread)
        self._pinged = now

    def closing(self, now: float) -> None:
        """We let go of it."""
        self._closing = now

    def due(self, now: float) -> Due | None:
        """What is to be done now."""
        limits = self._limits
        if self._closing is not None:
            return Due.STUCK if now - self._closing > limits.closing_s else None
        since = self._message_began
        if since is None and not self._has_spoken and not self._ours:
            since = self._opened
        if since is not None and now - since > limits.message_s:
            return Due.SLOW
        if self._ponged and self._pinged is not None:
            return Due.DEAD if now - self._pinged > limits.pong_s else None
        if now - self._active > limits.idle_s:
            return Due.IDLE
        return Due.PING if self._ours and now >= self._ping_at else None

    def _period(self, spread: float) -> float:
        return self._limits.ping_s * (0.8 + 0.2 * spread)
