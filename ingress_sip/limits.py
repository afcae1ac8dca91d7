"""How much one source may send: counted before anything is parsed, in bounded memory.

A source is an IPv4 address or an IPv6 /64, which one subscriber has whole (RFC 6177). Whoever is
over gets no answer at all: to a scanner an answer is a find, and to a spoofed source an attack.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, NamedTuple

from ingress_sip.signalling.presence import source_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER: Final = float("-inf")


class Allowance(NamedTuple):
    """A token bucket: `burst` at once, then `rate_per_s`."""

    rate_per_s: float
    burst: float


class Silence(NamedTuple):
    """After `failures` within `window_s`, a source is not heard for `for_s`."""

    failures: int = 10
    window_s: float = 60.0
    for_s: float = 120.0


_USUAL_SILENCE: Final = Silence()


class _Bucket:
    """What is left of an allowance."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.at = now

    def take(self, allowance: Allowance, now: float) -> bool:
        tokens = self.tokens
        if now > self.at:
            tokens += (now - self.at) * allowance.rate_per_s
            self.at = now
            tokens = min(tokens, allowance.burst)
        if tokens < 1.0:
            self.tokens = tokens
            return False
        self.tokens = tokens - 1.0
        return True


class _Source:
    """What is known of one source."""

    __slots__ = ("beginnings", "failed_since", "failures", "messages", "silent_until", "trusted")

    def __init__(self, messages: _Bucket, beginnings: _Bucket, *, trusted: bool) -> None:
        self.messages = messages
        self.beginnings = beginnings
        self.trusted = trusted
        self.failures = 0
        self.failed_since = _NEVER
        self.silent_until = _NEVER


class SourceLimits:
    """Whom to hear. All times are seconds on one monotonic clock, given by the caller."""

    def __init__(
        self,
        messages: Allowance,
        beginnings: Allowance,
        silence: Silence = _USUAL_SILENCE,
        *,
        trusted: Iterable[str] = (),
        most_sources: int = 20_000,
    ) -> None:
        """`messages` is for everything that comes; `beginnings` for the requests among it that
        begin something (an INVITE, REGISTER or OPTIONS outside a dialog). Of more than
        `most_sources`, the one not heard of for the longest is forgotten. `trusted`: see `trust`.
        """
        self._messages = messages
        self._beginnings = beginnings
        self._silence = silence
        self._most = most_sources
        self._trusted: tuple[Network, ...] = ()
        #: In the order in which they were last heard of.
        self._sources: dict[str, _Source] = {}
        self.trust(trusted)

    def __len__(self) -> int:
        return len(self._sources)

    def trust(self, networks: Iterable[str]) -> None:
        """From now on these, and no others, have no limits: addresses or networks, as trunks have.

        Raises:
            ValueError: one of them is neither.
        """
        self._trusted = tuple(ipaddress.ip_network(one, strict=False) for one in networks)
        for name, source in self._sources.items():
            source.trusted = self._trusts(name)

    def is_trusted(self, host: str) -> bool:
        """Is it one of those that have no limits?"""
        return self._trusts(source_of(host))

    def admits(self, host: str, now: float) -> bool:
        """Whether to look at a message that came from `host`, an IP address; if not, drop it."""
        source = self._source(host, now)
        if source.trusted:
            return True
        return now >= source.silent_until and source.messages.take(self._messages, now)

    def admits_beginning(self, host: str, now: float) -> bool:
        """Whether an admitted message of `host` may begin something."""
        source = self._source(host, now)
        return source.trusted or source.beginnings.take(self._beginnings, now)

    def failed_authentication(self, host: str, now: float) -> bool:
        """Count wrong credentials; True when `host` has just had its last try for a while.

        Count only answers to a challenge that was sent to that host: it read it there, so the
        source is no forgery, and nobody can silence another. A missing answer is no failure.
        """
        source = self._source(host, now)
        if source.trusted:
            return False
        if now - source.failed_since > self._silence.window_s:
            source.failed_since, source.failures = now, 0
        source.failures += 1
        if source.failures < self._silence.failures:
            return False
        source.failed_since, source.failures = _NEVER, 0
        source.silent_until = now + self._silence.for_s
        return True

    def _source(self, host: str, now: float) -> _Source:
        name = source_of(host)
        sources = self._sources
        source = sources.pop(name, None)
        if source is None:
            source = _Source(
                _Bucket(self._messages.burst, now),
                _Bucket(self._beginnings.burst, now),
                trusted=self._trusts(name),
            )
            if len(sources) >= self._most:
                del sources[next(iter(sources))]
        sources[name] = source
        return source

    def _trusts(self, name: str) -> bool:
        """By its network: a trusted address within a /64 makes the /64 trusted."""
        if not self._trusted:
            return False
        source = ipaddress.ip_network(name)
        return any(
            source.version == network.version and source.overlaps(network)
            for network in self._trusted
        )


def unlimited() -> SourceLimits:
    """Everybody is heard, whatever they send."""
    endless = Allowance(float("inf"), float("inf"))
    return SourceLimits(endless, endless, trusted=("0.0.0.0/0", "::/0"))
