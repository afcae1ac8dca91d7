"""What stands between RTP and the network in a call with secure media."""

from __future__ import annotations

from typing import Protocol


class Protection(Protocol):
    """Encrypts what we send and checks what comes in: `ingress_sip.rtp.srtp.Srtp`, or a double.

    One object serves a call's both directions until it gets other keys. Packets are whole
    datagrams, RTP and RTCP each told apart by the caller (`packet.is_rtcp`).
    """

    def protect(self, rtp: bytes) -> bytes: ...

    def unprotect(self, srtp: bytes) -> bytes:
        """The RTP packet within. Raises RtpError: replayed, forged, too short."""
        ...

    def protect_rtcp(self, rtcp: bytes) -> bytes: ...

    def unprotect_rtcp(self, srtcp: bytes) -> bytes:
        """The compound RTCP packet within. Raises RtpError: replayed, forged, too short."""
        ...
