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


def mix(first: Samples, second: Samples) -> Samples:
    """The sum of two mono tracks, saturated at 16 bits; as long as the longer one."""
    total = np.zeros(max(len(first), len(second)), dtype=np.int32)
    total[: len(first)] += first
    total[: len(second)] += second
    mixed: Samples = np.clip(total, -32768, 32767).astype(np.int16)
    return mixed
