"""Where our packets may go: to where the peer's come from, before where its SDP says (RFC 4961).

An offer can name anybody, who would then be sent audio for as long as the call lasts (RFC 8445
section 19.5.1). So an address on another host than the signalling's is believed for ten seconds
only, unless the peer's packets come from it.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from ingress_sip.rtp.source import Address

PROOF_MS: Final = 10_000.0
"""How long audio is sent to an address that nothing comes from."""

_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


class Destination:
    """The addresses that one call's RTP and RTCP are sent to."""

    def __init__(self, signalling: str | None, ours: str) -> None:
        """`signalling` is the host that the peer's signalling comes from, None if that tells
        nothing; `ours` the address that we send from.
        """
        self._signalling = signalling
        self._ours = ours
        self._rtp: Address | None = None
        self._rtcp: Address | None = None
        self._reports = False
        self._since_ms = 0.0

    def announce(self, rtp: Address, rtcp: Address | None, now_ms: float) -> None:
        """The peer's SDP says so, from now on. `rtcp` is None where it wants none."""
        self._rtp = self._reachable(rtp)
        self._rtcp = None if rtcp is None else self._reachable(rtcp)
        self._reports = rtcp is not None
        self._since_ms = now_ms

    def signalled_from(self, host: str) -> None:
        """The signalling comes from another host now."""
        self._signalling = host

    def knows(self, host: str) -> bool:
        """Whether the peer's SDP or its signalling comes from that host, or names it."""
        return host == self._signalling or (self._rtp is not None and host == self._rtp[0])

    def rtp(self, source: Address | None, now_ms: float) -> Address | None:
        """Where RTP goes. `source` is where the peer's comes from, if any did."""
        return source or self._announced(self._rtp, now_ms)

    def rtcp(
        self, source: Address | None, rtcp_source: Address | None, now_ms: float
    ) -> Address | None:
        """Where RTCP goes, on a port of its own. `rtcp_source` is where the peer's comes from."""
        if rtcp_source is not None or not self._reports:
            return rtcp_source
        if source is None or source == self._rtp:
            return self._announced(self._rtcp, now_ms) if source is None else self._rtcp
        return source[0], source[1] + 1  # behind a NAT: the custom of RFC 3550 section 11

    def _announced(self, address: Address | None, now_ms: float) -> Address | None:
        if address is None or address[0] == self._signalling:
            return address
        return address if now_ms - self._since_ms < PROOF_MS else None

    def _reachable(self, address: Address) -> Address | None:
        """The address, if packets can be sent there without asking anybody.

        A host name would be looked up by the sender, 50 times a second; an address of the other
        family cannot be reached from our socket; a group or a whole network is no caller. Symmetric
        RTP finds such a peer with its first packet.
        """
        try:
            host = ipaddress.ip_address(address[0])
            same = host.version == ipaddress.ip_address(self._ours).version
        except ValueError:
            return None
        is_group = host.is_multicast or host == _BROADCAST
        return address if same and not is_group and 0 < address[1] < 1 << 16 else None
