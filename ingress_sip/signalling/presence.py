"""Who is where their datagrams say: what comes over UDP may come in another's name.

Whoever sends back a tag that only our answer told has had that answer (RFC 3261 19.3: tags cannot
be guessed). Before that, what an INVITE makes us send, again and again until its ACK, may go to
somebody who never asked; so a source that has shown nothing has but a few of them open at a time,
and these are small.

A source is an IPv4 address or an IPv6 /64: whoever forges has all of a /64 to choose from, and all
of it leads to one subscriber (RFC 6177).
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Final

#: INVITEs of a source that never showed to be there, which hold a transaction at a time. Each makes
#: us send at most 33 datagrams within 64 s: a 100 and ten more for its repetitions, a 2xx and a BYE
#: of eleven each; and whatever rings. Each INVITE beyond them gets one 503.
MOST_OPEN: Final = 5
#: And how many octets these hold: what they bring is sent back, or sent on in the BYE. As much as
#: five of those may have that RFC 3261 18.1.1 has sent over UDP at all. So a spoofed source is sent
#: some 50 KB at most by INVITEs of the usual size, and never more than 350 KB.
MOST_OPEN_OCTETS: Final = MOST_OPEN * 1300


class Presence:
    """The sources that have shown to be there, and what is open of those that have not."""

    def __init__(self, most_sources: int = 10_000) -> None:
        """Of more than `most_sources`, the one that showed it the longest ago is forgotten."""
        self._most_sources = most_sources
        self._shown: dict[str, None] = {}  # oldest first
        # As many sources as there are transactions.
        self._open: Counter[str] = Counter()
        self._octets: Counter[str] = Counter()

    def show(self, host: str) -> None:
        """`host`, an IP address, has received what we sent there."""
        source = source_of(host)
        self._shown.pop(source, None)
        if len(self._shown) >= self._most_sources:
            del self._shown[next(iter(self._shown))]
        self._shown[source] = None

    def may_begin(self, host: str, octets: int) -> bool:
        """May one more INVITE be taken, of so many octets, that came in datagrams from `host`?"""
        source = source_of(host)
        few = self._open[source] < MOST_OPEN
        return source in self._shown or (few and self._octets[source] + octets <= MOST_OPEN_OCTETS)

    def begun(self, host: str, octets: int) -> None:
        """An INVITE from `host` holds a transaction."""
        source = source_of(host)
        self._open[source] += 1
        self._octets[source] += octets

    def ended(self, host: str, octets: int) -> None:
        """One does no longer."""
        source = source_of(host)
        self._open[source] -= 1
        self._octets[source] -= octets
        if not self._open[source]:
            del self._open[source], self._octets[source]


def source_of(host: str) -> str:
    """The source that an IP address belongs to: an IPv4 address itself, an IPv6 /64."""
    return _network_of(host) if ":" in host else host  # a call costs more than the question


@lru_cache(maxsize=4096)
def _network_of(host: str) -> str:
    """Of an IPv6 address: its /64, or the IPv4 address that it maps."""
    address = ipaddress.IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))
