"""DTMF digits in RTP: telephone-event (RFC 4733).

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    |     event     |E|R| volume    |          duration             |

All packets of one event carry the timestamp of its start, so that is its identity: neither the
marker bit, which may be lost, nor the end packets, which come three times, decide what is new.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from ingress_sip.rtp.packet import RtpError, RtpPacket
from media.dtmf import DIGITS, event_code
from media.frames import FRAME_MS, SAMPLE_RATE
from media.listening.sequence import TIMESTAMPS, timestamp_delta

END_PACKETS: Final = 3
"""The last packet is sent this often in all (RFC 4733 section 2.5.1.4)."""
SILENT_MS: Final = 100.0
"""An event without an update for so long has ended, its end packets lost (section 2.5.2.2)."""

_EVENT: Final = struct.Struct("!BBH")
_END: Final = 0x80
_VOLUME: Final = 0x3F
_LONGEST: Final = 0xFFFF
_REMEMBERED: Final = 16
_MAX_PACKET_EVENTS: Final = 16


class TelephoneEvent(NamedTuple):
    """One event of a payload: `volume` in -dBm0 (0 to 63), `duration` so far in timestamp units."""

    event: int
    end: bool
    volume: int
    duration: int


class Digit(NamedTuple):
    """A key that was pressed, told once when it is let go."""

    digit: str
    duration_ms: int


def parse(payload: bytes) -> tuple[TelephoneEvent, ...]:
    """The events of one payload, usually one. Raises RtpError."""
    if not payload or len(payload) % _EVENT.size or len(payload) > _MAX_PACKET_EVENTS * _EVENT.size:
        raise RtpError(f"a telephone-event payload of {len(payload)} bytes")
    return tuple(
        TelephoneEvent(event, bool(flags & _END), flags & _VOLUME, duration)
        for event, flags, duration in _EVENT.iter_unpack(payload)
    )


def build(event: TelephoneEvent) -> bytes:
    """The payload of one event."""
    flags = (_END if event.end else 0) | event.volume & _VOLUME
    return _EVENT.pack(event.event, flags, event.duration)


def press(
    digit: str, duration_ms: int, volume: int = 10, clock_rate: int = SAMPLE_RATE
) -> Iterator[TelephoneEvent]:
    """The events to send for one digit, one every 20 ms tick, the last one to be sent three times.

    Raises ValueError for no digit, or one longer than a single event can be: 8.1 s at 8000 Hz.
    """
    code, whole = event_code(digit), duration_ms * clock_rate // 1000
    if not 0 < whole <= _LONGEST:
        raise ValueError(f"a digit of {duration_ms} ms")
    step = FRAME_MS * clock_rate // 1000
    for duration in range(step, whole, step):
        yield TelephoneEvent(code, False, volume, duration)
    yield TelephoneEvent(code, True, volume, whole)


class _Open(NamedTuple):
    event: int
    started: int  # timestamp of the whole event's start
    duration: int  # so far, in timestamp units, earlier segments included
    updated_ms: float


class DigitReader:
    """Turns the telephone-event packets of one stream into digits, each exactly once."""

    def __init__(self, clock_rate: int = SAMPLE_RATE) -> None:
        """`clock_rate` in Hz is that of telephone-event in the SDP."""
        self._clock_rate = clock_rate
        self._open: OrderedDict[int, _Open] = OrderedDict()  # by the current segment's timestamp
        self._done: OrderedDict[int, None] = OrderedDict()

    @property
    def pressed(self) -> bool:
        """Whether a key is held at the moment."""
        return bool(self._open)

    def push(self, packet: RtpPacket, arrival_ms: float) -> tuple[Digit, ...]:
        """Take a packet of the negotiated payload type; give the digits that it ends.

        Raises RtpError for a payload that holds no events.
        """
        digits: list[Digit] = []
        timestamp = packet.timestamp
        for event in parse(packet.payload):
            digits += self._event(event, timestamp, packet.marker, arrival_ms)
            # Section 2.5.1.5: events in one packet follow each other without a gap.
            timestamp = (timestamp + event.duration) % TIMESTAMPS
        return tuple(digits)

    def tick(self, now_ms: float) -> tuple[Digit, ...]:
        """Give the digits whose end packets were all lost; call it every 20 ms."""
        if not self._open:
            return ()
        silent = [key for key, held in self._open.items() if now_ms - held.updated_ms >= SILENT_MS]
        return tuple(digit for key in silent for digit in self._close(key))

    def _event(
        self, event: TelephoneEvent, timestamp: int, marker: bool, arrival_ms: float
    ) -> list[Digit]:
        if timestamp in self._done:
            return []
        digits: list[Digit] = []
        held = self._open.get(timestamp)
        if held is None:
            continued = None if marker else self._continued(event, timestamp)
            if continued is None:
                digits += self._close_before(timestamp)
            started = timestamp if continued is None else continued
            held = _Open(event.event, started, 0, arrival_ms)
        before = (timestamp - held.started) % TIMESTAMPS
        longest = max(held.duration, before + event.duration)
        self._open[timestamp] = held._replace(duration=longest, updated_ms=arrival_ms)
        if event.end:
            digits += self._close(timestamp)
        return digits

    def _continued(self, event: TelephoneEvent, timestamp: int) -> int | None:
        """The start of the event that this one goes on with, if any.

        Section 2.5.1.3: an event longer than 0xFFFF is cut into segments, each starting where the
        one before it ended, the later ones without the marker.
        """
        for key, held in self._open.items():
            if held.event == event.event and timestamp == (key + _LONGEST) % TIMESTAMPS:
                del self._open[key]
                self._remember(key)
                return held.started
        return None

    def _close_before(self, timestamp: int) -> list[Digit]:
        """A new key ends those before it: there is one finger on the keypad."""
        earlier = [key for key in self._open if timestamp_delta(timestamp, key) > 0]
        return [digit for key in earlier for digit in self._close(key)]

    def _close(self, key: int) -> list[Digit]:
        held = self._open.pop(key)
        self._remember(key)
        if held.event >= len(DIGITS):
            return []  # hook flash, modem and trunk events are no keys
        return [Digit(DIGITS[held.event], round(held.duration * 1000 / self._clock_rate))]

    def _remember(self, key: int) -> None:
        self._done[key] = None
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        while len(self._open) > _REMEMBERED:
            self._open.popitem(last=False)
