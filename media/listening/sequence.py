"""Arithmetic on numbers that wrap: sequence numbers (16 bits) and timestamps (32 bits)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

SEQUENCES: Final = 1 << 16
TIMESTAMPS: Final = 1 << 32

MAX_DROPOUT: Final = 3000
"""A jump ahead of fewer packets than this is loss (RFC 3550 appendix A.1)."""
MAX_MISORDER: Final = 100
"""A step back of fewer packets than this is reordering (RFC 3550 appendix A.1)."""


def sequence_delta(later: int, earlier: int) -> int:
    """How far `later` is ahead, -32768 to 32767: the shorter way round."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """How far `later` is ahead, -2**31 to 2**31 - 1: the shorter way round."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class Arrival(Enum):
    """What a sequence number says about its packet."""

    NEXT = auto()
    """Newer than all before it, with or without a gap."""
    OLDER = auto()
    """Reordered or repeated."""
    JUMP = auto()
    """Out of all range: not to be used unless the one after it confirms it."""
    RESTART = auto()
    """The second in a row after a jump: the source began anew."""


class SequenceCounter:
    """Extends the 16-bit sequence numbers of one source across their wraps (RFC 3550 A.1).

    `highest` is the extended number of the newest packet, `first` that of the first one since the
    last restart. Probation (MIN_SEQUENTIAL) is left out: a call's first packet is already audio,
    and its source was named in the SDP.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self.highest = first
        self._expected_after_jump: int | None = None

    def update(self, sequence: int) -> Arrival:
        """Take the sequence number of the next packet, the first one's included."""
        ahead = (sequence - self.highest) & 0xFFFF
        if 0 < ahead < MAX_DROPOUT:
            self.highest += ahead
            self._expected_after_jump = None
            return Arrival.NEXT
        if ahead == 0 or ahead > SEQUENCES - MAX_MISORDER:
            return Arrival.OLDER
        if sequence == self._expected_after_jump:
            # "Two sequential packets -- assume that the other side restarted without telling us"
            self.first = self.highest = sequence
            self._expected_after_jump = None
            return Arrival.RESTART
        self._expected_after_jump = (sequence + 1) & 0xFFFF
        return Arrival.JUMP

    def extend(self, sequence: int) -> int:
        """The extended number of a packet near the newest one."""
        return self.highest + sequence_delta(sequence, self.highest & 0xFFFF)

    @property
    def expected(self) -> int:
        """Packets that should have come since `first` (RFC 3550 appendix A.3)."""
        return self.highest - self.first + 1
