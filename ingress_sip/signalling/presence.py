"""Who is where their datagrams say: what comes over UDP may come in another's name.

Whoever sends back a tag that only our answer told has had that answer (RFC 3261 19.3: tags cannot
be guessed). Before that, what an INVITE makes us send, again and again until its ACK, may go to
somebody who never asked; so a host that has shown nothing has but a few of them open at a time.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

#: INVITEs of a host that never showed to be there, which hold a transaction at a time. Each makes
#: us send at most 23 datagrams within 64 s, a 100, a 2xx and a BYE of eleven each, and whatever
#: rings: with our 2xx of half a KB some 50 KB in all. Each INVITE beyond them gets one 503.
MOST_OPEN: Final = 5


class Presence:
    """The hosts that have shown to be there, and what is open of those that have not."""

    def __init__(self, most_hosts: int = 10_000) -> None:
        """Of more than `most_hosts`, the one that showed it the longest ago is forgotten."""
        self._most_hosts = most_hosts
        self._shown: dict[str, None] = {}  # oldest first
        self._open: Counter[str] = Counter()  # as many hosts as there are transactions

    def show(self, host: str) -> None:
        """`host` has received what we sent there."""
        self._shown.pop(host, None)
        if len(self._shown) >= self._most_hosts:
            del self._shown[next(iter(self._shown))]
        self._shown[host] = None

    def may_begin(self, host: str) -> bool:
        """May one more INVITE be taken that came in datagrams from `host`?"""
        return host in self._shown or self._open[host] < MOST_OPEN

    def begun(self, host: str) -> None:
        """An INVITE from `host` holds a transaction."""
        self._open[host] += 1

    def ended(self, host: str) -> None:
        """One does no longer."""
        self._open[host] -= 1
        if self._open[host] <= 0:
            del self._open[host]
