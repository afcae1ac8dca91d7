"""How loud a frame is, in the unit that headers and meters use."""

from __future__ import annotations

from math import log10
from typing import Final

from media.frames import Samples, to_pcm
from media.g711 import rms

SILENT: Final = 127
"""Digital silence, and anything below -127 dBov."""
_OVERLOAD: Final = 32768


def level_dbov(audio: bytes | Samples) -> int:
    """The RMS of PCM or int16 samples in -dBov, 0 to 127 (RFC 6464 section 3; 0.5 us a frame).

    0 is a full-scale square wave, 3 a full-scale sine, 127 silence.
    """
    amplitude = rms(audio if isinstance(audio, bytes) else to_pcm(audio))
    return min(SILENT, round(-20 * log10(amplitude / _OVERLOAD))) if amplitude else SILENT
