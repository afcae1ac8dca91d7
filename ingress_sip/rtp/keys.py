"""The caller's keys, each told once, however they come: as telephone-event, or by their sound.

A peer that sends telephone-event sends its keys no other way; of the sound of a key some of it may
come along all the same, before the gateway has recognised it and muted the line. So the first
packet of an event ends the listening for tones, and a tone that was told just before is that event.
"""

from __future__ import annotations

from typing import Final

from ingress_sip.rtp.packet import RtpPacket
from ingress_sip.rtp.telephone_event import Digit, DigitReader
from media.dtmf_detector import DtmfDetector

_SAME_MS: Final = 1000.0
"""A tone and the beginning of an event so near to each other are one key."""


class Keys:
    """One call's keys."""

    def __init__(self, *, tones: bool) -> None:
        """`tones`: listen for them."""
        self._readers: dict[int, DigitReader] = {}  # by clock rate
        self._detector = DtmfDetector() if tones else None
        self._toned: tuple[str, float] | None = None

    def event(self, packet: RtpPacket, clock_rate: int, arrival_ms: float) -> tuple[Digit, ...]:
        """Take a packet of telephone-event; give the keys that it says were let go.

        Raises RtpError for a payload that holds no events.
        """
        reader = self._readers.get(clock_rate)
        if reader is None:
            reader = self._readers[clock_rate] = DigitReader(clock_rate)
        digits = reader.push(packet, arrival_ms)
        self._detector = None
        return self._untold(digits, arrival_ms) if self._toned else digits

    def tick(self, now_ms: float, pcm: bytes) -> tuple[Digit, ...]:
        """Take the caller's 20 ms; give the keys that ended without an end packet, or a tone."""
        digits: tuple[Digit, ...] = ()
        for reader in self._readers.values():
            digits += reader.tick(now_ms)
        if digits and self._toned:
            digits = self._untold(digits, now_ms)
        tone = self._detector.push(pcm) if self._detector else None
        if tone is None:
            return digits
        self._toned = tone.digit, now_ms
        return (*digits, Digit(tone.digit, tone.duration_ms))

    def _untold(self, digits: tuple[Digit, ...], now_ms: float) -> tuple[Digit, ...]:
        """Without the one that was heard by its tone already."""
        for place, digit in enumerate(digits):
            key, told_ms = self._toned or ("", 0.0)
            self._toned = None
            if digit.digit == key and now_ms - digit.duration_ms - told_ms < _SAME_MS:
                return digits[:place] + digits[place + 1 :]
        return digits
