"""A person on a phone: does what a test tells it, and keeps every packet it hears."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from media import g711
from media.frames import FRAME_SAMPLES, Samples, to_pcm, to_samples
from media.wav import read_mono
from trunkline.phone.caller import VOICE_RMS
from trunkline.phone.line import FRAME, SILENCE, Line, Packet
from trunkline.phone.uac import Address, Uac

_EVENTS: Final = 101
_RTP: Final = struct.Struct(">BBHII")
_KEYS: Final = "0123456789*#ABCD"
#: A key is held for 100 ms; its end is sent three times (RFC 4733 section 2.5.1.4). In frames.
_HELD: Final = 5
_ENDS: Final = 3
_BETWEEN: Final = 4
#: Louder than this (of 32768) a sample is of a word, its soft edges included.
_SPEECH: Final = 100


class _Key(NamedTuple):
    """One packet of a key: `beat` frames after it went down."""

    code: int
    beat: int


class _Line(Line):
    """A line that can send keys too."""

    def send_key(self, key: _Key) -> None:
        """Send 20 ms of a key instead of audio (RFC 4733 section 2.3)."""
        if self._to is None:
            return
        ended = key.beat >= _HELD
        duration = min(key.beat + 1, _HELD) * FRAME
        header = _RTP.pack(
            0x80,
            _EVENTS | (0x80 if key.beat == 0 else 0),
            (self._sequence + self._sent) & 0xFFFF,
            (self._timestamp + (self._sent - key.beat) * FRAME) & 0xFFFFFFFF,
            self._ssrc,
        )
        self._sent += 1
        event = struct.pack(">BBH", key.code, (0x80 if ended else 0) | 10, duration)
        self._socket.sendto(header + event, self._to)


class _Uac(Uac):
    """Offers telephone events besides audio."""

    def _request(self, method: str, branch: str, sdp: str = "") -> str:
        events = f"RTP/AVP 0 {_EVENTS}\r\na=rtpmap:{_EVENTS} telephone-event/8000\r\n"
        return super()._request(method, branch, sdp.replace("RTP/AVP 0\r\n", events))


class Person:
    """One call. `tick` is called every 20 ms; the rest is for the coroutine that is the test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hung_up_on = asyncio.Event()
        self.voice_at: float | None = None
        self._line = _Line(self._heard)
        self._out: deque[bytes | _Key] = deque()
        self._uac: Uac | None = None
        self._talking = False

    @property
    def packets(self) -> list[Packet]:
        """Everything it heard."""
        return self._line.packets

    async def dial(self, server: Address, called: str) -> None:
        """Call; raises CallFailedError if nobody answers."""
        self._uac = _Uac(server, called, self.name, self.hung_up_on.set)
        await self._uac.open()
        self._line.open(await self._uac.invite(self._line.port))
        self._talking = True

    def tick(self) -> None:
        """20 ms have passed: send a frame."""
        if not self._talking or self.hung_up_on.is_set():
            return
        due = self._out.popleft() if self._out else SILENCE
        if isinstance(due, _Key):
            self._line.send_key(due)
        else:
            self._line.send(due)

    async def say(self, *what: Path | float) -> None:
        """Say recordings, with pauses of so many s between them. Returns when all is said."""
        for each in what:
            if isinstance(each, Path):
                codes = g711.pcm_to_ulaw(to_pcm(words_of(each)))
                self._out.extend(codes[at : at + FRAME] for at in range(0, len(codes), FRAME))
            else:
                self._out.extend([SILENCE] * round(each * 50))
        await self._all_sent()

    async def press(self, keys: str) -> None:
        """Press keys, one after the other. Returns when the last is up again."""
        for key in keys:
            code = _KEYS.index(key)
            self._out.extend(_Key(code, beat) for beat in range(_HELD + _ENDS))
            self._out.extend([SILENCE] * _BETWEEN)
        await self._all_sent()

    async def voice(self, within_s: float = 15.0) -> None:
        """Wait until the other side says something, from now on."""
        since = time.time()
        await self._until(lambda: self.voice_at is not None and self.voice_at > since, within_s)

    async def quiet(self, for_s: float = 1.0, within_s: float = 30.0) -> None:
        """Wait until the other side has been silent for so long, after it said something."""
        await self._until(
            lambda: self.voice_at is not None and time.time() - self.voice_at >= for_s, within_s
        )

    async def answered(self, for_s: float = 1.0) -> None:
        """Wait until the other side begins to speak, and has finished."""
        await self.voice()
        await self.quiet(for_s)

    async def hang_up(self) -> None:
        """End the call, unless the other side did."""
        self._talking = False
        if self._uac is None:
            return
        if not self.hung_up_on.is_set():
            await self._uac.bye()
        self._line.close()
        self._uac.close()

    async def _all_sent(self) -> None:
        await self._until(lambda: not self._out, 60)

    async def _until(self, done: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not done():
            assert not self.hung_up_on.is_set(), f"{self.name} was hung up on"
            assert time.monotonic() < deadline, f"{self.name} waited {within_s} s in vain"
            await asyncio.sleep(0.02)

    def _heard(self, packet: Packet) -> None:
        if g711.rms(g711.ulaw_to_pcm(packet.payload)) >= VOICE_RMS:
            self.voice_at = packet.at


def words_of(wav: Path) -> Samples:
    """A recording cut to its speech, so that pauses are as long as they are said to be."""
    with wav.open("rb") as file:
        samples = to_samples(read_mono(file))
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _SPEECH)
    cut = samples[loud[0] : loud[-1] + 1]
    return np.concatenate([cut, np.zeros(-len(cut) % FRAME_SAMPLES, np.int16)])
