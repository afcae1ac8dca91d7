"""RTCP packets: sender and receiver reports, source descriptions, goodbyes (RFC 3550 section 6).

A datagram is a compound: a report first, then an SDES with a CNAME, then whatever else. Building
keeps to that; parsing forgives what is out of order or of a type we do not know.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ingress_sip.rtp.packet import MAX_DATAGRAM, VERSION, RtpError

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
GOODBYE: Final = 203

_HEADER: Final = struct.Struct("!BBH")
_SENDER_INFO: Final = struct.Struct("!QIII")
_BLOCK: Final = struct.Struct("!IIIIII")
_WORD: Final = struct.Struct("!I")
_CNAME: Final = 1
_MAX_COUNT: Final = 31
_NTP_EPOCH_S: Final = 2_208_988_800
"""Seconds from 1900 to 1970."""


class ReportBlock(NamedTuple):
    """What a receiver says of one source (section 6.4.1).

    `fraction_lost` in 1/256 since its last report; `lost` in all, negative with duplicates;
    `jitter` in timestamp units; `last_report` the middle 32 bits of the source's last NTP time,
    and `delay` since then, both in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    lost: int
    highest_sequence: int
    jitter: int
    last_report: int = 0
    delay: int = 0


class SenderInfo(NamedTuple):
    """The sender's clock and totals: `ntp` in 1/2**32 s since 1900, the RTP time at that moment."""

    ntp: int
    timestamp: int
    packets: int
    octets: int


class Report(NamedTuple):
    """A sender report, or a receiver report when `sender` is None."""

    ssrc: int
    sender: SenderInfo | None
    blocks: tuple[ReportBlock, ...]


class SourceDescription(NamedTuple):
    ssrc: int
    cname: str


class Goodbye(NamedTuple):
    ssrcs: tuple[int, ...]
    reason: str


RtcpPacket = Report | SourceDescription | Goodbye


def ntp_time(unix_s: float) -> int:
    """A Unix time as a 64-bit NTP timestamp."""
    return int((unix_s + _NTP_EPOCH_S) * 2**32) & 0xFFFFFFFFFFFFFFFF


def middle_ntp(ntp: int) -> int:
    """The middle 32 bits of an NTP timestamp: LSR, in 1/65536 s."""
    return ntp >> 16 & 0xFFFFFFFF


def round_trip_ms(block: ReportBlock, arrival_ntp: int) -> float | None:
    """The round trip of a report block on our own stream: A - LSR - DLSR (section 6.4.1).

    None if the peer has had no sender report from us, or if its figures make no sense.
    """
    if not block.last_report:
        return None
    units = (middle_ntp(arrival_ntp) - block.last_report - block.delay) & 0xFFFFFFFF
    return units * 1000 / 65536 if units < 1 << 31 else None


def build(report: Report, cname: str, goodbye: str | None = None) -> bytes:
    """A compound datagram: the report, an SDES with our CNAME and, if we leave, a BYE."""
    datagram = _report(report) + _description(report.ssrc, cname)
    if goodbye is not None:
        datagram += _goodbye(report.ssrc, goodbye)
    return datagram


def parse(datagram: bytes) -> tuple[RtcpPacket, ...]:
    """The packets of a compound that we know, in order.

    Raises RtpError if the datagram is no RTCP, or is cut short.
    """
    if not _HEADER.size <= len(datagram) <= MAX_DATAGRAM:
        raise RtpError(f"{len(datagram)} bytes are no RTCP packet")
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(datagram):
        if at + _HEADER.size > len(datagram):
            raise RtpError("RTCP cut short within a header")
        first, kind, words = _HEADER.unpack_from(datagram, at)
        end = at + 4 * (words + 1)
        if first >> 6 != VERSION:
            raise RtpError(f"RTCP version {first >> 6}")
        if end > len(datagram):
            raise RtpError(f"RTCP packet of {words + 1} words cut short")
        body, count = datagram[at + _HEADER.size : end], first & _MAX_COUNT
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            packets.append(_parse_report(body, count, kind == SENDER_REPORT))
        elif kind == SOURCE_DESCRIPTION:
            packets += _parse_descriptions(body, count)
        elif kind == GOODBYE:
            packets.append(_parse_goodbye(body, count))
        at = end
    return tuple(packets)


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(VERSION << 6 | count, kind, len(body) // 4) + body


def _report(report: Report) -> bytes:
    if len(report.blocks) > _MAX_COUNT:
        raise ValueError(f"{len(report.blocks)} report blocks; a packet has room for {_MAX_COUNT}")
    body = _WORD.pack(report.ssrc)
    if report.sender is not None:
        body += _SENDER_INFO.pack(*report.sender)
    for block in report.blocks:
        # "cumulative number of packets lost: 24 bits", signed; it stops at its ends (A.3).
        lost = min(max(block.lost, -0x800000), 0x7FFFFF) & 0xFFFFFF
        body += _BLOCK.pack(block.ssrc, block.fraction_lost << 24 | lost, *block[3:])
    kind = RECEIVER_REPORT if report.sender is None else SENDER_REPORT
    return _packet(kind, len(report.blocks), body)


def _description(ssrc: int, cname: str) -> bytes:
    text = cname.encode()[:255]
    items = bytes((_CNAME, len(text))) + text
    # Section 6.5: items end with a null octet, and are padded with nulls to a 32-bit boundary.
    return _packet(SOURCE_DESCRIPTION, 1, _WORD.pack(ssrc) + items + bytes(4 - len(items) % 4))


def _goodbye(ssrc: int, reason: str) -> bytes:
    text = reason.encode()[:255]
    told = bytes((len(text),)) + text if text else b""
    return _packet(GOODBYE, 1, _WORD.pack(ssrc) + told + bytes(-len(told) % 4))


def _parse_report(body: bytes, count: int, is_sender: bool) -> Report:
    start = _WORD.size + (_SENDER_INFO.size if is_sender else 0)
    if len(body) < start + count * _BLOCK.size:
        raise RtpError(f"an RTCP report with {count} blocks in {len(body)} bytes")
    sender = SenderInfo(*_SENDER_INFO.unpack_from(body, _WORD.size)) if is_sender else None
    blocks = []
    for at in range(start, start + count * _BLOCK.size, _BLOCK.size):
        ssrc, losses, *rest = _BLOCK.unpack_from(body, at)
        lost = losses & 0xFFFFFF
        blocks.append(ReportBlock(ssrc, losses >> 24, lost - ((lost & 0x800000) << 1), *rest))
    return Report(_WORD.unpack_from(body)[0], sender, tuple(blocks))


def _parse_descriptions(body: bytes, count: int) -> list[RtcpPacket]:
    found: list[RtcpPacket] = []
    at = 0
    for _ in range(count):
        if at + _WORD.size > len(body):
            raise RtpError("an RTCP source description cut short")
        (ssrc,) = _WORD.unpack_from(body, at)
        at += _WORD.size
        cname = ""
        while at < len(body) and body[at]:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise RtpError("an RTCP source description item cut short")
            if body[at] == _CNAME:
                cname = body[at + 2 : at + 2 + body[at + 1]].decode(errors="replace")
            at += 2 + body[at + 1]
        at += 4 - at % 4  # the null octet, and the padding to the next chunk
        found.append(SourceDescription(ssrc, cname))
    return found


def _parse_goodbye(body: bytes, count: int) -> Goodbye:
    end = count * _WORD.size
    if len(body) < end:
        raise RtpError(f"an RTCP goodbye of {count} sources in {len(body)} bytes")
    ssrcs = struct.unpack_from(f"!{count}I", body)
    # The reason is optional; one that is cut short is read as far as it goes.
    reason = body[end + 1 : end + 1 + body[end]] if len(body) > end else b""
    return Goodbye(ssrcs, reason.decode(errors="replace"))
