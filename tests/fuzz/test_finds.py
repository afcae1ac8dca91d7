"""What fuzzing has found stays mended, and a little more of it."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.corpus import FINDS, seeds
from tests.fuzz.run import SHARES, fuzz, streams
from tests.fuzz.sequences import sequence
from tests.fuzz.targets import TARGETS, credentials


def test_finds_stay_mended() -> None:
    for find in sorted(FINDS.glob("*.dat")):
        TARGETS[find.stem.partition("-")[0]](find.read_bytes())


def test_fresh_inputs_find_nothing() -> None:
    counts, found = fuzz(seed=4475, inputs=3000)
    assert counts.keys() == SHARES.keys() == TARGETS.keys()
    assert not found


def test_real_messages_are_no_finds() -> None:
    real = seeds()
    pools = {"sip": real.sip, "core": real.sip, "field": real.sip, "sdp": real.sdp, "rtp": real.rtp}
    pools |= {"stream": tuple(streams(real.sip)), "digest": tuple(credentials())}
    for name, pool in pools.items():
        assert pool
        for data in pool:
            TARGETS[name](data)


@given(st.integers(0, 2**64))
def test_conversations_in_any_order_raise_nothing_and_leave_nothing(seed: int) -> None:
    sequence(Random(seed))
