"""Whose packets are the call's: symmetric RTP with source locking.

Behind a NAT the address in the caller's SDP is not the one its audio comes from, so audio is sent
back to where it is received from (RFC 4961, and "latching" in RFC 7362). Whoever sends to all our
ports could then take the call ("RTP bleed"), so a source has a standing, and is held on to:

- ANNOUNCED: the address of the SDP. The signalling vouches for it.
- KNOWN: another port of the SDP's host, or of the host that the signalling comes from: the same
  phone behind its NAT.
- STRANGER: anybody else. A media gateway may send from an address that nobody named.

A source of higher standing takes over at once; another of the same or a lower one when the present
source has been silent for two seconds: long enough that a talking peer is not robbed, short enough
that a transfer without signalling is heard. While there is no source, a stranger has to wait from
its first packet on: the phone itself will have spoken by then.

- The same address with another SSRC is the same peer with a new stream: accepted.
- Another address with the same SSRC, whose sequence numbers go on, is the peer behind a NAT that
  gave it a new port: followed at once. Anyone else would have to guess 48 bits.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from typing import Final

from ingress_sip.rtp.packet import RtpPacket
from media.listening.sequence import MAX_DROPOUT, sequence_delta

SILENT_MS: Final = 2000.0
STRANGER_WAITS_MS: Final = 500.0

Address = tuple[str, int]
"""IP address and UDP port."""


class Standing(IntEnum):
    """How far a source is vouched for."""

    STRANGER = 0
    KNOWN = 1
    ANNOUNCED = 2


class SourceLock:
    """Decides for each packet of one call whether it is from the call's peer."""

    def __init__(self, announced: Address | None = None, signalling: str | None = None) -> None:
        """`announced` is the peer's media address in its SDP, `signalling` the host it calls from.

        Without either everybody is KNOWN: there is nothing to tell a stranger by.
        """
        self.announced = announced
        self.address: Address | None = None
        """Where the peer's packets come from, and ours should go to; None before the first."""
        self.heard_ms: float | None = None
        """When the peer was last heard."""
        self._signalling = signalling
        self._left: Address | None = None
        self._waiting_since_ms: float | None = None
        self._ssrc = 0
        self._sequence = 0

    def announce(self, address: Address) -> None:
        """A new offer/answer (RFC 3264 8.3.1): audio goes to the new address from now on.

        An address that is none (hold as of RFC 2543) moves nobody.
        """
        if not _is_place(address) or address == self.announced:
            return
        if self.address is not None and self.address != address:
            # What the old one still sends must not call us back to it.
            self._left, self.address, self._waiting_since_ms = self.address, None, None
        self.announced = address

    def signalled_from(self, host: str) -> None:
        """The signalling comes from another host now."""
        self._signalling = host

    def alive(self, address: Address, arrival_ms: float) -> None:
        """Note a packet that is no audio: keep-alives (RFC 6263), RTCP on the RTP port."""
        if address == self.address:
            self.heard_ms = arrival_ms

    def admits(
        self, packet: RtpPacket, address: Address, arrival_ms: float, *, proven: bool = False
    ) -> bool:
        """Whether to use a packet; if so, its source is the call's from now on.

        `proven`: it was authenticated (SRTP), so it is the peer's wherever it comes from.
        """
        known = proven or address == self.address
        if not known and not self._may_take_over(packet, address, arrival_ms):
            return False
        self.address = address
        self._ssrc, self._sequence, self.heard_ms = packet.ssrc, packet.sequence, arrival_ms
        return True

    def _may_take_over(self, packet: RtpPacket, address: Address, arrival_ms: float) -> bool:
        standing = self._standing(address)
        if self.address is None:
            if standing > Standing.STRANGER:
                return True
            if self._waiting_since_ms is None:
                self._waiting_since_ms = arrival_ms
            return arrival_ms - self._waiting_since_ms >= STRANGER_WAITS_MS
        if standing > self._standing(self.address):
            return True
        ahead = sequence_delta(packet.sequence, self._sequence)
        if packet.ssrc == self._ssrc and 0 < ahead < MAX_DROPOUT:
            return True
        return self.heard_ms is None or arrival_ms - self.heard_ms >= SILENT_MS

    def _standing(self, address: Address) -> Standing:
        if address == self.announced:
            return Standing.ANNOUNCED
        if address == self._left:
            return Standing.STRANGER
        hosts = {self._signalling, self.announced and self.announced[0]} - {None}
        return Standing.KNOWN if not hosts or address[0] in hosts else Standing.STRANGER


def _is_place(address: Address) -> bool:
    try:
        return address[1] != 0 and not ipaddress.ip_address(address[0]).is_unspecified
    except ValueError:
        return True  # a host name
