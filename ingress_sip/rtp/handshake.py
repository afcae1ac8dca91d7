"""What makes a call's keys on its media path (RFC 5763, 5764): DTLS, as the media sees it."""

from __future__ import annotations

from typing import Protocol

from ingress_sip.rtp.protection import Protection


class Handshake(Protocol):
    """Datagrams in and out until there are keys, and for a while after."""

    @property
    def protection(self) -> Protection | None:
        """By the keys that it ended in; None as long as it goes on."""
        ...

    def receive(self, datagram: bytes) -> None:
        """Take one of the peer's. Raises RtpError."""
        ...

    def datagrams_to_send(self) -> list[bytes]:
        """What there is to send since last asked."""
        ...

    def handle_timeout(self) -> None:
        """Time has passed: send again what is due. Raises RtpError: there will be no keys."""
        ...


def is_handshake(datagram: bytes) -> bool:
    """Whether a datagram on a media port is DTLS: first byte 20 to 63 (RFC 7983 section 7)."""
    return bool(datagram) and 20 <= datagram[0] <= 63
