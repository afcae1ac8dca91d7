from __future__ import annotations

import pytest

from ingress_sip.rtp.destination import PROOF_MS, Destination

PHONE = "192.0.2.1"
RTP, RTCP = (PHONE, 4000), (PHONE, 4001)


def destination(signalling: str | None = PHONE, ours: str = "198.51.100.1") -> Destination:
    made = Destination(signalling, ours)
    made.announce(RTP, RTCP, 0.0)
    return made


def test_audio_goes_where_it_comes_from_before_where_sdp_says() -> None:
    assert destination().rtp(None, 1e9) == RTP
    assert destination().rtp(("203.0.113.9", 9), 0.0) == ("203.0.113.9", 9)


def test_another_host_than_the_signallings_has_to_show_itself() -> None:
    other = destination("203.0.113.9")
    assert other.rtp(None, PROOF_MS - 1) == RTP
    assert other.rtp(None, PROOF_MS) is None
    assert other.rtcp(None, None, PROOF_MS) is None
    assert other.rtp(RTP, PROOF_MS) == RTP
    other.announce(RTP, RTCP, PROOF_MS)
    assert other.rtp(None, PROOF_MS + 1) == RTP


@pytest.mark.parametrize(
    "address",
    [
        ("224.0.0.1", 4000),
        ("255.255.255.255", 4000),
        ("a.name.example", 4000),
        ("2001:db8::1", 4000),
        (PHONE, 0),
        (PHONE, 65536),
    ],
)
def test_what_is_no_phone_is_sent_nothing(address: tuple[str, int]) -> None:
    made = Destination(address[0], "198.51.100.1")
    made.announce(address, address, 0.0)
    assert made.rtp(None, 0.0) is None
    assert made.rtcp(None, None, 0.0) is None


def test_ipv6_is_reached_from_ipv6() -> None:
    made = Destination("2001:db8::1", "2001:db8::2")
    made.announce(("2001:db8::1", 4000), ("2001:db8::1", 4001), 0.0)
    assert made.rtp(None, 0.0) == ("2001:db8::1", 4000)


def test_reports_follow_the_audio() -> None:
    made = destination()
    assert made.rtcp(None, None, 0.0) == RTCP
    assert made.rtcp(RTP, None, 0.0) == RTCP
    assert made.rtcp(("203.0.113.9", 5000), None, 0.0) == ("203.0.113.9", 5001)
    assert made.rtcp(RTP, (PHONE, 7), 0.0) == (PHONE, 7)
    made.announce(RTP, None, 0.0)
    assert made.rtcp(RTP, None, 0.0) is None
