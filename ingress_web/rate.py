"""How often one source may ask. Pure: time is an argument; memory is bounded."""

from __future__ import annotations

import ipaddress
from typing import Final

#: Sources remembered; of more, the one that was quiet for the longest is forgotten.
SOURCES: Final = 10_000


class RequestRate:
    """A token bucket per source: an IPv4 address, or an IPv6 /64, which one subscriber has whole
    (RFC 6177).
    """

    def __init__(self, rate_per_s: float, burst: float | None = None) -> None:
        """`burst` at once (twice the rate if None), then `rate_per_s`."""
        self._interval_s = 1 / rate_per_s
        self._debt_s = (2 * rate_per_s if burst is None else burst) * self._interval_s
        #: When each source's bucket is full again, in the order in which they last asked.
        self._full_at: dict[str, float] = {}

    def wait_s(self, source: str, now: float) -> float:
        """Count a request: 0 if it may be answered, else how long its sender should wait, s.

        Args:
            source: its sender's address.
            now: s, of a clock that does not jump.
        """
        key = _neighbourhood(source)
        full_at = max(self._full_at.pop(key, now), now)
        self._full_at[key] = full_at
        if len(self._full_at) > SOURCES:
            del self._full_at[next(iter(self._full_at))]
        excess = full_at + self._interval_s - now - self._debt_s
        if excess > 1e-9:
            return excess
        self._full_at[key] = full_at + self._interval_s
        return 0.0


def _neighbourhood(source: str) -> str:
    try:
        ip = ipaddress.ip_address(source)
    except ValueError:
        return source
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
