"""A circuit breaker: who is known to be dead is not asked, so nobody waits for it to time out.

    closed --(FAILURES in a row)--> open --(pause)--> half open --(answers)--> closed
                                     ^                    |
                                     +--(fails: twice the pause)

Half open, one attempt in a pause may try; the others are told no. A refusal is an answer: a service
that says 401 or 400 at once costs nobody a time-out, and may refuse this one request only. Work
that was cancelled says nothing of the provider.

Time comes in as a function, so that tests own it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog

from telemetry import metrics

_log = structlog.get_logger(__name__)

#: So many failures in a row open it.
FAILURES: Final = 3
#: How long it stays open, s: at first, and at most.
PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 60.0


class State(StrEnum):
    """What a breaker lets through: all, one attempt, nothing."""

    CLOSED = "closed"
    HALF_OPEN = "half open"
    OPEN = "open"


#: As Prometheus shows it.
_SHOWN: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Permit:
    """Leave to make one attempt, and to say once how it went."""

    __slots__ = ()


class Breaker:
    """One provider's, as one process sees it; shared by all agents that use it alike."""

    def __init__(self, stage: str, provider: str, now: Callable[[], float]) -> None:
        """`stage` and `provider` name it in logs and metrics; `now` is any clock, in s."""
        self._stage = stage
        self._provider = provider
        self._now = now
        self._failures = 0
        self._pause = PAUSE_S
        self._open_until: float | None = None
        self._probe: Permit | None = None
        self._shown = metrics.PROVIDER_BREAKER.labels(stage, provider)
        self._shown.set(_SHOWN[self.state])

    @property
    def state(self) -> State:
        """What it would let through now."""
        if self._open_until is None:
            return State.CLOSED
        probing = self._probe is not None or self._now() >= self._open_until
        return State.HALF_OPEN if probing else State.OPEN

    @property
    def rest_s(self) -> float:
        """How long it lets nobody through yet, s; 0.0 when it does."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._now())

    def enter(self) -> Permit | None:
        """Ask to make an attempt; None when it is not to be made. Settle each permit once."""
        permit = Permit()
        if self._open_until is None:
            return permit
        if self._now() < self._open_until:
            return None
        # The next may probe a pause later, even if this one is never heard of again.
        self._probe, self._open_until = permit, self._now() + self._pause
        self._shown.set(_SHOWN[State.HALF_OPEN])
        return permit

    def succeeded(self, permit: Permit) -> None:
        """The attempt was answered."""
        self._settle(permit)
        self._failures = 0
        if self._open_until is not None:
            self._open_until, self._pause = None, PAUSE_S
            self._shown.set(_SHOWN[State.CLOSED])
            _log.info("provider.back", stage=self._stage, provider=self._provider)

    def failed(self, permit: Permit) -> None:
        """The attempt was not answered, or not to its end."""
        probed = self._settle(permit)
        self._failures += 1
        if probed:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        elif self._open_until is not None or self._failures < FAILURES:
            return
        self._open_until = self._now() + self._pause
        self._shown.set(_SHOWN[State.OPEN])
        _log.error(
            "provider.left_alone",
            stage=self._stage,
            provider=self._provider,
            failures=self._failures,
            pause_s=self._pause,
            mend=f"look at provider.failed above; a `fallback` of {self._stage} in agents.yaml "
            "answers meanwhile",
        )

    def abandoned(self, permit: Permit) -> None:
        """The attempt was cancelled: nobody knows."""
        if self._settle(permit) and self._open_until is not None:
            self._open_until = self._now()  # the next may try at once

    def _settle(self, permit: Permit) -> bool:
        """Take the permit back; was it the probe?"""
        if self._probe is not permit:
            return False
        self._probe = None
        return True
