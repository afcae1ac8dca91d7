"""One caller: an RTP stream that says a recording, hears the answer out, and says the next one.

Frames leave at exact multiples of 20 ms since the call's first. A turn's voice-to-voice time runs
from the moment its last speech frame was sent to the arrival of the packet that holds the reply's
first sample of tone.

A caller that barges in speaks over each reply once it has heard it for a while, and hears the
answer to that out. The reaction time runs from the moment the first speech frame over the reply was
sent to the arrival of the last packet with tone of that reply.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import struct
import time
from dataclasses import dataclass, field
from enum import Enum, auto

from reply import FRAME, Reply, has_tone, parse
from speech import SILENCE

from trunkline.phone.uac import Address, CallFailedError, Uac

FRAME_S = 0.02
#: A reply has ended when its tone has been away for this long.
QUIET_S = 0.5
NO_REPLY_S = 8.0
#: Between two turns, s: random, so that the calls do not stay in step.
PAUSE_S = (0.1, 0.6)
#: Tone that comes back after it was away for so long has not stopped, but paused.
_RESUMED_S = 0.2
#: The agent has not heard the caller who is spoken over for so long.
_HEARD_S = 1.5

_RTP = struct.Struct(">BBHII")
clock = time.monotonic


class Phase(Enum):
    PAUSE = auto()
    SPEAK = auto()
    WAIT = auto()
    LISTEN = auto()
    BARGE = auto()


@dataclass(slots=True)
class Barge:
    """Speaking over a reply: when it began, and when that reply was last heard."""

    began: float = 0.0
    tone_at: float = 0.0
    resumed: bool = False


@dataclass(slots=True)
class Turn:
    began: float
    #: Which of the recordings was said.
    recording: int
    ended: float = 0.0
    #: The wall clock at `ended`, ms since 1970: finds the turn in the call's log.
    ended_wall_ms: float = 0.0
    reply: Reply = field(default_factory=Reply)
    barge: Barge | None = None
    answered_early: bool = False


class Window:
    """Turns that begin before it do not count; after it none begin."""

    def __init__(self) -> None:
        self.begin = float("inf")
        self.end = float("inf")


class Caller(asyncio.DatagramProtocol):
    """One call. Its RTP socket is this protocol."""

    def __init__(
        self,
        number: int,
        name: str,
        recordings: list[list[bytes]],
        window: Window,
        barge_after_s: float | None = None,
    ):
        self.turns: list[Turn] = []
        self.errors: list[str] = []
        self.lags_ms: list[float] = []
        self.name = name
        self._recordings = recordings
        self._window = window
        self._barge_after_s = barge_after_s
        self._random = random.Random(number)
        self._phase = Phase.PAUSE
        self._until = 0.0
        self._turn: Turn | None = None
        self._frames: list[bytes] = []
        self._said = number
        self._hung_up = False
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._ssrc = secrets.randbits(32)
        self._count = 0

    async def call(self, server: Address, called: str) -> None:
        """Place the call, talk until the window has closed, hang up."""
        loop = asyncio.get_running_loop()
        rtp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        uac = Uac(server, called, self.name, self._far_end_hung_up)
        try:
            await uac.open()
            to = await uac.invite(rtp.get_extra_info("sockname")[1])
            await self._talk(rtp, to)
            if not self._hung_up:
                await uac.bye()
        except CallFailedError as error:
            self.errors.append(str(error))
        finally:
            rtp.close()
            uac.close()

    def _far_end_hung_up(self) -> None:
        self._hung_up = True
        self.errors.append("hung up by the far end")

    async def _talk(self, rtp: asyncio.DatagramTransport, to: Address) -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        start = clock()
        self._until = start + 1.0 + self._random.random()

        def tick() -> None:
            due = start + self._count * FRAME_S
            try:
                going_on = self._frame(rtp, to, due)
            except Exception as error:
                over.set_exception(error)
                return
            if going_on:
                # A timer, not a sleeping task: of many calls the phones must not be what is late.
                loop.call_later(max(0.0, due + FRAME_S - clock()), tick)
            else:
                over.set_result(None)

        tick()
        await over

    def _frame(self, rtp: asyncio.DatagramTransport, to: Address, due: float) -> bool:
        """Send the frame that is due; False when there is nothing more to say."""
        now = clock()
        if now >= self._window.begin:
            self.lags_ms.append((now - due) * 1000)
        if self._hung_up or not self._advance(now):
            return False
        header = _RTP.pack(
            0x80,
            0,
            (self._sequence + self._count) & 0xFFFF,
            (self._timestamp + self._count * FRAME) & 0xFFFFFFFF,
            self._ssrc,
        )
        self._count += 1
        speaks = bool(self._frames)
        rtp.sendto(header + (self._frames.pop() if speaks else SILENCE), to)
        if speaks and self._turn is not None:
            self._spoke(self._turn)
        return True

    def _spoke(self, turn: Turn) -> None:
        now = clock()
        if turn.barge is not None and not turn.barge.began:
            turn.barge.began = now
        if not self._frames:
            turn.ended, turn.ended_wall_ms = now, time.time() * 1000
            turn.reply = Reply()
            self._phase = Phase.WAIT

    def _advance(self, now: float) -> bool:
        """Go to the next phase when it is due; False when there is nothing more to say."""
        turn = self._turn
        if self._phase is Phase.PAUSE and now >= self._until:
            if now >= self._window.end:
                return False
            self._phase = Phase.SPEAK
            self._turn = Turn(now, self._next_recording())
        elif self._phase is Phase.WAIT and turn is not None and now > turn.ended + NO_REPLY_S:
            self._error("no reply", turn)
            self._rest(now)
        elif self._phase is Phase.LISTEN and turn is not None:
            if now > turn.reply.last_at + QUIET_S:
                self._heard_out(turn)
                self._rest(now)
            elif self._is_enough(turn, now):
                self._phase = Phase.BARGE
                turn.barge = Barge(tone_at=turn.reply.last_at)
                turn.recording = self._next_recording()
        return True

    def _is_enough(self, turn: Turn, now: float) -> bool:
        after = self._barge_after_s
        return after is not None and turn.barge is None and now >= turn.reply.first_at + after

    def _next_recording(self) -> int:
        recording = self._said % len(self._recordings)
        self._frames = self._recordings[recording][::-1]
        self._said += 1
        return recording

    def _heard_out(self, turn: Turn) -> None:
        if turn.began < self._window.begin:
            return
        self.turns.append(turn)
        if self._barge_after_s is not None and turn.barge is None:
            self.errors.append("reply over before the barge-in")
        if turn.barge is not None and turn.barge.resumed:
            self.errors.append("resumed over the caller")
        if turn.barge is not None and turn.barge.tone_at > turn.barge.began + _HEARD_S:
            self.errors.append("barge-in not heard")

    def _rest(self, now: float) -> None:
        self._phase = Phase.PAUSE
        self._turn = None
        self._until = now + self._random.uniform(*PAUSE_S)

    def _error(self, what: str, turn: Turn) -> None:
        if turn.began >= self._window.begin:
            self.errors.append(what)

    def datagram_received(self, data: bytes, addr: Address) -> None:  # noqa: ARG002
        turn = self._turn
        if turn is None:
            return
        at = clock()
        packet = parse(data)
        if packet is None:
            return
        if self._phase is Phase.LISTEN:
            turn.reply.hear(packet, at)
        elif not has_tone(packet):
            return
        elif self._phase is Phase.WAIT:
            self._phase = Phase.LISTEN
            turn.reply.hear(packet, at)
        elif self._phase is Phase.BARGE and turn.barge is not None:
            turn.barge.resumed |= at - turn.barge.tone_at > _RESUMED_S
            turn.barge.tone_at = at
        elif self._phase is Phase.SPEAK and not turn.answered_early:
            turn.answered_early = True
            self._error("early reply", turn)
