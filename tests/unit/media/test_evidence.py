from __future__ import annotations

from itertools import cycle, islice

import numpy as np
import pytest

from media.evidence import Evidence
from media.frames import SILENCE, to_pcm

WORD = [-45.0, -25.0, -18.0, -16.0, -19.0, -30.0]
"""dBov of the frames of a syllable."""


def frame(dbov: float) -> bytes:
    return to_pcm(np.full(160, 32768 * 10 ** (dbov / 20)))


def utterance(
    evidence: Evidence, levels: list[float], *, frames: int = 20, sure: float = 0.97
) -> bool:
    """Silence, the onset of 120 ms that turn-taking waits for, and the rest."""
    for _ in range(30):
        evidence.add(SILENCE, False, 0.0)
    for at, level in enumerate(islice(cycle(levels), frames)):
        evidence.add(frame(level), True, sure)
        if at == 5:
            evidence.reset()
    for _ in range(30):
        evidence.add(SILENCE, False, 0.0)
    return evidence.enough


def test_a_short_answer_is_enough() -> None:
    assert utterance(Evidence(), WORD, frames=8)


def test_a_short_answer_counts_from_its_onset() -> None:
    assert utterance(Evidence(), WORD, frames=6)


@pytest.mark.parametrize(
    ("levels", "sure"),
    [([-30.0, -32.0, -31.0], 0.97), ([-27.0, -34.0], 0.7)],
    ids=["that hardly moves", "of which nothing is certain"],
)
def test_a_crowd_is_not_enough(levels: list[float], sure: float) -> None:
    assert not utterance(Evidence(), levels, frames=100, sure=sure)


def test_speech_in_noise_is_enough_though_nothing_is_certain() -> None:
    assert utterance(Evidence(), WORD, sure=0.7)


def test_a_faint_voice_is_not_enough() -> None:
    assert not utterance(Evidence(), [level - 30 for level in WORD])


def test_a_voice_far_below_the_callers_is_not_enough() -> None:
    evidence = Evidence()
    beside = [level - 18 for level in WORD]
    assert utterance(evidence, beside)
    assert utterance(evidence, WORD)
    assert not utterance(evidence, beside)
    assert utterance(evidence, WORD)


def test_a_shout_does_not_shut_the_caller_out() -> None:
    evidence = Evidence()
    assert utterance(evidence, [level + 14 for level in WORD])
    softly = [level - 8 for level in WORD]
    assert [utterance(evidence, softly) for _ in range(4)][-2:] == [True, True]


def test_nothing_is_not_enough() -> None:
    assert not utterance(Evidence(), WORD, frames=0)
