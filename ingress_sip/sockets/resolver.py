"""From a SIP URI to the servers that serve it, in the order in which to try them (RFC 3263)."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import Any, Final, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri

#: All of it, s; and one step of it: NAPTR with SRV, SRV named by NAPTR, addresses.
_TOTAL_S: Final = 5.0
_STEP_S: Final = 1.6
#: One name server that does not answer leaves time for the next, s.
_SERVER_S: Final = 0.8
_CACHED: Final = 1000
#: Nobody needs more; a zone that says so makes us ask and call for long.
_MOST_TARGETS: Final = 16
_MOST_HOPS: Final = 32

#: RFC 3263 4.1 and the IANA registry.
_SERVICES: Final = {
    "SIP+D2U": Transport.UDP,
    "SIP+D2T": Transport.TCP,
    "SIPS+D2T": Transport.TLS,
}
_SRV_LABELS: Final = {
    Transport.UDP: "_sip._udp",
    Transport.TCP: "_sip._tcp",
    Transport.TLS: "_sips._tcp",
}


class ResolveError(Exception):
    """Nobody is known to serve a URI: the message says what was asked, and what to do."""


class _Server(NamedTuple):
    transport: Transport
    host: str
    port: int


#: Addresses of a name as this machine knows it: /etc/hosts, and whatever else it is set up with.
SystemLookup = Callable[[str], Awaitable[Sequence[str]]]


class Resolver:
    """Asks DNS, and remembers its answers, also that there is none, for as long as they say."""

    def __init__(
        self,
        *,
        nameservers: Sequence[str] | None = None,
        port: int = 53,
        transports: Iterable[Transport] = tuple(Transport),
        families: Iterable[int] = (4, 6),
        uniform: Callable[[], float] = random.random,
        system: SystemLookup | None = None,
    ) -> None:
        """Without `nameservers`, those of the machine. `transports` and `families` (IP versions)
        are what we can use, families in the order of preference; `uniform` draws from [0, 1).
        """
        self._dns = dns.asyncresolver.Resolver(configure=False)
        if nameservers is None:
            _configure(self._dns)
        else:
            self._dns.nameservers = list(nameservers)
            self._dns.port = port
        self._dns.timeout = _SERVER_S
        self._dns.cache = dns.resolver.LRUCache(_CACHED)
        self._transports = frozenset(transports)
        self._families = tuple(families)
        self._uniform = uniform
        self._system = system or _system_lookup

    async def resolve(self, uri: SipUri) -> list[Hop]:
        """The hops that serve `uri`, the best first; at most some 5 s. For TLS they carry the
        domain that the certificate has to be for.

        Raises:
            ResolveError
        """
        asked: list[str] = []
        try:
            async with asyncio.timeout(_TOTAL_S):
                hops = await self._resolve(uri, asked)
        except TimeoutError:
            hops = []
            asked.append(f"no answer within {_TOTAL_S:.0f} s")
        if not hops:
            what = replace(uri, userinfo=None)  # which may hold a password
            raise ResolveError(
                f"nobody is known to serve {what}: asked for {', '.join(asked) or 'nothing'}; "
                "check the name, the transport and the name server, or write an address and a port"
            )
        return hops[:_MOST_HOPS]

    async def _resolve(self, uri: SipUri, asked: list[str]) -> list[Hop]:
        domain = (uri.params.get("maddr") or uri.host).strip("[]").rstrip(".")
        # RFC 5922 7.3: the certificate is for who was asked for, not for who DNS names.
        proven = "" if _is_address(uri.host.strip("[]")) else uri.host.rstrip(".")
        explicit = _explicit_transport(uri)
        usual = explicit or (Transport.TLS if uri.scheme == "sips" else Transport.UDP)
        servers: list[_Server] = []
        if uri.port is None and not _is_address(domain):
            servers = await self._servers(uri, domain, explicit, asked)
        if not servers:
            servers = [_Server(usual, domain, uri.port or usual.default_port)]
        servers = servers[:_MOST_TARGETS]
        names = list(dict.fromkeys(server.host for server in servers))
        found = await asyncio.gather(*(self._addresses(name, asked) for name in names))
        addresses = dict(zip(names, found, strict=True))
        hops = [
            Hop(transport, address, port, name=proven if transport is Transport.TLS else "")
            for transport, host, port in servers
            for address in addresses[host]
        ]
        return list(dict.fromkeys(hops))

    async def _servers(
        self, uri: SipUri, domain: str, explicit: Transport | None, asked: list[str]
    ) -> list[_Server]:
        """Who SRV names; empty where the domain has none (4.1, 4.2)."""
        if explicit is not None:
            return await self._srv(explicit, f"{_SRV_LABELS[explicit]}.{domain}", asked)
        wanted = (Transport.TLS,) if uri.scheme == "sips" else tuple(Transport)
        usable = [transport for transport in wanted if transport in self._transports]
        # At once: most domains have no NAPTR, and some name servers do not answer for it at all.
        named, guessed = await asyncio.gather(
            self._naptr(domain, usable, asked),
            self._srvs([(each, f"{_SRV_LABELS[each]}.{domain}") for each in usable], asked),
        )
        return await self._srvs(named, asked) if named else guessed

    async def _naptr(
        self, domain: str, usable: Sequence[Transport], asked: list[str]
    ) -> list[tuple[Transport, str]]:
        """The SRV names that the domain points to, in its order of preference."""
        found = []
        for record in await self._ask(domain, "NAPTR", asked):
            transport = _SERVICES.get(record.service.decode("ascii", "replace").upper())
            if transport is None or transport not in usable:
                continue
            if record.flags.lower() == b"s" and not record.regexp:
                name = record.replacement.to_text(omit_final_dot=True)
                found.append((record.order, record.preference, transport, name))
        return [(transport, name) for _, _, transport, name in sorted(found)]

    async def _srvs(
        self, names: Sequence[tuple[Transport, str]], asked: list[str]
    ) -> list[_Server]:
        found = await asyncio.gather(*(self._srv(*each, asked) for each in names))
        return [server for servers in found for server in servers]

    async def _srv(self, transport: Transport, name: str, asked: list[str]) -> list[_Server]:
        records = await self._ask(name, "SRV", asked)
        # RFC 2782: "." as the target says that the service is not there.
        there = [record for record in records if record.target != dns.name.root]
        return [
            _Server(transport, record.target.to_text(omit_final_dot=True), record.port)
            for record in self._by_weight(there)
        ]

    def _by_weight(self, records: Iterable[Any]) -> Iterable[Any]:
        """RFC 2782: the lowest priority first; within one, at random in proportion to weight."""
        ordered = sorted(records, key=lambda record: (record.priority, record.weight))
        for _, group in groupby(ordered, key=lambda record: record.priority):
            left = list(group)  # those without weight stand first, with hardly a chance
            while left:
                total = sum(record.weight for record in left)
                mark = self._uniform() * (total + 1)
                for chosen in left:
                    mark -= chosen.weight
                    if mark < 1:
                        break
                left.remove(chosen)
                yield chosen

    async def _addresses(self, host: str, asked: list[str]) -> list[str]:
        """In the order of our families. A name without a dot is the machine's own affair."""
        found: list[str] = []
        if _is_address(host):
            found = [host]
        elif "." in host:
            kinds = ["A" if family == 4 else "AAAA" for family in self._families]
            answers = await asyncio.gather(*(self._ask(host, kind, asked) for kind in kinds))
            found = [record.address for records in answers for record in records]
        if not found:
            asked.append(f"{host} on this machine")
            found = sorted(await self._system(host), key=lambda address: ":" in address)
            if self._families[:1] == (6,):
                found.reverse()
        return [each for each in found if ipaddress.ip_address(each).version in self._families]

    async def _ask(self, name: str, kind: str, asked: list[str]) -> list[Any]:
        """The records; none where there are none, or nobody answers."""
        try:
            answer = await self._dns.resolve(
                name, kind, search=False, raise_on_no_answer=False, lifetime=_STEP_S
            )
        except dns.resolver.NXDOMAIN:
            asked.append(f"{kind} {name} (no such name)")
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            asked.append(f"{kind} {name} ({type(error).__name__})")
        else:
            asked.append(f"{kind} {name}")
            return list(answer.rrset or ())
        return []


def _explicit_transport(uri: SipUri) -> Transport | None:
    """What the URI itself fixes (4.1); a transport that we do not know is left open."""
    asked = (uri.params.get("transport") or "").lower()
    if uri.scheme == "sips" and asked:
        return Transport.TLS
    with suppress(ValueError):
        return Transport(asked)
    if uri.port is not None:  # an explicit port leaves nothing to look up
        return Transport.TLS if uri.scheme == "sips" else Transport.UDP
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _configure(resolver: dns.asyncresolver.Resolver) -> None:
    """A machine without name servers has its own names still."""
    try:
        resolver.read_resolv_conf("/etc/resolv.conf")
    except dns.resolver.NoResolverConfiguration:
        resolver.nameservers = []


async def _system_lookup(host: str) -> Sequence[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ()
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
