"""Nobody sends more than they may, nobody pays for another, and memory has an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.limits import Allowance, Silence, SourceLimits

HOST, OTHER = "198.51.100.7", "198.51.100.8"
SILENCE = Silence(failures=3, window_s=10.0, for_s=20.0)


def limits(
    messages: tuple[float, float] = (2.0, 3),
    beginnings: tuple[float, float] = (1.0, 2),
    most_sources: int = 100,
    trusted: tuple[str, ...] = (),
) -> SourceLimits:
    return SourceLimits(
        Allowance(*messages),
        Allowance(*beginnings),
        SILENCE,
        most_sources=most_sources,
        trusted=trusted,
    )


def admitted(made: SourceLimits, host: str, now: float, times: int = 20) -> int:
    return sum(made.admits(host, now) for _ in range(times))


def test_a_burst_then_the_rate() -> None:
    made = limits()
    assert admitted(made, HOST, 100.0) == 3
    assert admitted(made, HOST, 100.5) == 1
    assert admitted(made, HOST, 101.5) == 2
    assert admitted(made, HOST, 1_000.0) == 3


def test_each_source_has_its_own() -> None:
    made = limits()
    admitted(made, HOST, 0.0)
    assert admitted(made, OTHER, 0.0) == 3


def test_a_clock_that_steps_back_gives_nothing() -> None:
    made = limits()
    admitted(made, HOST, 100.0)
    assert admitted(made, HOST, 50.0) == 0


@given(
    st.lists(st.floats(0, 5, allow_nan=False), max_size=100),
    st.floats(0.1, 100),
    st.integers(1, 50),
)
def test_never_more_than_the_burst_and_the_rate(gaps: list[float], rate: float, burst: int) -> None:
    made = limits(messages=(rate, burst))
    now, count = 0.0, 0
    for gap in gaps:
        now += gap
        count += made.admits(HOST, now)
    assert count <= burst + rate * now + 1e-6


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:198.51.100.7", HOST, True),
        ("fe80::1%2", "fe80::2", True),
    ],
)
def test_an_ipv6_source_is_its_network(one: str, two: str, same: bool) -> None:
    made = limits()
    admitted(made, one, 0.0)
    assert admitted(made, two, 0.0) == (0 if same else 3)


def test_what_begins_something_has_an_allowance_of_its_own() -> None:
    made = limits(messages=(100, 100))
    assert sum(made.admits_beginning(HOST, 0.0) for _ in range(9)) == 2
    assert made.admits(HOST, 0.0)
    assert sum(made.admits_beginning(HOST, 1.0) for _ in range(9)) == 1


def test_who_guesses_passwords_is_not_heard_for_a_while() -> None:
    made = limits()
    assert [made.failed_authentication(HOST, now) for now in (0.0, 1.0)] == [False, False]
    assert made.admits(HOST, 2.0)
    assert made.failed_authentication(HOST, 2.0)
    assert not made.admits(HOST, 2.0)
    assert made.admits(OTHER, 2.0)
    assert not made.admits(HOST, 21.9)
    assert made.admits(HOST, 22.0)
    assert not made.failed_authentication(HOST, 22.0)  # counted anew


def test_failures_that_are_far_apart_are_slips() -> None:
    made = limits()
    assert not any(made.failed_authentication(HOST, 6.0 * n) for n in range(9) if n % 2)


def test_the_trusted_have_no_limits() -> None:
    made = limits(trusted=("198.51.100.0/29", "2001:db8::5"))
    assert admitted(made, HOST, 0.0) == 20
    assert admitted(made, OTHER, 0.0) == 3
    assert admitted(made, "2001:db8::5", 0.0) == 20
    assert not any(made.failed_authentication(HOST, 0.0) for _ in range(20))
    made.trust([OTHER])
    assert admitted(made, HOST, 0.0) == 3
    assert admitted(made, OTHER, 0.0) == 20
    with pytest.raises(ValueError, match="does not appear to be"):
        made.trust(["trunk.example"])


def test_memory_has_an_end_and_forgets_who_was_quiet_the_longest() -> None:
    made = limits(most_sources=3)
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        admitted(made, host, 0.0)
    made.admits("192.0.2.1", 0.0)
    made.admits("192.0.2.4", 0.0)
    assert len(made) == 3
    assert not made.admits("192.0.2.1", 0.0)
    assert made.admits("192.0.2.2", 0.0)
