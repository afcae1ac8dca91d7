from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.rtp import rtcp
from ingress_sip.rtp.packet import RtpError, RtpPacket
from ingress_sip.rtp.reception import Reception
from ingress_sip.rtp.rtcp import Goodbye, Report, ReportBlock, SenderInfo, SourceDescription

words = st.integers(0, 0xFFFFFFFF)
blocks = st.builds(
    ReportBlock,
    ssrc=words,
    fraction_lost=st.integers(0, 255),
    lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=words,
    jitter=words,
    last_report=words,
    delay=words,
)
reports = st.builds(
    Report,
    ssrc=words,
    sender=st.none() | st.builds(SenderInfo, st.integers(0, 2**64 - 1), words, words, words),
    blocks=st.lists(blocks, max_size=4).map(tuple),
)


@given(reports, st.text(max_size=20), st.none() | st.text(min_size=1, max_size=20))
def test_a_compound_parses_back(report: Report, cname: str, reason: str | None) -> None:
    parsed = rtcp.parse(rtcp.build(report, cname, reason))
    expected: list[rtcp.RtcpPacket] = [report, SourceDescription(report.ssrc, cname)]
    if reason is not None:
        expected.append(Goodbye((report.ssrc,), reason))
    assert list(parsed) == expected


def test_the_bytes_are_those_of_rfc_3550() -> None:
    datagram = rtcp.build(Report(0x01020304, None, ()), "a@b")
    assert datagram.hex(" ", 4) == "80c90001 01020304 81ca0003 01020304 01036140 62000000"


def test_unknown_packet_types_are_passed_over() -> None:
    feedback = bytes.fromhex("81cd0002 00000001 00000002")
    datagram = rtcp.build(Report(1, None, ()), "x")
    assert rtcp.parse(feedback + datagram) == rtcp.parse(datagram)


@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        ("", "0 bytes"),
        ("80c9", "2 bytes"),
        ("40c90001 00000001", "version 1"),
        ("80c90002 00000001", "3 words cut short"),
        ("81c90001 00000001", "1 blocks"),
        ("80c80001 00000001", "0 blocks in 4"),
        ("80c90001 00000001 80", "within a header"),
        ("81ca0000", "description cut short"),
        ("81ca0002 00000001 01ff6100", "item cut short"),
        ("82cb0001 00000001", "2 sources"),
    ],
)
def test_malformed_packets_are_refused(datagram: str, why: str) -> None:
    with pytest.raises(RtpError, match=why):
        rtcp.parse(bytes.fromhex(datagram))


@given(st.binary(max_size=60), st.sampled_from([200, 201, 202, 203]), st.integers(0, 14))
def test_arbitrary_bytes_raise_only_rtp_errors(tail: bytes, kind: int, count: int) -> None:
    for datagram in (tail, bytes([0x80 | count, kind, 0, len(tail) // 4]) + tail):
        try:
            rtcp.parse(datagram)
        except RtpError:
            continue


def test_a_reason_with_a_lying_length_is_read_as_far_as_it_goes() -> None:
    assert rtcp.parse(bytes.fromhex("81cb0002 00000007 ff627965")) == (Goodbye((7,), "bye"),)


def test_round_trip_is_the_example_of_rfc_3550() -> None:
    # Figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000 gives 0x0006:2000 = 6.125 s.
    block = ReportBlock(1, 0, 0, 0, 0, last_report=0xB7052000, delay=0x00054000)
    assert rtcp.round_trip_ms(block, 0xB7108000 << 16) == pytest.approx(6125.0)


def test_no_round_trip_without_our_report_or_with_nonsense() -> None:
    assert rtcp.round_trip_ms(ReportBlock(1, 0, 0, 0, 0), 1 << 40) is None
    block = ReportBlock(1, 0, 0, 0, 0, last_report=1000, delay=500)
    assert rtcp.round_trip_ms(block, 1400 << 16) is None


def test_ntp_counts_from_1900() -> None:
    assert rtcp.ntp_time(0.5) == (2_208_988_800 << 32) + (1 << 31)
    assert rtcp.middle_ntp(0x1111_2222_3333_4444) == 0x2222_3333


def packet(sequence: int, timestamp: int | None = None) -> RtpPacket:
    stamp = sequence * 160 if timestamp is None else timestamp
    return RtpPacket(0, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 9, b"")


def test_loss_is_counted_in_all_and_per_interval() -> None:
    reception = Reception(9)
    for sequence in (*range(65530, 65540), *range(65545, 65550)):  # five lost, across a wrap
        reception.push(packet(sequence), sequence * 20.0)
    block = reception.block(0)
    assert (reception.expected, reception.received, block.lost) == (20, 15, 5)
    assert block.fraction_lost == 5 * 256 // 20
    assert block.highest_sequence == 65549
    for sequence in range(65550, 65560):
        reception.push(packet(sequence), sequence * 20.0)
    assert reception.block(0).fraction_lost == 0
    assert reception.block(0).lost == 5


def test_duplicates_make_loss_negative_and_the_fraction_zero() -> None:
    reception = Reception(9)
    for sequence in (1, 2, 2, 2):
        reception.push(packet(sequence), 0.0)
    block = reception.block(0)
    assert (block.lost, block.fraction_lost) == (-2, 0)


def test_jitter_is_that_of_appendix_a8() -> None:
    steady, shaky = Reception(9), Reception(9)
    for sequence in range(500):
        steady.push(packet(sequence), sequence * 20.0)
        shaky.push(packet(sequence), sequence * 20.0 + (sequence % 2) * 8)
    assert steady.jitter_ms == 0
    assert shaky.jitter_ms == pytest.approx(8.0, abs=0.01)
    assert shaky.block(0).jitter == pytest.approx(64, abs=1)


def test_a_held_key_is_no_jitter() -> None:
    reception = Reception(9)
    for sequence in range(50):
        reception.push(packet(sequence, timestamp=0), sequence * 20.0, clock_rate=None)
    assert (reception.jitter_ms, reception.received) == (0.0, 50)


def test_a_restarted_source_is_counted_afresh() -> None:
    reception = Reception(9)
    for sequence in (1, 2, 3, 30000, 30001, 30002):
        reception.push(packet(sequence), 0.0)
    assert (reception.expected, reception.received, reception.lost) == (2, 2, 0)


def test_the_last_sender_report_is_sent_back() -> None:
    reception = Reception(9)
    reception.push(packet(1), 0.0)
    sent, arrived = rtcp.ntp_time(1000.0), rtcp.ntp_time(1000.25)
    reception.on_report(Report(8, SenderInfo(1, 0, 0, 0), ()), arrived)  # another source's
    assert reception.block(arrived).last_report == 0
    reception.on_report(Report(9, SenderInfo(sent, 0, 0, 0), ()), arrived)
    block = reception.block(rtcp.ntp_time(1003.25))
    assert block.last_report == rtcp.middle_ntp(sent)
    assert block.delay == pytest.approx(3 * 65536, abs=1)
