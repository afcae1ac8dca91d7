"""RTP packets: bytes to fields and back (RFC 3550 section 5.1).

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
|V=2|P|X|  CC   |M|     PT      |       sequence number         |
|                           timestamp                           |
|           synchronization source (SSRC) identifier            |
|            contributing source (CSRC) identifiers ...         |
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

VERSION: Final = 2
MAX_DATAGRAM: Final = 2048
"""Longest datagram looked at, in bytes: more than an Ethernet frame, less than harm."""

_HEADER: Final = struct.Struct("!BBHII")
_EXTENSION: Final = struct.Struct("!HH")
_PADDING: Final = 0x20
_HAS_EXTENSION: Final = 0x10
_MARKER: Final = 0x80


class RtpError(ValueError):
    """The peer sent what is no RTP or RTCP packet: count it, drop it, go on."""


class RtpPacket(NamedTuple):
    """One RTP packet, its padding taken off. A tuple: a call makes fifty a second.

    `timestamp` counts samples at the codec's clock rate; `csrcs` are the mixed sources;
    `extension` is (profile, data) of a header extension, its data in whole 32-bit words.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None


def parse(datagram: bytes) -> RtpPacket:
    """Read one datagram. Raises RtpError for anything that is not a whole RTP packet."""
    size = len(datagram)
    if not _HEADER.size <= size <= MAX_DATAGRAM:
        raise RtpError(f"{size} bytes are no RTP packet")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    if first >> 6 != VERSION:
        raise RtpError(f"RTP version {first >> 6}")
    start = _HEADER.size
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None
    if first & 0x1F:  # CSRCs or an extension: rare in telephony
        start, csrcs, extension = _optional_header(datagram, first)
    end = size
    if first & _PADDING:
        # "The last octet of the padding contains a count of how many padding octets should be
        # ignored, including itself."
        end -= datagram[-1]
        if datagram[-1] == 0 or end < start:
            raise RtpError(f"padding of {datagram[-1]} bytes")
    return RtpPacket(
        second & 0x7F,
        sequence,
        timestamp,
        ssrc,
        datagram[start:end],
        second >= _MARKER,
        csrcs,
        extension,
    )


def build(packet: RtpPacket) -> bytes:
    """Write a packet, without padding.

    Raises ValueError (not RtpError: the mistake is ours) if a field does not fit the format.
    """
    if not 0 <= packet.payload_type < 128:
        raise ValueError(f"payload type {packet.payload_type}")
    if len(packet.csrcs) > 15:
        raise ValueError(f"{len(packet.csrcs)} contributing sources; the format has room for 15")
    first = VERSION << 6 | len(packet.csrcs)
    tail = struct.pack(f"!{len(packet.csrcs)}I", *packet.csrcs) if packet.csrcs else b""
    if packet.extension is not None:
        profile, data = packet.extension
        if len(data) % 4:
            raise ValueError("extension data comes in whole 32-bit words")
        first |= _HAS_EXTENSION
        tail += _EXTENSION.pack(profile, len(data) // 4) + data
    second = packet.payload_type | (_MARKER if packet.marker else 0)
    try:
        header = _HEADER.pack(first, second, packet.sequence, packet.timestamp, packet.ssrc)
    except struct.error as error:
        raise ValueError(f"a field of {packet[:4]} does not fit: {error}") from error
    return header + tail + packet.payload


def is_rtcp(datagram: bytes) -> bool:
    """Whether a datagram on a shared port is RTCP: packet types 192 to 223 (RFC 5761 section 4)."""
    return len(datagram) > 1 and 192 <= datagram[1] <= 223


def _optional_header(
    datagram: bytes, first: int
) -> tuple[int, tuple[int, ...], tuple[int, bytes] | None]:
    """Where the payload starts, the CSRCs and the extension."""
    count = first & 0x0F
    start = _HEADER.size + 4 * count
    if start > len(datagram):
        raise RtpError(f"cut short within {count} contributing sources")
    csrcs = struct.unpack_from(f"!{count}I", datagram, _HEADER.size)
    if not first & _HAS_EXTENSION:
        return start, csrcs, None
    if start + _EXTENSION.size > len(datagram):
        raise RtpError("cut short before the header extension")
    profile, words = _EXTENSION.unpack_from(datagram, start)
    start += _EXTENSION.size
    end = start + 4 * words
    if end > len(datagram):
        raise RtpError(f"cut short within a header extension of {words} words")
    return end, csrcs, (profile, datagram[start:end])
