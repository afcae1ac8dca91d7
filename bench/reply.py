"""One reply as it reaches the caller: when its tone began, and whether it had holes.

Judged without a jitter buffer: packets as they came from the wire, samples by their RTP timestamps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME = 160
#: Louder than this (of 32768) is the tone: its peak is 9000. Nothing else is sent to the caller.
TONE = 1200
#: Packets come every 20 ms: one that comes this long after the last has left the caller waiting.
LATE_MS = 60.0
#: Silence inside a reply, from this length on, is a gap: 10 ms. (The shortest is of 20, and what
#: broke off dies away within.)
GAP_SAMPLES = FRAME // 2

_HEADER = struct.Struct(">BBHII")


def _decode_table() -> NDArray[np.int16]:
    """PCM of each mu-law code (ITU-T G.711)."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


PCM_OF = _decode_table()
LOUD = np.abs(PCM_OF.astype(np.int32)) > TONE


class Packet(NamedTuple):
    """An RTP packet's number, timestamp and mu-law codes."""

    sequence: int
    timestamp: int
    codes: NDArray[np.uint8]


def parse(datagram: bytes) -> Packet | None:
    """Read an RTP packet of PCMU (RFC 3550 section 5.1); None for anything else."""
    if len(datagram) < _HEADER.size:
        return None
    first, second, sequence, timestamp, _ = _HEADER.unpack_from(datagram)
    if first >> 6 != 2 or second & 0x7F != 0:
        return None
    begin = _HEADER.size + 4 * (first & 0x0F)
    return Packet(sequence, timestamp, np.frombuffer(datagram, np.uint8, offset=begin))


@dataclass(slots=True)
class Reply:
    """Give it the packets from the first one with tone on. Times in s, of one clock."""

    #: When the packet with the first sample of tone came, and the last one with any.
    first_at: float = 0.0
    last_at: float = 0.0
    tone_samples: int = 0
    #: The longest silence between two samples of tone, in samples of the RTP clock.
    longest_silence: int = 0
    longest_wait_s: float = 0.0
    #: Packets whose number or timestamp did not follow the one before.
    breaks: int = 0
    hz: float = 0.0
    _last_tone: int = 0
    _arrived: float = 0.0
    _previous: Packet | None = None
    #: Since the last tone: it counts only if more tone follows.
    _wait_s: float = 0.0
    _breaks: int = field(default=0)

    def hear(self, packet: Packet, at: float) -> None:
        """Take the next packet as it came."""
        if self._previous is not None:
            self._wait_s = max(self._wait_s, at - self._arrived)
            number = (packet.sequence - self._previous.sequence) & 0xFFFF
            samples = (packet.timestamp - self._previous.timestamp) & 0xFFFFFFFF
            self._breaks += number != 1 or samples != len(self._previous.codes)
        self._previous, self._arrived = packet, at
        tone = np.flatnonzero(LOUD[packet.codes])
        if not len(tone):
            return
        places = packet.timestamp + tone
        if not self.first_at:
            self.first_at = at
            self._last_tone = int(places[0])
            self.hz = _frequency(packet.codes[tone[0] :])
        silences = np.diff(places, prepend=self._last_tone) & 0xFFFFFFFF
        # Around the tone's own zero crossings a few samples are always quiet.
        self.longest_silence = max(self.longest_silence, int(silences.max()) - 1)
        self.longest_wait_s = max(self.longest_wait_s, self._wait_s)
        self.breaks += self._breaks
        self._wait_s, self._breaks = 0.0, 0
        self._last_tone = int(places[-1])
        self.last_at = at
        self.tone_samples += int(silences[silences < GAP_SAMPLES].sum())

    @property
    def silence_ms(self) -> float:
        return self.longest_silence * 1000 / RATE

    @property
    def tone_ms(self) -> float:
        return self.tone_samples * 1000 / RATE

    @property
    def has_gap(self) -> bool:
        """Would a caller without a jitter buffer have heard a hole?"""
        late = self.longest_wait_s * 1000 > LATE_MS
        return self.breaks > 0 or late or self.longest_silence >= GAP_SAMPLES


def has_tone(packet: Packet) -> bool:
    return bool(LOUD[packet.codes].any())


def _frequency(codes: NDArray[np.uint8]) -> float:
    negative = PCM_OF[codes] < 0
    crossings = int(np.count_nonzero(negative[1:] != negative[:-1]))
    return crossings / 2 / max(1, len(codes) - 1) * RATE
