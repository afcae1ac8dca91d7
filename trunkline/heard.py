"""What a phone heard: received RTP audio laid out on its own media clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from media.frames import Codec, Samples, to_samples
from media.g711 import decode, rms

#: Below this root mean square of 32768 a frame is silence: line noise and comfort noise, not words.
VOICE_RMS = 250
#: Nothing is kept of what arrives later: a softphone that nobody stops must not fill the memory.
MAX_SAMPLES = 8000 * 60 * 30

_WRAP = 1 << 32  # RTP timestamps, RFC 3550 5.1


class HeardAudio:
    """Collects payloads by RTP timestamp; written by the phone's thread, read by any.

    Args:
        clock: Monotonic time in s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._frames: dict[int, bytes] = {}
        self._first: int | None = None
        self._voice_at: float | None = None

    def take(self, timestamp: int, payload: bytes, codec: Codec) -> None:
        """Take one packet's audio. Late, doubled and reordered packets find their place."""
        pcm = decode(payload, codec)
        with self._lock:
            if self._first is None:
                self._first = timestamp
            # The signed distance from the first packet, whatever the wrap.
            place = (timestamp - self._first + _WRAP // 2) % _WRAP - _WRAP // 2
            if not 0 <= place < MAX_SAMPLES:
                return
            self._frames.setdefault(place, pcm)
            if rms(pcm) >= VOICE_RMS:
                self._voice_at = self._clock()

    def samples(self) -> Samples:
        """All that was heard so far, 8000 Hz; what never arrived is silence."""
        with self._lock:
            frames = sorted(self._frames.items())
        if not frames:
            return np.zeros(0, np.int16)
        last_place, last_pcm = frames[-1]
        audio = np.zeros(last_place + len(last_pcm) // 2, np.int16)
        for place, pcm in frames:
            audio[place : place + len(pcm) // 2] = to_samples(pcm)
        return audio

    def silent_for(self, since: float) -> float | None:
        """How long, in s, the other side has been silent after it spoke at or after `since`.

        Returns:
            None if it has not spoken since then.
        """
        with self._lock:
            voice_at = self._voice_at
        return self._clock() - voice_at if voice_at is not None and voice_at >= since else None
