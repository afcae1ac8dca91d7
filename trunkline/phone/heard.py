"""What a phone heard of a call, from the packets alone: audio by its media clock, holes, waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from media import g711
from media.frames import Codec, Samples
from trunkline.phone.line import FRAME, Packet

#: Packets come every 20 ms. One that comes this long after the one before has emptied the buffer
#: of an ordinary phone (60 ms), which then plays silence. In s.
LATE_S: Final = 0.08

_WRAP: Final = 1 << 32
_NUMBERS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Heard:
    """A call's audio at 8000 Hz, from its first packet on, and what was wrong with its packets."""

    samples: Samples
    packets: int
    #: Packets that never came, by their numbers.
    lost: int
    #: Consecutive packets whose timestamps do not stand one frame apart.
    jumps: int
    #: The longest wait for a packet, and how often one came later than `LATE_S`. In ms.
    longest_wait_ms: float
    late: int


def listen(packets: Iterable[Packet]) -> Heard:
    """Lay packets out on their media clock; what never came is silence.

    Late, doubled and reordered packets find their place; a stream that starts anew (another SSRC)
    is not expected within a call.
    """
    came = list(packets)
    if not came:
        return Heard(np.zeros(0, np.int16), 0, 0, 0, 0.0, 0)
    first = came[0]
    places: dict[int, bytes] = {}
    numbers: set[int] = set()
    for packet in came:
        place = _signed(packet.timestamp - first.timestamp, _WRAP)
        if place >= 0:
            places.setdefault(place, packet.payload)
        numbers.add(_unwrapped(packet.sequence, first.sequence, len(numbers)))
    codes = np.full(max(places) + FRAME, 0xFF, np.uint8)
    for place, payload in places.items():
        codes[place : place + len(payload)] = np.frombuffer(payload, np.uint8)[: len(codes) - place]
    waits = [after.at - before.at for before, after in pairwise(came)]
    jumps = sum(
        _signed(after.sequence - before.sequence, _NUMBERS) == 1
        and _signed(after.timestamp - before.timestamp, _WRAP) != FRAME
        for before, after in pairwise(came)
    )
    return Heard(
        samples=g711.decode_batch(codes, Codec.PCMU),
        packets=len(came),
        lost=max(numbers) - min(numbers) + 1 - len(numbers),
        jumps=jumps,
        longest_wait_ms=round(max(waits, default=0.0) * 1000, 1),
        late=sum(wait > LATE_S for wait in waits),
    )


def _signed(difference: int, wrap: int) -> int:
    """A difference of counters that wrap, as the nearer of the two distances."""
    return (difference + wrap // 2) % wrap - wrap // 2


def _unwrapped(number: int, first: int, near: int) -> int:
    """A packet number counted from the first, past any wrap: the one nearest to `near`."""
    return near + _signed(number - first - near, _NUMBERS)
