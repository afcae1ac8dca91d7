"""A caller: a person who says something, lets the other side answer and finish, and goes on.

GREETED --quiet--> PAUSE --> SPEAK --> WAIT --voice--> LISTEN --quiet--> PAUSE ...
                                        '--nothing for too long--> PAUSE
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from media.g711 import rms, ulaw_to_pcm
from trunkline.phone.line import SILENCE, Line, Packet
from trunkline.phone.uac import Address, CallFailedError, Uac

#: Above this root mean square (of 32768) a packet is voice: line noise is less, words are more.
VOICE_RMS: Final = 250
#: Between an answer and what is said next, s: random, so that callers do not stay in step.
_PAUSE_S: Final = (0.1, 0.6)

Frames = Sequence[bytes]


class _Phase(Enum):
    GREETED = auto()
    PAUSE = auto()
    SPEAK = auto()
    WAIT = auto()
    LISTEN = auto()


@dataclass(slots=True)
class Said:
    """Something the caller said. Times are of the wall clock, s."""

    #: Which of the recordings.
    recording: int
    began_at: float
    ended_at: float = 0.0
    #: When the first voice of an answer came; None if there was none.
    answered_at: float | None = None
    #: When the answer was over.
    over_at: float | None = None


@dataclass(frozen=True, slots=True)
class Manners:
    """How a caller behaves. All in s."""

    #: Silence after which the other side has finished.
    quiet_s: float = 2.5
    #: How long it waits for an answer to begin, and for the greeting.
    patience_s: float = 12.0
    #: How long it lets an answer go on.
    longest_s: float = 60.0


@dataclass(slots=True)
class Story:
    """What became of a call, from the caller's side. Times are of the wall clock, s."""

    name: str
    call_id: str = ""
    said: list[Said] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    answered_at: float | None = None
    #: When the caller hung up; None if it did not come to that.
    hung_up_at: float | None = None
    #: Why the call ended before the caller wanted it to; "" if it did not.
    dropped: str = ""


class Caller:
    """One call."""

    def __init__(
        self, name: str, recordings: Sequence[Frames], manners: Manners, seed: int
    ) -> None:
        """`recordings` are what it says, in its own random order; frames of 160 bytes of PCMU."""
        self.story = Story(name)
        self._recordings = recordings
        self._manners = manners
        self._random = random.Random(seed)  # noqa: S311  # repeatable, not secret
        self._bag: list[int] = []
        self._line = Line(self._heard)
        self._phase = _Phase.GREETED
        self._since = 0.0
        self._pause_s = 0.0
        self._voice_at: float | None = None
        self._frames: list[bytes] = []
        self._last = False
        self._uac: Uac | None = None

    @property
    def over(self) -> bool:
        """Nothing more is said: it is time to hang up, or the far end did."""
        return bool(self.story.dropped) or (
            self._last and self._phase is _Phase.PAUSE and self.story.answered_at is not None
        )

    async def dial(self, server: Address, called: str) -> bool:
        """Place the call. False when it did not come about."""
        self._uac = Uac(server, called, self.story.name, self._hung_up_on)
        self.story.call_id = self._uac.call_id
        try:
            await self._uac.open()
            to = await self._uac.invite(self._line.port)
        except CallFailedError as error:
            self.story.dropped = str(error)
            return False
        self._since = self.story.answered_at = time.time()
        self._line.open(to)
        return True

    def finish(self) -> None:
        """Say nothing new: let the answer end."""
        self._last = True

    async def hang_up(self) -> None:
        """End the call, unless the far end did."""
        if self._uac is None:
            return
        if not self.story.dropped:
            self.story.hung_up_at = time.time()
            try:
                await self._uac.bye()
            except CallFailedError as error:
                self.story.dropped = str(error)
        self.story.packets = self._line.packets
        self._line.close()
        self._uac.close()

    def tick(self) -> None:
        """20 ms have passed: send a frame."""
        if self.story.answered_at is None or self.story.dropped or self.story.hung_up_at:
            return
        now = time.time()
        self._advance(now)
        self._line.send(self._frames.pop() if self._frames else SILENCE)
        if self._phase is _Phase.SPEAK and not self._frames:
            self.story.said[-1].ended_at = now
            self._go(_Phase.WAIT, now)

    def _advance(self, now: float) -> None:
        waited = now - self._since
        quiet = self._voice_at is not None and now - self._voice_at > self._manners.quiet_s
        match self._phase:
            case _Phase.GREETED if quiet or (
                self._voice_at is None and waited > self._manners.patience_s
            ):
                self._rest(now)
            case _Phase.PAUSE if waited > self._pause_s and not self._last:
                self._speak(now)
            case _Phase.WAIT if waited > self._manners.patience_s:
                self._rest(now)
            case _Phase.LISTEN if quiet or waited > self._manners.longest_s:
                self.story.said[-1].over_at = self._voice_at
                self._rest(now)
            case _:
                pass

    def _speak(self, now: float) -> None:
        if not self._bag:
            self._bag = self._random.sample(range(len(self._recordings)), len(self._recordings))
        recording = self._bag.pop()
        self._frames = list(self._recordings[recording])[::-1]
        self.story.said.append(Said(recording, now))
        self._go(_Phase.SPEAK, now)

    def _rest(self, now: float) -> None:
        self._pause_s = self._random.uniform(*_PAUSE_S)
        self._go(_Phase.PAUSE, now)

    def _go(self, phase: _Phase, now: float) -> None:
        self._phase, self._since = phase, now

    def _heard(self, packet: Packet) -> None:
        if rms(ulaw_to_pcm(packet.payload)) < VOICE_RMS:
            return
        self._voice_at = packet.at
        if self._phase is _Phase.WAIT and packet.at > self.story.said[-1].ended_at:
            self.story.said[-1].answered_at = packet.at
            self._go(_Phase.LISTEN, packet.at)

    def _hung_up_on(self) -> None:
        if self.story.hung_up_at is None:
            self.story.dropped = "hung up by the far end"
