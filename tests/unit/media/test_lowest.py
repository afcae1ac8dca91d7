"""The lowest of a window that slides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.lowest import Lowest


@given(st.lists(st.integers(-5, 5) | st.floats(-5, 5)), st.integers(1, 8))
def test_it_is_the_minimum_of_the_last_values(values: list[float], window: int) -> None:
    lowest = Lowest(window)
    for number, value in enumerate(values):
        assert lowest.add(value) == min(values[max(0, number + 1 - window) : number + 1])
