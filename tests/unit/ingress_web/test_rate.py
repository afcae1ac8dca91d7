from __future__ import annotations

import pytest

from ingress_web.rate import SOURCES, RequestRate

US = "192.0.2.7"


def test_a_burst_is_answered_and_then_the_rate() -> None:
    rate = RequestRate(10, burst=3)
    assert [rate.wait_s(US, 100.0) for _ in range(3)] == [0, 0, 0]
    assert rate.wait_s(US, 100.0) == pytest.approx(0.1)
    assert rate.wait_s(US, 100.0) == pytest.approx(0.1)  # what was refused costs nothing
    assert rate.wait_s(US, 100.1) == 0
    assert rate.wait_s(US, 100.1) > 0
    assert [rate.wait_s(US, 200.0) for _ in range(4)][:3] == [0, 0, 0]


def test_sources_do_not_share() -> None:
    rate = RequestRate(1, burst=1)
    assert rate.wait_s(US, 0.0) == 0
    assert rate.wait_s("::ffff:192.0.2.7", 0.0) > 0
    assert rate.wait_s("192.0.2.8", 0.0) == 0
    assert rate.wait_s("2001:db8::1", 0.0) == 0
    assert rate.wait_s("2001:db8::ffff:1", 0.0) > 0
    assert rate.wait_s("2001:db8:0:1::1", 0.0) == 0


def test_memory_is_bounded() -> None:
    rate = RequestRate(1)
    for number in range(SOURCES + 50):
        rate.wait_s(f"source {number}", 0.0)
    assert len(rate._full_at) == SOURCES
