"""Who sends and who listens: direction attributes, and the old way to say hold (RFC 3264)."""

from __future__ import annotations

import ipaddress
from enum import Enum

from ingress_sip.sdp.session import Attribute, Media, SessionDescription


class Direction(Enum):
    """Who sends, seen from the side whose description it stands in."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE

    @property
    def sends(self) -> bool:
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def mirrored(self) -> Direction:
        """The same stream, seen from the other side."""
        return Direction.of(sends=self.receives, receives=self.sends)

    def __and__(self, other: Direction) -> Direction:
        """What both allow, each seen from the same side: our hold and the peer's."""
        return Direction.of(
            sends=self.sends and other.sends, receives=self.receives and other.receives
        )


_NAMES = {direction.value: direction for direction in Direction}


def direction_of(theirs: SessionDescription, media: Media) -> Direction:
    """What a description says of one of its streams, seen from its own side."""
    attributes = (*media.attributes, *theirs.attributes)  # the stream's own comes first
    said = next((name for name, _ in attributes if name in _NAMES), "sendrecv")
    direction = _NAMES[said]
    if is_unspecified(theirs.address_of(media)):
        # RFC 3264 8.4: 0.0.0.0 is the old way to say hold; nothing may be sent there.
        return Direction.of(sends=direction.sends, receives=False)
    return direction


def redirected(attributes: tuple[Attribute, ...], direction: Direction) -> tuple[Attribute, ...]:
    """A stream's attributes with another direction."""
    return (*(a for a in attributes if a[0] not in _NAMES), (direction.value, None))


def is_unspecified(address: str | None) -> bool:
    """Is it 0.0.0.0 or ::, where nothing can be sent?"""
    try:
        return address is not None and ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False
