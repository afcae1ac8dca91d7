"""When reports leave, and what they say and are believed to say."""

from __future__ import annotations

import pytest

from ingress_sip.rtp import rtcp
from ingress_sip.rtp.packet import RtpError, RtpPacket
from ingress_sip.rtp.reception import Reception
from ingress_sip.rtp.rtcp_session import RtcpSession
from ingress_sip.rtp.sender import RtpSender

EPOCH_MS = 1_700_000_000_000.0


def session(chance: float = 0.5) -> RtcpSession:
    return RtcpSession("name", now_ms=0.0, epoch_ms=EPOCH_MS, chance=lambda: chance)


def sender(packets: int = 0) -> RtpSender:
    made = RtpSender(payload_type=0, ssrc=5, sequence=0, timestamp=1000)
    for _ in range(packets):
        made.audio(bytes(160))
    return made


def first(compound: bytes) -> rtcp.Report:
    report, description = rtcp.parse(compound)[:2]
    assert isinstance(report, rtcp.Report)
    assert description == rtcp.SourceDescription(5, "name")
    return report


@pytest.mark.parametrize(("chance", "first_ms"), [(0.0, 1026), (0.5, 2052), (0.999, 3076)])
def test_the_first_report_waits_half_as_long_and_all_by_chance(
    chance: float, first_ms: float
) -> None:
    reports = session(chance)
    assert reports.due_ms == pytest.approx(first_ms, abs=1)
    reports.report(reports.due_ms, sender(), None)
    assert reports.due_ms == pytest.approx(3 * first_ms, abs=3)


def test_who_has_sent_reports_as_a_sender_at_its_own_time() -> None:
    out = sender(packets=50)
    info = first(session().report(1000.0, out, None, held=80)).sender
    assert info is not None
    assert (info.packets, info.octets) == (50, 8000)
    assert info.timestamp == 1000 + 50 * 160 + 80
    assert info.ntp == rtcp.ntp_time(EPOCH_MS / 1000 + 1)


def test_who_has_not_sent_since_reports_as_a_receiver() -> None:
    reports, out, reception = session(), sender(packets=1), Reception(9)
    reception.push(RtpPacket(0, 1, 1, 9, b""), 0.0)
    assert first(reports.report(0.0, out, reception)).sender is not None
    report = first(reports.report(5000.0, out, reception))
    assert report.sender is None
    assert [block.ssrc for block in report.blocks] == [9]


def test_the_round_trip_is_what_the_peer_did_not_take() -> None:
    reports, out = session(), sender(packets=100)
    told = first(reports.report(1000.0, out, None)).sender
    assert told is not None
    last = rtcp.middle_ntp(told.ntp)
    block = rtcp.ReportBlock(5, 25, 7, 99, 160, last, delay=65536 // 2)
    reports.received(rtcp.build(rtcp.Report(9, None, (block,)), "peer"), 1580.0, out, None)
    assert reports.round_trip_ms == pytest.approx(80, abs=0.1)
    assert reports.peer is not None
    assert (reports.peer.lost, reports.peer.loss, reports.peer.jitter_ms) == (7, 0.07, 20.0)


def test_blocks_about_others_say_nothing_of_us() -> None:
    reports, out = session(), sender(packets=100)
    block = rtcp.ReportBlock(6, 25, 7, 99, 160)
    reports.received(rtcp.build(rtcp.Report(9, None, (block,)), "peer"), 0.0, out, None)
    assert reports.peer is None


def test_the_goodbye_ends_the_last_report() -> None:
    packets = rtcp.parse(session().goodbye(0.0, sender(packets=1), None))
    assert [type(packet) for packet in packets] == [
        rtcp.Report,
        rtcp.SourceDescription,
        rtcp.Goodbye,
    ]


def test_what_is_no_rtcp_is_the_peers_error() -> None:
    with pytest.raises(RtpError):
        session().received(b"\x80\xc8", 0.0, sender(), None)
