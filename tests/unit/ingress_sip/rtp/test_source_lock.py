from __future__ import annotations

import pytest

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
    lock = SourceLock(PEER, signalling=PEER[0])
    assert lock.admits(packet(5), MOVED, 0.0)
    assert lock.admits(packet(0, ssrc=2), PEER, 20.0)
    assert not lock.admits(packet(0, ssrc=3), MOVED, 40.0)


def test_a_stranger_who_sends_to_every_port_does_not_get_the_call() -> None:
    lock = SourceLock(("10.0.0.5", 4000), signalling=PEER[0])  # a phone behind NAT
    for number in range(25):
        assert not lock.admits(packet(number, ssrc=9), STRANGER, 20.0 * number)
    assert lock.address is None
    assert lock.admits(packet(1), MOVED, 499.0)
    assert not lock.admits(packet(26, ssrc=9), STRANGER, 2000.0)


def test_a_gateway_that_nobody_named_is_heard_after_half_a_second() -> None:
    lock = SourceLock(("192.0.2.99", 4000), signalling="192.0.2.98")
    assert not lock.admits(packet(0), STRANGER, 0.0)
    assert not lock.admits(packet(1), STRANGER, 499.0)
    assert lock.admits(packet(2), STRANGER, 500.0)
    assert lock.admits(packet(9, ssrc=2), ("192.0.2.98", 7), 520.0)  # a better one takes it back
    assert not lock.admits(packet(4), STRANGER, 540.0)


def test_a_new_address_in_the_signalling_is_sent_to_at_once() -> None:
    lock = SourceLock(PEER, signalling=PEER[0])
    assert lock.admits(packet(0), PEER, 0.0)
    lock.announce(MOVED)
    assert lock.address is None
    assert not lock.admits(packet(1), PEER, 20.0)  # what was still under way
    assert lock.admits(packet(0, ssrc=2), MOVED, 40.0)


@pytest.mark.parametrize("nowhere", [("0.0.0.0", 4000), (PEER[0], 0), PEER])
def test_hold_and_resume_move_nobody(nowhere: tuple[str, int]) -> None:
    lock = SourceLock(PEER, signalling=PEER[0])
    assert lock.admits(packet(0), MOVED, 0.0)  # behind NAT
    lock.announce(nowhere)
    lock.announce(PEER)
    assert lock.address == MOVED


def test_a_moving_call_does_not_let_a_patient_stranger_in() -> None:
    lock = SourceLock(PEER, signalling=PEER[0])
    assert not lock.admits(packet(0, ssrc=9), STRANGER, 0.0)
    assert lock.admits(packet(0), PEER, 20.0)
    lock.announce(MOVED)
    assert not lock.admits(packet(1, ssrc=9), STRANGER, 9000.0)


def test_signs_of_life_keep_the_call_but_only_the_callers_own() -> None:
    lock = locked()
    lock.alive(STRANGER, 1000.0)
    assert lock.heard_ms == 0.0
    lock.alive(PEER, 1500.0)
    assert lock.heard_ms == 1500.0
    assert not lock.admits(packet(0, ssrc=2), STRANGER, 2500.0)
