from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from workers.resilience.breaker import FAILURES, LONGEST_PAUSE_S, PAUSE_S, Breaker, State


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock) -> Breaker:
    return Breaker("llm", "acme", clock)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        permit = breaker.enter()
        assert permit is not None
        breaker.failed(permit)


def shown() -> float | None:
    labels = {"stage": "llm", "provider": "acme"}
    return REGISTRY.get_sample_value("pipeline_provider_breaker", labels)


def test_failures_in_a_row_open_it_and_others_do_not(breaker):
    for _ in range(3):
        fail(breaker, FAILURES - 1)
        breaker.succeeded(breaker.enter())
    assert breaker.state is State.CLOSED
    fail(breaker, FAILURES)
    assert breaker.state is State.OPEN
    assert breaker.enter() is None
    assert (breaker.rest_s, shown()) == (PAUSE_S, 2)


def test_after_a_pause_one_attempt_probes_it_and_an_answer_closes_it(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += PAUSE_S
    probe = breaker.enter()
    assert probe is not None
    assert breaker.enter() is None
    assert (breaker.state, shown()) == (State.HALF_OPEN, 1)
    breaker.succeeded(probe)
    assert (breaker.state, shown()) == (State.CLOSED, 0)
    fail(breaker, FAILURES - 1)
    assert breaker.state is State.CLOSED


def test_a_probe_that_fails_doubles_the_pause_up_to_a_bound(breaker, clock):
    fail(breaker, FAILURES)
    pauses = []
    for _ in range(6):
        clock.now += breaker.rest_s
        fail(breaker)
        pauses.append(breaker.rest_s)
    assert pauses == [10, 20, 40, 60, 60, 60]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_probe_that_was_cancelled_leaves_its_place_to_the_next(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += PAUSE_S
    breaker.abandoned(breaker.enter())
    assert breaker.enter() is not None


def test_a_probe_that_is_never_heard_of_again_keeps_the_place_for_one_pause(breaker, clock):
    fail(breaker, FAILURES)
    clock.now += PAUSE_S
    assert breaker.enter() is not None
    clock.now += PAUSE_S
    assert breaker.enter() is not None


def test_who_began_before_it_opened_neither_prolongs_nor_probes(breaker, clock):
    early = [breaker.enter() for _ in range(FAILURES + 2)]
    for permit in early[:FAILURES]:
        breaker.failed(permit)
    clock.now += PAUSE_S / 2
    breaker.failed(early[-2])
    assert breaker.rest_s == PAUSE_S / 2
    breaker.succeeded(early[-1])  # it can do it after all
    assert breaker.state is State.CLOSED
