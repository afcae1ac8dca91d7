"""One endless line of packets and samples, out of a stream that wraps, restarts and jumps.

The numbers given here only ever go on: a new SSRC, a restarted numbering or timestamps that jump
continue where the newest packet before them ended, so what was received before is still played.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from media.frames import SAMPLE_RATE
from media.listening.packet import Packet
from media.listening.sequence import Arrival, SequenceCounter, timestamp_delta

BREAK_MS: Final = 400.0
"""A transit that changes by more from one packet to the next means that the timestamps jumped."""

_SAMPLES_MS: Final = SAMPLE_RATE / 1000


class Place(NamedTuple):
    """Where a packet's audio stands: `start` in samples, `transit_ms` its arrival less its start.

    `broke`: the line was mended just before it, so transits from before mean nothing now.
    """

    start: int
    transit_ms: float
    broke: bool


class Timeline:
    """Numbers the packets of one call's incoming audio, and places them: in samples at 8000 Hz."""

    def __init__(self) -> None:
        self.newest = 0
        """Number of the newest packet; the first one has 1."""
        self.edge = 0
        """The sample after the newest packet's last."""
        self._ssrc: int | None = None
        self._counter = SequenceCounter(0)
        self._offset = 0
        self._broken = True
        self._placed = 0  # number of the newest packet with audio; the next four are its own
        self._clock_rate = 0
        self._timestamp = 0
        self._start = 0
        self._transit_ms = 0.0

    def number(self, packet: Packet) -> int | None:
        """The packet's number, repeated for a duplicate; None if it is not to be used."""
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._counter = SequenceCounter(packet.sequence)
            return self._mend()
        verdict = self._counter.update(packet.sequence)
        if verdict is Arrival.NEXT:
            self.newest = self._offset + self._counter.highest
            return self.newest
        if verdict is Arrival.RESTART:
            return self._mend()
        if verdict is Arrival.JUMP:
            return None
        return self._offset + self._counter.extend(packet.sequence)

    def place(
        self, packet: Packet, number: int, arrival_ms: float, samples: int, clock_rate: int
    ) -> Place | None:
        """Where a numbered packet's audio stands, `samples` long; None if its timestamp, which
        counts at `clock_rate` Hz, contradicts that.
        """
        delta = timestamp_delta(packet.timestamp, self._timestamp)
        start = self._start + delta * SAMPLE_RATE // clock_rate
        transit_ms = arrival_ms - start / _SAMPLES_MS
        if number < self._placed:
            # What an earlier codec's clock counted (RFC 7160) has no place beside this one's.
            if clock_rate != self._clock_rate or start + samples > self._start:
                return None
            return Place(start, transit_ms, broke=False)
        self._placed = number
        if clock_rate != self._clock_rate:
            self._clock_rate, self._broken = clock_rate, True
        broke = self._broken or abs(transit_ms - self._transit_ms) > BREAK_MS
        if broke or start < self.edge:  # what is newer never starts within what is older
            start = self.edge
            transit_ms = arrival_ms - start / _SAMPLES_MS
        self._broken = False
        self._timestamp, self._start, self._transit_ms = packet.timestamp, start, transit_ms
        self.edge = start + samples
        return Place(start, transit_ms, broke)

    def _mend(self) -> int:
        self.newest += 1
        self._offset = self.newest - self._counter.highest
        self._broken = True
        return self.newest
