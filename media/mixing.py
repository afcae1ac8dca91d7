"""Putting voices together: two sides into one stereo track, several sources into one."""

from __future__ import annotations

import numpy as np

from media.frames import Samples


def interleave(left: Samples, right: Samples) -> Samples:
    """Stereo samples L R L R of two mono tracks; the shorter one is followed by silence."""
    stereo = np.zeros((max(len(left), len(right)), 2), dtype=np.int16)
    stereo[: len(left), 0] = left
    stereo[: len(right), 1] = right
    return stereo.reshape(-1)
