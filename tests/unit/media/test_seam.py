"""Edges in place of clicks: what breaks off or begins in its midst, measured."""

from __future__ import annotations

import numpy as np
import pytest

from media import seam
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Codec, Samples, to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm

AMPLITUDE = 10_000


def sine(hz: float, phase: float = 0.0) -> bytes:
    """A frame of a tone."""
    time = np.arange(FRAME_SAMPLES) / SAMPLE_RATE
    return pcm_to_ulaw(to_pcm(AMPLITUDE * np.sin(2 * np.pi * hz * time + phase)))


def pcm(*frames: bytes) -> Samples:
    return to_samples(ulaw_to_pcm(b"".join(frames)))


def step(samples: Samples) -> int:
    """The greatest change from one sample to the next."""
    return int(np.abs(np.diff(samples.astype(int))).max())


@pytest.mark.parametrize("hz", [100, 233, 440, 1000])
@pytest.mark.parametrize("eighth", range(8))
def test_a_tone_begins_and_ends_without_a_greater_step_than_its_own(hz: float, eighth: int) -> None:
    silence = Codec.PCMU.silence()
    frame = sine(hz, phase=eighth * np.pi / 4)
    own = step(pcm(frame))
    bound = own + AMPLITUDE * 0.1  # what the edge itself changes, and mu-law's steps of this height
    assert step(pcm(silence, seam.begin(frame))) <= bound
    assert step(pcm(frame, seam.end(frame) or silence, silence)) <= bound


def test_without_an_edge_the_step_is_the_tone_s_height() -> None:
    frame = sine(440, phase=np.pi / 2)
    assert step(pcm(Codec.PCMU.silence(), frame)) > AMPLITUDE * 0.9


def test_an_edge_takes_four_milliseconds_and_leaves_the_rest() -> None:
    frame = sine(233, phase=np.pi / 2)
    assert seam.begin(frame)[seam.EDGE :] == frame[seam.EDGE :]
    tail = seam.end(frame)
    assert tail is not None
    assert len(tail) == FRAME_SAMPLES
    assert tail[seam.EDGE :] == Codec.PCMU.silence(FRAME_SAMPLES - seam.EDGE)


def test_what_is_soft_already_stays_as_it_is() -> None:
    frame = sine(100)  # two whole periods: it begins and ends at zero
    soft = frame[:-1] + b"\xff"
    assert seam.begin(soft) == soft
    assert seam.end(soft) is None
    assert seam.end(Codec.PCMU.silence()) is None
