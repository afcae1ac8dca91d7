"""Where sound begins or breaks off in its midst: an edge in place of a step, which clicks.

Speech that is cut (it ran dry, somebody spoke over it) stops at whatever the wave was just at, and
goes on from there. Both edges are rounded within some milliseconds: the end by letting its last
ones die away, mirrored, in the frame after it; the beginning by raising it. What ends or begins
softly, as whole utterances do, stays as it is to the bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from media.frames import FRAME_SAMPLES, Codec, samples_in, to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm

#: How long an edge takes.
EDGE: Final = samples_in(4)
#: A step up to this is none: -36 dB of full scale.
SOFT: Final = 512
_RISE: Final = (1 - np.cos(np.pi * (np.arange(EDGE) + 0.5) / EDGE)) / 2
_SILENCE: Final = Codec.PCMU.silence(FRAME_SAMPLES - EDGE)


def begin(ulaw: bytes) -> bytes:
    """The first frame (160 bytes of mu-law) after silence."""
    edge = to_samples(ulaw_to_pcm(ulaw[:EDGE]))
    if _is_soft(edge[0]):
        return ulaw
    return pcm_to_ulaw(to_pcm(edge * _RISE)) + ulaw[EDGE:]


def end(ulaw: bytes) -> bytes | None:
    """What follows the last frame before silence: a frame that dies away, or None for silence."""
    edge = to_samples(ulaw_to_pcm(ulaw[-EDGE:]))[::-1]
    if _is_soft(edge[0]):
        return None
    return pcm_to_ulaw(to_pcm(edge * _RISE[::-1])) + _SILENCE


def _is_soft(sample: np.int16) -> bool:
    return abs(int(sample)) <= SOFT
