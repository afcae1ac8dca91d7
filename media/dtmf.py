"""DTMF: the sixteen digits, their RFC 4733 event codes and their tones (ITU-T Q.23)."""

from __future__ import annotations

from typing import Final

import numpy as np

from media.frames import SAMPLE_RATE, Codec, samples_in, to_pcm

DIGITS: Final = "0123456789*#ABCD"
"""In the order of their event codes: DIGITS[code] is the digit (RFC 4733 section 3.2, table 3)."""

_ROWS: Final = (697, 770, 852, 941)
_COLUMNS: Final = (1209, 1336, 1477, 1633)
_KEYPAD: Final = "123A456B789C*0#D"

FREQUENCIES: Final = {
    digit: (_ROWS[place // 4], _COLUMNS[place % 4]) for place, digit in enumerate(_KEYPAD)
}
"""Digit -> (low, high) tone in Hz."""

FULL_SCALE_DBM0: Final = 3.17
"""A sine that just fits mu-law (ITU-T G.711, table 5)."""
_RAMP_MS: Final = 2


def event_code(digit: str) -> int:
    """The RFC 4733 event code of a digit. Raises ValueError for anything else."""
    if len(digit) != 1 or digit.upper() not in DIGITS:
        raise ValueError(f"{digit!r} is not one of {DIGITS}")
    return DIGITS.index(digit.upper())


def tone(digit: str, ms: int = 100, level_dbm0: float = -7.0) -> bytes:
    """PCM of one digit's two tones, each at `level_dbm0`, its edges ramped against clicks."""
    event_code(digit)
    time = np.arange(samples_in(ms)) / SAMPLE_RATE
    amplitude = 32767 * 10 ** ((level_dbm0 - FULL_SCALE_DBM0) / 20)
    low, high = FREQUENCIES[digit.upper()]
    wave = amplitude * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time))
    ramp = np.clip(np.arange(1, len(wave) + 1) / samples_in(_RAMP_MS), 0, 1)
    return to_pcm(wave * ramp * ramp[::-1])


def dial(digits: str, tone_ms: int = 100, gap_ms: int = 100) -> bytes:
    """PCM of several digits, each followed by a gap."""
    gap = Codec.L16.silence(samples_in(gap_ms))
    return b"".join(tone(digit, tone_ms) + gap for digit in digits)
