from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.rtp.packet import RtpError, RtpPacket, build, is_rtcp, parse

PLAIN = bytes.fromhex("80 80 0001 000000a0 deadbeef") + b"audio"

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=400),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none()
    | st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40).map(lambda b: b[: len(b) & ~3])),
)


def test_reads_the_fixed_header() -> None:
    assert parse(PLAIN) == RtpPacket(0, 1, 160, 0xDEADBEEF, b"audio", marker=True)


def test_padding_is_taken_off() -> None:
    padded = bytes([PLAIN[0] | 0x20]) + PLAIN[1:] + b"\0\0\x03"
    assert parse(padded) == parse(PLAIN)


def test_contributing_sources_and_extension_are_read() -> None:
    head = bytes([0x80 | 0x10 | 2]) + PLAIN[1:12]
    packet = parse(head + bytes.fromhex("00000001 00000002 bede 0001 aabbccdd") + b"x")
    assert packet.csrcs == (1, 2)
    assert packet.extension == (0xBEDE, bytes.fromhex("aabbccdd"))
    assert packet.payload == b"x"


@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        (b"", "0 bytes"),
        (PLAIN[:11], "11 bytes"),
        (PLAIN + bytes(2048), "2065 bytes"),
        (b"\x40" + PLAIN[1:], "version 1"),
        (b"\xa0" + PLAIN[1:12] + b"\x00", "padding of 0"),
        (b"\xa0" + PLAIN[1:12] + b"\x05", "padding of 5"),
        (b"\x8f" + PLAIN[1:], "15 contributing"),
        (b"\x90" + PLAIN[1:12] + b"\0\0", "before the header extension"),
        (b"\x90" + PLAIN[1:12] + b"\0\0\0\x02abcd", "extension of 2 words"),
    ],
)
def test_malformed_packets_are_refused(datagram: bytes, why: str) -> None:
    with pytest.raises(RtpError, match=why):
        parse(datagram)


@given(packets)
def test_what_is_built_parses_back(packet: RtpPacket) -> None:
    assert parse(build(packet)) == packet


@given(st.binary(max_size=100), st.sampled_from([0x80, 0x90, 0xA0, 0xBF, 0x00]))
def test_arbitrary_bytes_raise_only_rtp_errors(tail: bytes, first: int) -> None:
    for datagram in (tail, bytes([first]) + tail):
        try:
            packet = parse(datagram)
        except RtpError:
            continue
        assert len(packet.payload) <= len(datagram) - 12


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(128, 0, 0, 0, b""),
        RtpPacket(0, 0x10000, 0, 0, b""),
        RtpPacket(0, 0, -1, 0, b""),
        RtpPacket(0, 0, 0, 0, b"", csrcs=(0,) * 16),
        RtpPacket(0, 0, 0, 0, b"", extension=(0, b"abc")),
    ],
)
def test_our_own_mistakes_are_value_errors(packet: RtpPacket) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        build(packet)
    assert not isinstance(raised.value, RtpError)


def test_rtcp_on_a_shared_port_is_told_apart() -> None:
    assert is_rtcp(bytes.fromhex("80c8"))
    assert is_rtcp(bytes.fromhex("81c9"))
    assert not is_rtcp(PLAIN)
    assert not is_rtcp(b"\x80")
