"""Where a datagram goes: responses back to their source, requests along the dialog's route."""

from __future__ import annotations

import ipaddress

from ingress_sip.signalling.fields import Via
from ingress_sip.signalling.uri import SipUri, Uri

Address = tuple[str, int]


def response_destination(via: Via, source: Address) -> Address:
    """RFC 3261 18.2.2 and RFC 3581 section 4 for UDP.

    The host is always the source's: a Via (or its maddr) that names somebody else would make us
    a reflector. Only the port may differ, for a peer that does not ask for rport.
    """
    if "rport" in via.params:
        return source
    return source[0], via.port or 5060


def request_destination(next_hop: Uri, last_source: Address) -> Address:
    """Where a request for `next_hop` is sent: its address, when that can be reached.

    A host name is left to who came from there (the dialog's last known source); so is a private
    address seen from outside its network, which is a phone behind NAT giving its inner address.
    """
    if not isinstance(next_hop, SipUri):
        return last_source
    host, port = next_hop.address
    try:
        target, source = ipaddress.ip_address(host), ipaddress.ip_address(last_source[0])
    except ValueError:
        return last_source
    if target.is_unspecified or target.is_multicast or (target.is_private and source.is_global):
        return last_source
    return host, port
