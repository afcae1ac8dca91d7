"""Packet-loss concealment: what is lost is made of what came before it, and of what comes after.

- With the sound after the gap already in the jitter buffer, which is the rule, the gap is filled
  from both sides: the sound before it goes on, the sound after it is led up to, each by its own
  pitch periods, and the one fades into the other. Where they agree the sum keeps its level, and so
  it does where they do not (two unrelated sounds would sink by 3 dB in the middle).
- Without it, the sound before the gap goes on, and fades to silence within 80 ms: no vowel is held
  for ever. When real audio returns, it is blended in.

ITU-T G.711 appendix I has the second only, and delays all audio by 3.75 ms for it; nothing here
adds delay. Measured against repetition and silence: bench/concealment.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from media.frames import (
    FRAME_BYTES,
    FRAME_SAMPLES,
    SAMPLE_BYTES,
    SILENCE,
    samples_in,
    to_pcm,
    to_samples,
)
from media.listening.jitter import Ahead
from media.listening.pitch import LEAST_PAST, LONGEST, TEMPLATE, Floats, continued

_HISTORY: Final = TEMPLATE + LONGEST + samples_in(10)
_SILENT: Final = samples_in(80)
_BLEND: Final = samples_in(10)
_LONGEST_GAP: Final = samples_in(200)
"""A longer one is not filled from its end: it would be silent between in any case."""


class Concealer:
    """Fills the gaps of one stream of PCM frames (20 ms, 320 bytes). No delay is added."""

    def __init__(self) -> None:
        self._history = bytes(_HISTORY * SAMPLE_BYTES)
        self._filled: list[bytes] = []  # this gap's, to become history when it ends
        self._lost = 0  # samples concealed in this gap
        self._forward: Floats = np.zeros(0)  # how the sound before the gap goes on
        self._plan: Floats = np.zeros(0)  # what the rest of the gap is filled with
        self._awaited = b""  # what the plan leads up to

    def receive(self, frame_pcm: bytes, *, spliced: bool = False) -> bytes:
        """Pass a frame that arrived; after a gap its start is blended with what filled the gap.

        `spliced` says that a frame before this one was dropped on purpose, and asks for the same
        blending. Raises ValueError for another size than 320 bytes.
        """
        if len(frame_pcm) != FRAME_BYTES:
            raise ValueError(f"a frame is {FRAME_BYTES} bytes of PCM, not {len(frame_pcm)}")
        if self._lost or spliced:
            if not self._adjoins(frame_pcm):
                frame_pcm = self._blended(frame_pcm)
            self._history = (self._history + b"".join(self._filled))[-_HISTORY * SAMPLE_BYTES :]
            self._end()
        self._history = (self._history + frame_pcm)[-_HISTORY * SAMPLE_BYTES :]
        return frame_pcm

    def conceal(self, ahead: Ahead | None = None) -> bytes:
        """A frame for one that is missing; `ahead` is the sound after the gap, where it is known.

        Of a longer gap the frames after this one are asked for in their turn.
        """
        if not len(self._plan) and ahead is not None:
            self._make_plan(ahead)
        if len(self._plan):
            frame = to_pcm(self._plan[:FRAME_SAMPLES])
            self._plan = self._plan[FRAME_SAMPLES:]
        elif self._lost >= _SILENT:
            return SILENCE
        else:
            frame = to_pcm(self._faded(FRAME_SAMPLES))
            self._awaited = b""
        self._lost += FRAME_SAMPLES
        self._filled.append(frame)
        return frame

    def reset(self) -> None:
        """A pause began: nothing from before it may come back."""
        self._history = bytes(_HISTORY * SAMPLE_BYTES)
        self._end()

    def _end(self) -> None:
        """The gap is over."""
        self._filled = []
        self._lost = 0
        self._forward = self._plan = np.zeros(0)
        self._awaited = b""

    def _make_plan(self, ahead: Ahead) -> None:
        """Fill the gap from both sides, from this frame on."""
        count = FRAME_SAMPLES + ahead.gap
        after = to_samples(ahead.pcm).astype(np.float64)
        if len(after) < LEAST_PAST or self._lost + count > _LONGEST_GAP:
            return
        forward = self._faded(count)
        # What leads up to a sound is what goes on from it with time reversed.
        backward = (continued(after[::-1], count) * _fade(0, count))[::-1]
        rising = np.arange(1, count + 1) / (count + 1)
        falling = 1 - rising
        likeness = max(_cosine(forward, backward), 0.0)
        level = np.sqrt(rising**2 + falling**2 + 2 * likeness * rising * falling)
        self._plan = (forward * falling + backward * rising) / level
        self._awaited = ahead.pcm

    def _adjoins(self, frame_pcm: bytes) -> bool:
        """Whether this is the sound that the gap's last frame led up to."""
        return not len(self._plan) and bool(self._awaited) and self._awaited.startswith(frame_pcm)

    def _blended(self, frame_pcm: bytes) -> bytes:
        if len(self._plan) >= _BLEND:
            tail = self._plan[:_BLEND]
        elif self._awaited:  # the plan's last frame led up to something else
            tail = continued(to_samples(self._recent()).astype(np.float64), _BLEND)
        else:
            tail = self._faded(_BLEND)
        rising = np.arange(1, _BLEND + 1) / (_BLEND + 1)
        frame = to_samples(frame_pcm).astype(np.float64)
        frame[:_BLEND] = frame[:_BLEND] * rising + tail * (1 - rising)
        return to_pcm(frame)

    def _faded(self, count: int) -> Floats:
        """The next samples of the sound before the gap, as it dies away."""
        if not len(self._forward):
            past = to_samples(self._history).astype(np.float64)
            self._forward = continued(past, _LONGEST_GAP + _BLEND)
        faded: Floats = self._forward[self._lost :][:count] * _fade(self._lost, count)
        return faded

    def _recent(self) -> bytes:
        return (self._history + b"".join(self._filled))[-_HISTORY * SAMPLE_BYTES :]


def _fade(since: int, count: int) -> Floats:
    """How loud a sound still is, 1 to 0, from `since` samples after it was last heard on."""
    faded: Floats = np.maximum(1.0 - np.arange(since, since + count) / _SILENT, 0.0)
    return faded


def _cosine(one: Floats, other: Floats) -> float:
    return float((one @ other) / np.sqrt((one @ one + 1.0) * (other @ other + 1.0)))
