"""Requests that are refused: each is counted, and told of unless one was told of just now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from ingress_web.proxies import Url
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: A flood of refusals is told once in so long, s.
_TELL_EVERY_S: Final = 1.0


class Refusals:
    """One server's refusals."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in s and does not jump."""
        self._clock = clock
        self._told_at = float("-inf")
        self._untold = 0

    def add(
        self,
        status: int,
        why: str,
        url: Url | str,
        source: str,
        *,
        hint: str = "",
        call: str = "",
    ) -> None:
        """Take note of one. `why` is one of a few words; `url` is what was asked for, or what a
        signature was computed for.
        """
        metrics.WEB_REFUSED.labels(why).inc()
        now = self._clock()
        if now - self._told_at < _TELL_EVERY_S:
            self._untold += 1
            return
        _log.warning(
            "web.refused",
            status=status,
            why=why,
            url=str(url)[:500],
            source=source,
            hint=hint,
            carrier_call=call,
            others=self._untold,
        )
        self._told_at, self._untold = now, 0
