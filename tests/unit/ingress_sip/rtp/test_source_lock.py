from __future__ import annotations

from ingress_sip.rtp.packet import RtpPacket
from ingress_sip.rtp.source import SourceLock

PEER = ("192.0.2.1", 4000)
MOVED = ("192.0.2.1", 4711)
STRANGER = ("203.0.113.9", 4000)


def packet(sequence: int, ssrc: int = 1) -> RtpPacket:
    return RtpPacket(0, sequence & 0xFFFF, 0, ssrc, b"")


def locked(announced: tuple[str, int] | None = None) -> SourceLock:
    lock = SourceLock(announced)
    assert lock.admits(packet(65535), PEER, 0.0)
    return lock


def test_the_first_source_is_the_calls() -> None:
    lock = locked()
    assert lock.address == PEER
    assert not lock.admits(packet(0, ssrc=2), STRANGER, 20.0)
    assert lock.admits(packet(0), PEER, 20.0)
    assert lock.address == PEER


def test_a_new_stream_from_the_same_address_is_the_same_peer() -> None:
    lock = locked()
    assert lock.admits(packet(9, ssrc=2), PEER, 20.0)
    assert not lock.admits(packet(10, ssrc=1), STRANGER, 40.0)


def test_a_rebound_port_is_followed_at_once() -> None:
    lock = locked()
    assert lock.admits(packet(0), MOVED, 20.0)
    assert lock.address == MOVED


def test_the_ssrc_alone_is_not_enough() -> None:
    lock = locked()
    assert not lock.admits(packet(20000), STRANGER, 20.0)
    assert not lock.admits(packet(65535), STRANGER, 20.0)  # a replayed packet
    assert lock.address == PEER


def test_a_silent_source_gives_way_after_two_seconds() -> None:
    lock = locked()
    assert not lock.admits(packet(0, ssrc=2), STRANGER, 1999.0)
    assert lock.admits(packet(0, ssrc=2), STRANGER, 2000.0)
    assert lock.address == STRANGER


def test_the_announced_address_may_always_take_over() -> None:
    lock = locked(announced=STRANGER)
    assert lock.admits(packet(0, ssrc=2), STRANGER, 20.0)
    assert not lock.admits(packet(0, ssrc=3), PEER, 40.0)
