"""How a call goes out: what the INVITE says, and where it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingress_sip.signalling.digest import DigestClient
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.registrar import Binding
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri
from ingress_sip.trunking.config import Trunk
from ingress_sip.trunking.lines import Line


class NoRouteError(Exception):
    """A number cannot be called now. The message says why, and what to do."""


@dataclass(frozen=True)
class Route:
    """One way to a number; when it fails by 408, 503 or the like, the next one is tried.

    `trunk` is None where a phone of ours is called.
    """

    uri: SipUri  # the Request-URI
    to: NameAddr
    from_: NameAddr  # without a tag
    hops: tuple[Hop, ...]  # those that answer first
    trunk: Trunk | None = None
    headers: tuple[tuple[str, str], ...] = ()
    digest: DigestClient | None = None  # this call's own

    @property
    def line(self) -> Line:
        """What the call takes of `Lines`."""
        return Line(self.trunk.name if self.trunk else "", "outbound", "")


def by_trunk(
    trunk: Trunk, number: str, caller: str, hops: Sequence[Hop], digest: DigestClient | None
) -> Route:
    """The way out by a trunk. `caller` is who calls; empty for the trunk's default."""
    target, ours = trunk.target, trunk.registration
    domain = trunk.from_domain or (ours.domain if ours else None) or target.host
    us = replace(SipUri.of(domain, user=caller or trunk.caller), scheme=target.scheme)
    number = trunk.numbers.rewrite(number)
    callee = replace(SipUri.of(target.host, target.port, number), scheme=target.scheme)
    return Route(
        replace(callee, params=target.params),
        NameAddr(callee),  # 8.1.1.2: who is meant, not how to get there
        NameAddr(us),
        tuple(hops),
        trunk,
        (("P-Asserted-Identity", f"<{us}>"),) if trunk.asserted_identity else (),
        digest,
    )


def to_phone(binding: Binding, caller: str, realm: str) -> Route:
    """The way to a phone that is registered: back where its REGISTER came from."""
    return Route(
        binding.contact,
        NameAddr(SipUri.of(realm, user=binding.user)),
        NameAddr(SipUri.of(realm, user=caller or "anonymous")),
        (binding.hop,),
    )
