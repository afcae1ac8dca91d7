from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.listening.sequence import (
    MAX_DROPOUT,
    Arrival,
    SequenceCounter,
    sequence_delta,
    timestamp_delta,
)


@given(st.integers(0, 0xFFFF), st.integers(-32768, 32767))
def test_sequence_delta_goes_the_shorter_way_round(start: int, step: int) -> None:
    assert sequence_delta((start + step) & 0xFFFF, start) == step


@given(st.integers(0, 0xFFFFFFFF), st.integers(-(2**31), 2**31 - 1))
def test_timestamp_delta_goes_the_shorter_way_round(start: int, step: int) -> None:
    assert timestamp_delta((start + step) & 0xFFFFFFFF, start) == step


@given(st.integers(0, 0xFFFF), st.lists(st.integers(1, MAX_DROPOUT - 1), max_size=200))
def test_numbers_are_extended_across_any_wraps(first: int, steps: list[int]) -> None:
    counter = SequenceCounter(first)
    true = first
    for step in steps:
        true += step
        assert counter.update(true & 0xFFFF) is Arrival.NEXT
        assert counter.highest == true
        assert counter.extend((true - 50) & 0xFFFF) == true - 50
    assert counter.expected == true - first + 1


def test_older_packets_do_not_move_the_highest() -> None:
    counter = SequenceCounter(2)
    assert counter.update(2) is Arrival.OLDER
    assert counter.update(65530) is Arrival.OLDER  # before the wrap
    assert counter.highest == 2


def test_a_restart_takes_two_packets_in_a_row() -> None:
    counter = SequenceCounter(100)
    assert counter.update(40000) is Arrival.JUMP
    assert counter.update(101) is Arrival.NEXT
    assert counter.update(40001) is Arrival.JUMP
    assert counter.update(40002) is Arrival.RESTART
    assert (counter.first, counter.highest, counter.expected) == (40002, 40002, 1)
    assert counter.update(40003) is Arrival.NEXT
