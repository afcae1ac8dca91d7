"""The agent's voice as recorded, against what the phone heard."""

from __future__ import annotations

import numpy as np
import pytest

from media.frames import Samples
from trunkline.chaos.sound import compare


def voice(seconds: float, seed: int = 1) -> Samples:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * 8000)) * 3000
    return samples.astype(np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * 8000), np.int16)


AGENT = np.concatenate([silence(0.5), voice(2), silence(1), voice(2, seed=2), silence(0.5)])


def test_what_arrived_as_it_left_is_all_there() -> None:
    assert compare(AGENT, AGENT) == (1.0, 0.0)


@pytest.mark.parametrize("packets", [3, -3])
def test_a_phone_that_began_earlier_or_later_heard_the_same(packets: int) -> None:
    shifted = AGENT[packets * 160 :] if packets > 0 else np.concatenate([silence(0.06), AGENT])
    assert compare(AGENT, shifted) == (1.0, 0.0)


def test_what_is_missing_in_the_middle_is_missed() -> None:
    heard = AGENT.copy()
    heard[30_080:34_080] = 0
    arrived, besides = compare(AGENT, heard)
    assert arrived == pytest.approx(1 - 0.5 / 4, abs=0.01)
    assert besides == 0


def test_what_comes_twice_is_heard_besides() -> None:
    heard = AGENT.copy()
    heard[21_000:25_000] = AGENT[4000:8000]
    arrived, besides = compare(AGENT, heard)
    assert arrived == 1.0
    assert besides == pytest.approx(500, abs=40)


def test_another_voice_is_not_taken_for_the_agents() -> None:
    arrived, besides = compare(AGENT, voice(6, seed=9))
    assert arrived < 0.1
    assert besides > 5000


def test_a_silent_agent_is_no_failure() -> None:
    assert compare(silence(2), silence(2)) == (1.0, 0.0)
