"""The agent's 20 ms frames, cut anew into packets of the length and codec that the peer asked for.

Packets leave with the tick that completes them, one clock for all calls. So packets of 10 ms leave
two by two, ten ms before the second is due, which any jitter buffer takes up; those of 40 and 60 ms
leave at every second and third tick; those of 30 ms after two ticks, then one, 20 ms early or late
at most.
"""

from __future__ import annotations

from media.encoding import Encoding
from media.frames import FRAME_MS, SAMPLE_BYTES, samples_in
from media.g711 import ulaw_to_pcm
from media.opus import FRAMES_MS


class Packetizer:
    """Makes the payloads of one stream."""

    def __init__(self, encoding: Encoding, ptime_ms: int) -> None:
        """`ptime_ms` is 10, 20, 30, 40 or 60; Opus has no frames of 30. 20 for anything else."""
        if ptime_ms not in FRAMES_MS and (ptime_ms != 30 or encoding is Encoding.OPUS):
            ptime_ms = FRAME_MS
        self.samples = samples_in(ptime_ms)
        """The length of a payload, at 8000 Hz."""
        self._encoder = encoding.encoder(ptime_ms)
        self._as_is = encoding is Encoding.PCMU and ptime_ms == FRAME_MS
        self._pcm = b""

    @property
    def held(self) -> int:
        """Samples that wait for a packet to be full."""
        return len(self._pcm) // SAMPLE_BYTES

    def push(self, ulaw: bytes) -> tuple[bytes, ...]:
        """Take a frame (160 bytes of mu-law); give the payloads that are complete."""
        if self._as_is:
            return (ulaw,)
        pcm = self._pcm + ulaw_to_pcm(ulaw)
        size = self.samples * SAMPLE_BYTES
        whole = len(pcm) - len(pcm) % size
        self._pcm = pcm[whole:]
        return tuple(self._encoder.encode(pcm[at : at + size]) for at in range(0, whole, size))

    def drop(self) -> int:
        """Forget what is held, for nothing is sent now: how many samples that was."""
        held, self._pcm = self.held, b""
        return held
