"""The jitter buffer: packets in as the network gives them, one 20 ms slot out at each tick.

The cursor is the next sample to play on the call's timeline. Two rules decide about time:

- An empty buffer holds the cursor. Whether the packet is late or lost is not known yet: a late
  one is still played, and the delay has grown by just what it lacked; a lost one is known by
  its successor, and what was concealed meanwhile counts towards its gap.
- Otherwise the delay is changed where nobody hears it: a slot is inserted or dropped where the
  caller is quiet. Only a delay much too long for two seconds is cut within speech, a slot a second.

Payloads wait as they came, and are decoded when their turn to be played comes: so a codec with a
memory is given its payloads in the order they were sent, and none that come too late.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from media.codec import Decoder, PayloadError
from media.frames import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, SAMPLE_BYTES, SAMPLE_RATE, Codec
from media.listening.delay import DelayEstimator
from media.listening.packet import Packet
from media.listening.timeline import Timeline

CAPACITY: Final = SAMPLE_RATE
"""Samples kept at most; what exceeds it is dropped from the front. A stall of our own fits in."""
MAX_PACKETS: Final = 128

_SAMPLES_MS: Final = SAMPLE_RATE / 1000
_HELD_SLOTS: Final = 4
"""So many slots of an empty buffer are concealed; then it is a pause."""
_REMEMBERED: Final = 512
"""Packet numbers known as seen; more than MAX_MISORDER."""
# How far off its target the delay must be for a slot to bring it nearer. From "little" to "long" is
# more than a slot, or inserting and dropping would take turns; what is longer than its target only
# by so much is left as it is for a packet that needs it.
_LITTLE_MS: Final = 15.0
_LONG_MS: Final = 10.0
_LONGER_MS: Final = 25.0
_MUCH_MS: Final = 60.0
# Where the delay is so far short, and the slowest packet of the window would be late, or nearly: a
# clock that is 500 ppm slow takes 4 s for what is spared here.
_SHORT_MS: Final = 5.0
_SPARE_MS: Final = 2.0
_PATIENCE_MS: Final = 2000.0
_CUT_EVERY_MS: Final = 1000.0
_AHEAD_SAMPLES: Final = 2 * FRAME_SAMPLES


class Frame(NamedTuple):
    """PCM to play (320 bytes). `spliced`: the slot before it was dropped, so smooth the seam."""

    pcm: bytes
    spliced: bool = False


class Missing(Enum):
    """Nothing to play where something should be: conceal it."""

    LOST = auto()
    """A later packet is here, this one is not."""
    LATE = auto()
    """The buffer ran empty."""
    STRETCH = auto()
    """Nothing is missing: the buffer inserts a slot, to be fuller from now on."""


class Nothing(Enum):
    """Nothing to play, and nothing is missing: silence."""

    NOT_YET = auto()
    """The first packets are still being gathered."""
    PAUSE = auto()
    """The sender is silent (DTX), has a key pressed, or has stopped."""


Slot = Frame | Missing | Nothing


class Ahead(NamedTuple):
    """What follows a gap: `pcm` (not empty), which begins `gap` samples after the last slot."""

    gap: int
    pcm: bytes


@dataclass(slots=True)
class JitterCounters:
    """Packets; the last three are slots of 20 ms."""

    received: int = 0
    lost: int = 0
    """Never came, by the numbers of those that were played."""
    bursts: int = 0
    """Runs of lost packets."""
    late: int = 0
    """Came after their slot had passed."""
    duplicate: int = 0
    reordered: int = 0
    """Came after a later one, and were played in their place."""
    rejected: int = 0
    """Fit nowhere: wild sequence numbers, or audio where there is audio."""
    garbled: int = 0
    """Were played as silence: the codec makes nothing of them."""
    overflow: int = 0
    """Dropped because the buffer was full."""
    concealed: int = 0
    stretched: int = 0
    shrunk: int = 0


@dataclass(slots=True)
class _Segment:
    number: int
    start: int
    end: int
    payload: bytes
    decoder: Decoder
    pcm: bytes | None = None  # once it was decoded


class JitterBuffer:
    """Reorders, times and counts one call's incoming audio.

    Packets of any codec and length come out as slots of 20 ms. Time is any clock in ms, the same
    in all calls. `quiet(pcm)` tells whether a slot may be dropped or doubled unheard.
    """

    def __init__(
        self,
        *,
        quiet: Callable[[bytes], bool],
        least_ms: float = 20.0,
        start_ms: float = 40.0,
        most_ms: float = 200.0,
    ) -> None:
        """The delay starts at `start_ms` and adapts between the other two."""
        self.counters = JitterCounters()
        self._quiet = quiet
        self._delay = DelayEstimator(least_ms=least_ms, start_ms=start_ms, most_ms=most_ms)
        self._timeline = Timeline()
        self._segments: list[_Segment] = []  # by number, which is also by start
        self._seen: list[int | None] = [None] * _REMEMBERED
        self._started = False
        self._playing = False
        self._paused = False
        self._cursor = 0
        self._played = 0
        self._first = 0
        self._held = 0
        self._cut_from_ms: float | None = None  # when speech may be cut, while there is too much

    @property
    def target_ms(self) -> float:
        """The delay aimed at, behind the fastest packet."""
        return self._delay.target_ms

    @property
    def depth_ms(self) -> float:
        """How much audio is waiting."""
        return self._depth() / _SAMPLES_MS

    def push(
        self,
        packet: Packet,
        arrival_ms: float,
        decoder: Decoder,
        clock_rate: int = SAMPLE_RATE,
    ) -> None:
        """Take an audio packet, its stream's decoder, and the clock of its timestamps in Hz.

        Raises PayloadError where the decoder says so at once.
        """
        samples = decoder.samples(packet.payload) if packet.payload else 0  # a keep-alive
        self.counters.received += 1
        number = self._number(packet)
        if number is None or not samples:
            return
        self._paused = False
        place = self._timeline.place(packet, number, arrival_ms, samples, clock_rate)
        if place is None:
            self.counters.rejected += 1
            return
        if place.broke:
            self._delay.clear()
        self._delay.push(place.transit_ms)
        end = place.start + samples
        if self._started and (number <= self._played or end <= self._cursor):
            self.counters.late += 1
            if self._first < number <= self._played:
                self.counters.lost -= 1  # it was thought so when it was passed
            return
        self._insert(_Segment(number, place.start, end, packet.payload, decoder))

    def skip(self, packet: Packet) -> None:
        """Take a packet of the same source without audio (telephone event, comfort noise).

        Its number is not missing then, and the gap it leaves in the audio is a pause.
        """
        if self._number(packet) is not None:
            self._paused = True

    def pop(self, now_ms: float) -> Slot:
        """The next 20 ms; to be called at every tick."""
        if not self._playing and not self._begin(now_ms):
            return Nothing.PAUSE if self._started else Nothing.NOT_YET
        while self._segments:
            gap = self._gap()
            if gap is not None:
                return gap
            pcm = self._peek()
            if pcm is not None:
                return self._timed(pcm, now_ms)
            if self._run_end() == len(self._segments):
                break  # the rest of this slot may still come
            self._drop_front()  # less than a slot, then a gap: it joins the gap
        return self._starve()

    def ahead(self) -> Ahead | None:
        """What is here of the sound after the slot popped last, up to 40 ms of it."""
        if not self._segments:
            return None
        gap = max(self._segments[0].start - self._cursor, 0)
        start = max(self._cursor, self._segments[0].start)
        pcm, end = b"", self._segments[0].start
        for segment in self._segments:
            if segment.start > end or segment.start >= start + _AHEAD_SAMPLES:
                break
            pcm, end = pcm + self._decoded(segment), segment.end
        first = (start - self._segments[0].start) * SAMPLE_BYTES
        pcm = pcm[first : first + _AHEAD_SAMPLES * SAMPLE_BYTES]
        return Ahead(gap, pcm) if pcm else None

    def _number(self, packet: Packet) -> int | None:
        number = self._timeline.number(packet)
        if number is None:
            self.counters.rejected += 1
            return None
        if self._seen[number % _REMEMBERED] == number:
            self.counters.duplicate += 1
            return None
        self._seen[number % _REMEMBERED] = number
        return number

    def _insert(self, segment: _Segment) -> None:
        segments = self._segments
        if not segments or segment.number > segments[-1].number:
            segments.append(segment)
        else:
            at = bisect_left(segments, segment.number, key=lambda each: each.number)
            before = segments[at - 1].end if at else segment.start
            if not before <= segment.start <= segment.end <= segments[at].start:
                self.counters.rejected += 1
                return
            segments.insert(at, segment)
            self.counters.reordered += 1
        while len(segments) > 1 and (len(segments) > MAX_PACKETS or self._depth() > CAPACITY):
            self._drop_front()
            self.counters.overflow += 1
            self._cursor = max(self._cursor, segments[0].start)

    def _depth(self) -> int:
        if not self._segments:
            return 0
        start = self._segments[0].start
        if self._started:
            start = max(start, self._cursor)
        return self._segments[-1].end - start

    def _begin(self, now_ms: float) -> bool:
        """Whether a talkspurt begins at this tick: the one nearest to its due time."""
        if not self._segments:
            return False
        front = self._segments[0]
        due = front.start / _SAMPLES_MS + self._delay.base_ms + self._delay.target_ms
        if now_ms + FRAME_MS / 2 < due:
            return False
        if not self._started:
            self._first = self._played = front.number - 1
        elif front.start - self._cursor >= self._held * FRAME_SAMPLES:
            self._forgive(self._held)
        self._held = 0
        self._cursor = max(self._cursor, front.start) if self._started else front.start
        self._playing = self._started = True
        return True

    def _gap(self) -> Missing | Nothing | None:
        """What to play if the front is ahead of the cursor; None if it is not, or hardly."""
        front = self._segments[0]
        if front.start <= self._cursor:
            return None
        covered = min(self._held, -(-(front.start - self._cursor) // FRAME_SAMPLES))
        self._forgive(covered)
        self._held = 0
        self._cursor = min(self._cursor + covered * FRAME_SAMPLES, front.start)
        if front.start - self._cursor < FRAME_SAMPLES // 2:
            self._cursor = front.start
            return None
        self._cursor = min(self._cursor + FRAME_SAMPLES, front.start)
        if self._missing_before(front.number):
            self.counters.concealed += 1
            return Missing.LOST
        # No number is missing: the sender was silent. The next talkspurt is timed afresh.
        self._playing = False
        return Nothing.PAUSE

    def _peek(self) -> bytes | None:
        """The slot at the cursor, if all of it is here."""
        front = self._segments[0]
        at = (self._cursor - front.start) * SAMPLE_BYTES
        if self._cursor + FRAME_SAMPLES <= front.end:
            # Bytes give back themselves when the slice is all of them: no copy for 20 ms packets.
            return self._decoded(front)[at : at + FRAME_BYTES]
        run = self._segments[: self._run_end()]
        if run[-1].end < self._cursor + FRAME_SAMPLES:
            return None
        return b"".join(self._decoded(segment) for segment in run)[at : at + FRAME_BYTES]

    def _decoded(self, segment: _Segment) -> bytes:
        if segment.pcm is None:
            try:
                segment.pcm = segment.decoder.decode(segment.payload)
            except PayloadError:
                self.counters.garbled += 1
                segment.pcm = Codec.L16.silence(segment.end - segment.start)
        return segment.pcm

    def _run_end(self) -> int:
        """How many segments from the front join without a gap, as far as a slot reaches."""
        count, end = 1, self._segments[0].end
        while (
            count < len(self._segments)
            and end < self._cursor + FRAME_SAMPLES
            and self._segments[count].start <= end
        ):
            end = self._segments[count].end
            count += 1
        return count

    def _timed(self, pcm: bytes, now_ms: float) -> Slot:
        """The slot to play, or a slot inserted before it, or the one after it."""
        self._held = 0
        delay = now_ms - self._cursor / _SAMPLES_MS - self._delay.base_ms
        excess = delay - self._delay.target_ms
        slowest_ms = self._delay.spread_ms + _SPARE_MS
        # A sender whose clock is slow eats up the delay: it is given back before it is gone.
        short = delay < slowest_ms and excess < -_SHORT_MS
        if (short or excess < -_LITTLE_MS) and self._quiet(pcm):
            self.counters.stretched += 1
            return Missing.STRETCH
        self._consume()
        if excess <= _MUCH_MS:
            self._cut_from_ms = None
        elif self._cut_from_ms is None:
            self._cut_from_ms = now_ms + _PATIENCE_MS
        needed = slowest_ms > delay - FRAME_MS
        if excess <= (_LONGER_MS if needed else _LONG_MS):
            return Frame(pcm)
        adjoins = self._segments and self._segments[0].start <= self._cursor
        following = self._peek() if adjoins else None
        if following is None:
            return Frame(pcm)
        if not self._quiet(pcm):
            if self._cut_from_ms is None or now_ms < self._cut_from_ms:
                return Frame(pcm)
            self._cut_from_ms = now_ms + _CUT_EVERY_MS
        self._consume()
        self.counters.shrunk += 1
        return Frame(following, spliced=True)

    def _starve(self) -> Missing | Nothing:
        if self._paused or self._held >= _HELD_SLOTS:
            self._playing = False
            while self._segments:
                self._drop_front()  # the end of a packet that does not fill a slot
            return Nothing.PAUSE
        self._held += 1
        self.counters.concealed += 1
        return Missing.LATE

    def _consume(self) -> None:
        self._cursor += FRAME_SAMPLES
        while self._segments and self._segments[0].end <= self._cursor:
            self._drop_front()
        if self._segments and self._segments[0].start < self._cursor:
            self._pass(self._segments[0].number)

    def _drop_front(self) -> None:
        self._pass(self._segments[0].number)
        del self._segments[0]

    def _pass(self, number: int) -> None:
        """Play on to this packet: those before it that never came are lost."""
        if number > self._played + 1:
            missing = self._missing_before(number)
            self.counters.lost += missing
            self.counters.bursts += missing > 0
        self._played = max(self._played, number)

    def _missing_before(self, number: int) -> int:
        gap = range(self._played + 1, number)
        known = gap[-_REMEMBERED:]
        return len(gap) - sum(self._seen[each % _REMEMBERED] == each for each in known)

    def _forgive(self, slots: int) -> None:
        """What an empty buffer concealed was a pause, if no number is missing."""
        if slots and not self._missing_before(self._segments[0].number):
            self.counters.concealed -= slots
