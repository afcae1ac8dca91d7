"""Whose packets are the call's: symmetric RTP with source locking.

Behind a NAT the address in the caller's SDP is not the one its audio comes from, so audio is sent
back to where it is received from (RFC 4961, and "latching" in RFC 7362). Whoever guesses our port
could then take the call, so the first source is held on to:

- The source is (address, SSRC) of the first packet with a payload type that was negotiated.
- The same address with another SSRC is the same peer with a new stream: accepted.
- Another address with the same SSRC, whose sequence numbers go on, is the peer behind a NAT that
  gave it a new port: followed at once. A stranger would have to guess 48 bits.
- The address that the SDP announced may always take over: the signalling vouches for it.
- Anyone else is ignored until the source has been silent for two seconds: long enough that a
  talking peer is not robbed, short enough that a transfer without signalling is heard.
"""

from __future__ import annotations

from typing import Final

from ingress_sip.rtp.packet import RtpPacket
from ingress_sip.rtp.sequence import MAX_DROPOUT, sequence_delta

SILENT_MS: Final = 2000.0

Address = tuple[str, int]
"""IP address and UDP port."""


class SourceLock:
    """Decides for each packet of one call whether it is from the call's peer."""

    def __init__(self, announced: Address | None = None) -> None:
        """`announced` is the peer's media address in its SDP."""
        self.announced = announced
        self.address: Address | None = None
        """Where the peer's packets come from, and ours should go to; None before the first."""
        self._ssrc = 0
        self._sequence = 0
        self._heard_ms = 0.0

    def admits(self, packet: RtpPacket, address: Address, arrival_ms: float) -> bool:
        """Whether to use a packet; if so, its source is the call's from now on."""
        if address != self.address and not self._may_take_over(packet, address, arrival_ms):
            return False
        self.address = address
        self._ssrc, self._sequence, self._heard_ms = packet.ssrc, packet.sequence, arrival_ms
        return True

    def _may_take_over(self, packet: RtpPacket, address: Address, arrival_ms: float) -> bool:
        if self.address is None or address == self.announced:
            return True
        ahead = sequence_delta(packet.sequence, self._sequence)
        if packet.ssrc == self._ssrc and 0 < ahead < MAX_DROPOUT:
            return True
        return arrival_ms - self._heard_ms >= SILENT_MS
