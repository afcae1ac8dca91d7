"""Which trunks an address belongs to: the longest network that holds it decides."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ingress_sip.trunking.config import Network, Trunk


class Addresses:
    """The networks that trunks were given, and the addresses that their names lead to.

    A look-up costs one step for each length of prefix that is in use, however many networks.
    """

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        self._trunks = {trunk.name: trunk for trunk in trunks}
        self._allowed: dict[str, tuple[Network, ...]] = {
            trunk.name: trunk.allow for trunk in self._trunks.values()
        }
        self._resolved: dict[str, frozenset[str]] = {}
        self._index: dict[tuple[int, int], dict[int, tuple[Trunk, ...]]] = {}
        self._lengths: dict[int, tuple[int, ...]] = {}
        self._build()

    def resolved(self, trunk: str, hosts: Iterable[str]) -> None:
        """The name of `trunk` leads to these addresses now."""
        found = frozenset(hosts)
        if self._resolved.get(trunk) != found:
            self._resolved[trunk] = found
            self._build()

    def trunks_at(self, host: str) -> tuple[Trunk, ...]:
        """The trunks that share the longest network around an address, in the order of the file."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return ()
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # an IPv4 peer on a socket of both families
        number, bits = int(address), address.max_prefixlen
        for length in self._lengths.get(address.version, ()):
            found = self._index[address.version, length].get(number >> bits - length)
            if found:
                return found
        return ()

    def _build(self) -> None:
        index: dict[tuple[int, int], dict[int, tuple[Trunk, ...]]] = {}
        for name, trunk in self._trunks.items():
            hosts = (ipaddress.ip_network(host) for host in self._resolved.get(name, ()))
            for network in {*self._allowed[name], *hosts}:
                shift = network.max_prefixlen - network.prefixlen
                place = index.setdefault((network.version, network.prefixlen), {})
                key = int(network.network_address) >> shift
                place[key] = (*place.get(key, ()), trunk)
        self._index = index
        self._lengths = {
            version: tuple(sorted((n for v, n in index if v == version), reverse=True))
            for version in (4, 6)
        }
