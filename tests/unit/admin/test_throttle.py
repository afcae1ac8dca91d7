from __future__ import annotations

import pytest

from admin.throttle import ADDRESSES, BURST, REFILL_S, LoginThrottle

US = "192.0.2.7"


def _after_failures(count: int, address: str = US) -> LoginThrottle:
    throttle = LoginThrottle()
    for _ in range(count):
        throttle.failed(address, 100.0)
    return throttle


def test_a_few_mistakes_cost_nothing() -> None:
    assert _after_failures(BURST - 1).wait_s(US, 100.0) == 0


def test_then_each_guess_has_to_wait() -> None:
    throttle = _after_failures(BURST)
    assert throttle.wait_s(US, 100.0) == REFILL_S
    assert throttle.wait_s(US, 100.0 + REFILL_S) == 0
    throttle.failed(US, 100.0 + REFILL_S)
    assert throttle.wait_s(US, 100.0 + REFILL_S) == REFILL_S


def test_mistakes_are_forgotten_with_time() -> None:
    throttle = _after_failures(BURST)
    later = 100.0 + BURST * REFILL_S
    for _ in range(BURST - 1):
        throttle.failed(US, later)
    assert throttle.wait_s(US, later) == 0


def test_the_right_password_clears_the_slate() -> None:
    throttle = _after_failures(BURST)
    throttle.succeeded(US)
    assert throttle.wait_s(US, 100.0) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("testclient", "other", False),
    ],
)
def test_neighbours_share_guesses_only_where_one_holds_all(
    one: str, other: str, same: bool
) -> None:
    assert (_after_failures(BURST, one).wait_s(other, 100.0) > 0) is same


def test_memory_is_bounded() -> None:
    throttle = _after_failures(BURST)
    for n in range(ADDRESSES):
        throttle.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 100.0)
    assert throttle.wait_s(US, 100.0) == 0  # forgotten
