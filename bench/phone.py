"""N phones that call at once over SIP and RTP, speak, and time the answers from outside.

Each says a recording, waits for the reply's tone, lets it end, and says the next one. Frames leave
at exact multiples of 20 ms. A turn's voice-to-voice time runs from the moment its last speech frame
was sent to the arrival of the packet that holds the reply's first sample of tone.

Prints JSON lines: {"event": "open"} and {"event": "closed"} around the measured window, and
{"event": "result", ...} at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import secrets
import struct
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

import uvloop
from reply import LATE_MS, Reply, has_tone, parse
from speech import FRAME, SILENCE, load
from uac import Address, CallFailedError, Uac

FRAME_S = 0.02
#: A reply has ended when its tone has been away for this long.
QUIET_S = 0.5
NO_REPLY_S = 8.0
#: Between two turns, s: random, so that the calls do not stay in step.
PAUSE_S = (0.1, 0.6)

_RTP = struct.Struct(">BBHII")
_clock = time.monotonic


class Phase(Enum):
    PAUSE = auto()
    SPEAK = auto()
    WAIT = auto()
    LISTEN = auto()


@dataclass(slots=True)
class Turn:
    began: float
    #: Which of the recordings was said.
    recording: int
    ended: float = 0.0
    #: The wall clock at `ended`, ms since 1970: finds the turn in the call's log.
    ended_wall_ms: float = 0.0
    reply: Reply = field(default_factory=Reply)


class Window:
    """Turns that begin before it do not count; after it none begin."""

    def __init__(self) -> None:
        self.begin = float("inf")
        self.end = float("inf")


class Phone(asyncio.DatagramProtocol):
    """One call. Its RTP socket is this protocol."""

    def __init__(self, number: int, name: str, recordings: list[list[bytes]], window: Window):
        self.turns: list[Turn] = []
        self.errors: list[str] = []
        self.lags_ms: list[float] = []
        self.name = name
        self._recordings = recordings
        self._window = window
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
        start = _clock()
        self._until = start + 1.0 + self._random.random()
        count = 0
        while not self._hung_up:
            due = start + count * FRAME_S
            if (wait := due - _clock()) > 0:
                await asyncio.sleep(wait)
            now = _clock()
            if now >= self._window.begin:
                self.lags_ms.append((now - due) * 1000)
            if not self._advance(now):
                return
            payload = self._frames.pop() if self._frames else SILENCE
            header = _RTP.pack(
                0x80,
                0,
                (self._sequence + count) & 0xFFFF,
                (self._timestamp + count * FRAME) & 0xFFFFFFFF,
                self._ssrc,
            )
            rtp.sendto(header + payload, to)
            if self._phase is Phase.SPEAK and not self._frames and self._turn is not None:
                self._turn.ended = _clock()
                self._turn.ended_wall_ms = time.time() * 1000
                self._phase = Phase.WAIT
            count += 1

    def _advance(self, now: float) -> bool:
        """Go to the next phase when it is due; False when there is nothing more to say."""
        turn = self._turn
        if self._phase is Phase.PAUSE and now >= self._until:
            if now >= self._window.end:
                return False
            self._phase = Phase.SPEAK
            recording = self._said % len(self._recordings)
            self._turn = Turn(now, recording)
            self._frames = self._recordings[recording][::-1]
            self._said += 1
        elif self._phase is Phase.WAIT and turn is not None and now > turn.ended + NO_REPLY_S:
            self._error("no reply", turn)
            self._rest(now)
        elif self._phase is Phase.LISTEN and turn and now > turn.reply.last_at + QUIET_S:
            if turn.began >= self._window.begin:
                self.turns.append(turn)
            self._rest(now)
        return True

    def _rest(self, now: float) -> None:
        self._phase = Phase.PAUSE
        self._turn = None
        self._until = now + self._random.uniform(*PAUSE_S)

    def _error(self, what: str, turn: Turn) -> None:
        if turn.began >= self._window.begin:
            self.errors.append(what)

    def datagram_received(self, data: bytes, addr: Address) -> None:  # noqa: ARG002
        at = _clock()
        packet = parse(data)
        turn = self._turn
        if packet is None:
            return
        if self._phase is Phase.WAIT and turn is not None and has_tone(packet):
            self._phase = Phase.LISTEN
        if self._phase is Phase.LISTEN and turn is not None:
            turn.reply.hear(packet, at)
        elif self._phase is Phase.SPEAK and turn is not None and has_tone(packet):
            self._error("early reply", turn)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    recordings = [load(file) for file in options.wav]
    host, _, port = options.server.rpartition(":")
    window = Window()
    phones, calls = [], []
    for number in range(options.calls):
        phone = Phone(number, f"{options.name}-{number}", recordings, window)
        phones.append(phone)
        calls.append(asyncio.create_task(phone.call((host, int(port)), "bench")))
        await asyncio.sleep(options.stagger)
    await asyncio.sleep(options.settle)
    # The collector's pauses would be counted as the far end's.
    gc.collect()
    gc.freeze()
    gc.disable()
    window.begin = _clock()
    say("open")
    await asyncio.sleep(options.duration)
    window.end = _clock()
    say("closed")
    await asyncio.gather(*calls)
    return result(phones, window)


def result(phones: list[Phone], window: Window) -> dict[str, Any]:
    lags = sorted(lag for phone in phones for lag in phone.lags_ms)
    return {
        "window_s": window.end - window.begin,
        "send_lag_p99_ms": lags[int(0.99 * len(lags))] if lags else None,
        "late_limit_ms": LATE_MS,
        "calls": [
            {
                "name": phone.name,
                "errors": phone.errors,
                "turns": [
                    {
                        "recording": turn.recording,
                        "ended_wall_ms": turn.ended_wall_ms,
                        "voice_to_voice_ms": (turn.reply.first_at - turn.ended) * 1000,
                        "tone_ms": turn.reply.tone_ms,
                        "hz": turn.reply.hz,
                        "longest_silence_ms": turn.reply.silence_ms,
                        "longest_wait_ms": turn.reply.longest_wait_s * 1000,
                        "breaks": turn.reply.breaks,
                        "gap": turn.reply.has_gap,
                    }
                    for turn in phone.turns
                ],
            }
            for phone in phones
        ],
    }


def say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("server", help="HOST:PORT of the SIP server (UDP)")
    parser.add_argument("--wav", type=Path, nargs="+", required=True, help="said in turn")
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--duration", type=float, default=40, help="of the window, s")
    parser.add_argument("--settle", type=float, default=6, help="before the window: a turn, s")
    parser.add_argument("--stagger", type=float, default=0.23, help="between two calls, s")
    parser.add_argument("--name", default="caller", help="calls are from NAME-0, NAME-1, ...")
    options = parser.parse_args()
    say("result", **uvloop.run(measure(options)))


if __name__ == "__main__":
    main()
