"""Named timers over a heap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.timers import TimerQueue

STEPS = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 20)), max_size=300)


@given(STEPS)
def test_it_is_a_dict_of_due_times(steps: list[tuple[int, int | None]]) -> None:
    queue: TimerQueue[int] = TimerQueue()
    model: dict[int, int] = {}
    for name, when in steps:
        if when is None:
            queue.cancel(name)
            model.pop(name, None)
        else:
            queue.set(name, when)
            model[name] = when
        assert queue.next() == min(model.values(), default=None)
    fired = []
    while (due := queue.pop_due(10)) is not None:
        fired.append(due)
    assert sorted(fired) == sorted(name for name, when in model.items() if when <= 10)
    assert [model[name] for name in fired] == sorted(model[name] for name in fired)
    assert len(queue) == len(model) - len(fired)


def test_timers_due_at_once_fire_in_the_order_they_were_set() -> None:
    queue: TimerQueue[str] = TimerQueue()
    for name in "cab":
        queue.set(name, 1.0)
    assert [queue.pop_due(1.0) for _ in range(4)] == ["c", "a", "b", None]


def test_moved_timers_do_not_pile_up() -> None:
    queue: TimerQueue[int] = TimerQueue()
    for when in range(10_000):
        queue.set(1, when)
    assert len(queue._heap) < 200
