"""Keys that we press: one after the other, in place of the agent's audio.

They go as telephone-event (RFC 4733), or as the tones themselves to a peer that knows none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from ingress_sip.rtp.parameters import EventFormat
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.rtp.telephone_event import END_PACKETS
from media.dtmf import event_code, tone
from media.frames import FRAME_MS, FRAME_SAMPLES, Codec
from media.g711 import pcm_to_ulaw

TONE_MS: Final = (40, 1000)
"""How long a key may be held. Q.24 asks of a receiver to hear 40 ms."""
LEAST_GAP_MS: Final = 40
MAX_DIGITS: Final = 64
"""That wait at a time."""

_PAUSES: Final = "w,"
"""Wait for half a second, as calls/actions.py has it."""
_PAUSE_MS: Final = 500
_SILENCE: Final = Codec.PCMU.silence()

Step = tuple[bytes, ...] | bytes
"""What leaves at a tick: datagrams, or a frame of mu-law to be sent as audio."""


class Dialler:
    """A queue of digits."""

    def __init__(self) -> None:
        self._queue: deque[tuple[str, int, int]] = deque()
        self._steps: Iterator[Step] = iter(())
        self._dialling = False

    @property
    def busy(self) -> bool:
        return self._dialling or bool(self._queue)

    def dial(self, digits: str, tone_ms: int = 100, gap_ms: int = 100) -> None:
        """Press these keys after those that wait; `w` and `,` are pauses of half a second.

        Raises ValueError for what is no digit, no length of one, or too many.
        """
        if not TONE_MS[0] <= tone_ms <= TONE_MS[1] or gap_ms < LEAST_GAP_MS:
            raise ValueError(f"digits of {tone_ms} ms with gaps of {gap_ms} ms")
        if len(self._queue) + len(digits) > MAX_DIGITS:
            raise ValueError(f"more than {MAX_DIGITS} digits")
        for digit in digits:
            if digit not in _PAUSES:
                event_code(digit)
        self._queue.extend((digit, tone_ms, gap_ms) for digit in digits)

    def next(self, sender: RtpSender, events: EventFormat | None, *, between: bool) -> Step | None:
        """What leaves at this tick in place of the agent's audio; None if no key is to press.

        `between`: no packet of audio is half full. The time of a key starts where audio's ended.
        """
        while True:
            step = next(self._steps, None)
            if step is not None:
                return step
            if not self._queue:
                self._dialling = False
                return None
            if not between:
                return _SILENCE if self._dialling else None
            self._dialling = True
            self._steps = _press(*self._queue.popleft(), sender, events)

    def interrupt(self) -> None:
        """Nothing can be sent now: the key that is pressed is let go."""
        self._steps = iter(())
        self._dialling = False


def _press(
    digit: str, tone_ms: int, gap_ms: int, sender: RtpSender, events: EventFormat | None
) -> Iterator[Step]:
    gap = -(-gap_ms // FRAME_MS)
    if digit in _PAUSES:
        gap = _PAUSE_MS // FRAME_MS
    elif events is not None:
        yield from sender.digit(
            digit,
            event_type=events.payload_type,
            duration_ms=tone_ms,
            event_clock=events.clock_rate,
        )
        gap -= END_PACKETS - 1
    else:
        ulaw = pcm_to_ulaw(tone(digit, tone_ms))
        for at in range(0, len(ulaw), FRAME_SAMPLES):
            yield ulaw[at : at + FRAME_SAMPLES].ljust(FRAME_SAMPLES, _SILENCE[:1])
    for _ in range(gap):
        yield _SILENCE
