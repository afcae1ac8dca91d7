"""How fast passwords may be guessed. Pure: time is an argument."""

from __future__ import annotations

import ipaddress

#: Wrong passwords that an address may give at once, and how long until it may give one more.
BURST = 5
REFILL_S = 30.0
#: Addresses remembered. Beyond it the one that erred longest ago is forgotten.
ADDRESSES = 4096


class LoginThrottle:
    """A bucket of guesses per address (per /64 in IPv6, which one household holds whole)."""

    def __init__(self) -> None:
        # Address -> when its bucket is full again. In order of the last failure.
        self._full_at: dict[str, float] = {}

    def wait_s(self, address: str, now: float) -> float:
        """Say how long this address has to wait before its next guess; 0 for not at all.

        Args:
            address: the client's.
            now: s, of a clock that does not jump.
        """
        debt = self._full_at.get(_neighbourhood(address), now) - now
        return max(0.0, debt - (BURST - 1) * REFILL_S)

    def failed(self, address: str, now: float) -> None:
        """Take note of a wrong password."""
        key = _neighbourhood(address)
        full_at = self._full_at.pop(key, now)
        self._full_at[key] = max(full_at, now) + REFILL_S
        if len(self._full_at) > ADDRESSES:
            del self._full_at[next(iter(self._full_at))]

    def succeeded(self, address: str) -> None:
        """Forget an address's mistakes."""
        self._full_at.pop(_neighbourhood(address), None)


def _neighbourhood(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6 and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(getattr(ip, "ipv4_mapped", None) or ip)
