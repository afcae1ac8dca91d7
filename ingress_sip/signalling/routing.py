"""Where a message goes: responses back to their source, requests along the dialog's route."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import NamedTuple

from ingress_sip.signalling.fields import Via
from ingress_sip.signalling.uri import SipUri, Uri

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


class Transport(StrEnum):
    """What carries SIP (RFC 3261 section 18), as a URI's `transport` parameter names it."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"

    @property
    def is_reliable(self) -> bool:
        """Nothing is resent over it (17.1.1.2)."""
        return self is not Transport.UDP

    @property
    def default_port(self) -> int:
        return 5061 if self is Transport.TLS else 5060


class Hop(NamedTuple):
    """The next SIP element on the way: where a message came from, or where one is to go.

    `host` is an IP literal without brackets. `flow` names the socket (UDP) or the connection (TCP,
    TLS) that reaches it; 0, or one that is gone, leaves it to the shell to take one or to connect.
    `name` is the domain that it stands for, where TLS is to prove that (RFC 5922 section 7.3).
    """

    transport: Transport
    host: str
    port: int
    flow: int = 0
    name: str = ""

    def leads_to(self, other: Hop) -> bool:
        """Is it the same place, and, where both name one, the same flow?"""
        same = self[:3] == other[:3]
        return same and (not self.flow or not other.flow or self.flow == other.flow)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


def response_destination(via: Via, source: Hop) -> Hop:
    """RFC 3261 18.2.2 and RFC 3581 section 4.

    The host is always the source's: a Via (or its maddr) that names somebody else would make us
    a reflector. Only the port may differ: for a peer on UDP that does not ask for rport, and for
    one whose connection is gone by then.
    """
    if "rport" in via.params and source.transport is Transport.UDP:
        return source
    return source._replace(port=via.port or source.transport.default_port)


def request_destination(next_hop: Uri, last: Hop) -> Hop:
    """Where a request for `next_hop` is sent: its address, when that can be reached.

    A host name is left to who came from there (`last`, the dialog's last known source); so is a
    private address seen from outside its network, which is a phone behind NAT giving its inner
    address. Our own machine is reached from itself alone: no peer sends us to a port behind its
    firewall. A connection that leads there is used again (RFC 5923).
    """
    if not isinstance(next_hop, SipUri):
        return last
    host, port = next_hop.address
    try:
        target, source = ipaddress.ip_address(host), ipaddress.ip_address(last.host)
    except ValueError:
        return last
    if target.is_unspecified or target.is_multicast or (target.is_private and source.is_global):
        return last
    if (target.is_loopback and not source.is_loopback) or target == _BROADCAST:
        return last
    transport = transport_of(next_hop)
    if transport is last.transport and (transport is Transport.UDP or target == source):
        return Hop(transport, host, port, last.flow)
    return Hop(transport, host, port)


def transport_of(uri: SipUri) -> Transport:
    """What the URI asks for; UDP where it leaves it open (RFC 3263 4.1, for an IP address)."""
    if uri.scheme == "sips":
        return Transport.TLS
    try:
        return Transport((uri.params.get("transport") or "udp").lower())
    except ValueError:
        return Transport.UDP
