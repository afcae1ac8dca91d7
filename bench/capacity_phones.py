"""The load of sip_capacity.py: phones that call, agents that speak, and when each packet came.

A process of its own, on a core of its own. It prints JSON lines: `ready` once all calls have
settled, `done` after the window, `result` with what came of it. Nobody keeps time with anybody:
phones send on ten phases of the 20 ms, and agents' chunks go to the bus on a hundred of theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop
from figures import quantile
from processes import BenchError, pinned
from redis.asyncio import Redis

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, encode_chunk
from calls.ids import GREETING_TURN, CallId, ReplyId
from media.frames import Codec
from media.g711 import pcm_to_ulaw
from media.wav import read_mono
from trunkline.phone.clock import Clock
from trunkline.phone.line import FRAME, SILENCE, Line, Packet
from trunkline.phone.uac import CallFailedError, Uac

_SPEECH: Final = Path(__file__).parents[1] / "tests" / "golden" / "audio" / "speech.wav"
_PHASES: Final = 10
_FRAME_S: Final = 0.02
#: An agent's audio comes in chunks of so many frames at the speed of playback, some chunks ahead.
_CHUNK: Final = 10
_LEAD: Final = 2
_WRITERS: Final = 100
_SETTLE_S: Final = 3.0
#: SO_TIMESTAMPNS (asm-generic/socket.h): the kernel notes when a datagram came.
_STAMPED: Final = 35
_TIMESPEC: Final = struct.Struct("@qq")

Stream = list[tuple[float, int]]
"""A call's packets: when each came (s), and its number."""


class Evenness(NamedTuple):
    """How evenly packets of 20 ms came, ms: p50, p99, p99.9 and the most."""

    jitter: tuple[float, float, float, float]
    """How far the time between two packets of a call is from 20 ms."""
    lag: tuple[float, float, float, float]
    """How far a packet is behind the grid of its call's earliest."""


def evenness(streams: Iterable[Stream]) -> Evenness:
    """Of all streams together.

    Raises:
        BenchError: nothing came.
    """
    jitter: list[float] = []
    lag: list[float] = []
    for stream in streams:
        behind = [at - number * _FRAME_S for at, number in stream]
        jitter += [abs(b - a) * 1000 for a, b in pairwise(behind)]
        lag += [(each - min(behind)) * 1000 for each in behind]
    if not jitter:
        raise BenchError("no audio came")
    return Evenness(_spread(jitter), _spread(lag))


def _spread(values: list[float]) -> tuple[float, float, float, float]:
    return quantile(values, 0.5), quantile(values, 0.99), quantile(values, 0.999), max(values)


# -- the calls


class _Phone:
    """One caller, who notes what comes while the window is open."""

    def __init__(self, number: int, server: tuple[str, int]) -> None:
        self.came: Stream = []
        self.spoken = 0
        self.open = False
        self.line = Line(self._heard)
        self.uac = Uac(server, "capacity", f"phone-{number}", lambda: None)

    def _heard(self, packet: Packet) -> None:
        self.line.packets.clear()
        if self.open:
            self.came.append((packet.at, packet.sequence))
            self.spoken += packet.payload != SILENCE

    async def call(self) -> bool:
        await self.uac.open()
        try:
            self.line.open(await self.uac.invite(self.line.port))
        except CallFailedError:
            return False
        return True

    def stream(self) -> Stream:
        """What came, its numbers going on where 16 bits end."""
        numbered: Stream = []
        for at, sequence in self.came:
            last = numbered[-1][1] if numbered else sequence
            numbered.append((at, last + ((sequence - last + 0x8000) & 0xFFFF) - 0x8000))
        return numbered

    def lost(self) -> int:
        numbers = [number for _, number in self.stream()]
        return max(numbers) - min(numbers) + 1 - len(set(numbers)) if numbers else 0


def _voice() -> list[bytes]:
    with _SPEECH.open("rb") as file:
        ulaw = pcm_to_ulaw(read_mono(file))
    return [ulaw[at : at + FRAME] for at in range(0, len(ulaw) - FRAME + 1, FRAME)]


async def _in_phases(begin: Callable[[int], None]) -> None:
    """Begin one after the other, evenly over 20 ms."""
    start = time.monotonic()
    for phase in range(_PHASES):
        await asyncio.sleep(max(0.0, start + phase * _FRAME_S / _PHASES - time.monotonic()))
        begin(phase)


async def _speak(redis: Redis, calls: list[CallId]) -> None:
    """All agents speak without end."""
    voice = b"".join(_voice())
    voice = voice[: len(voice) // (FRAME * _CHUNK) * FRAME * _CHUNK]
    start = time.monotonic()
    for turn in count(-_LEAD * _WRITERS):
        phase, offset = turn % _WRITERS, (turn // _WRITERS + _LEAD) * FRAME * _CHUNK
        at = offset % len(voice)
        payload = voice[at : at + FRAME * _CHUNK]
        chunk = OutChunk(ReplyId(f"{GREETING_TURN}.0"), 0, offset, Codec.PCMU, payload)
        pipe = redis.pipeline(transaction=False)
        for call in calls[phase::_WRITERS]:
            pipe.xadd(topics.audio_out(call), {OUT_FIELD: encode_chunk(chunk)}, maxlen=100)
        if len(pipe):
            await pipe.execute()
        due = start + turn * _FRAME_S * _CHUNK / _WRITERS
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _written(redis: Redis, calls: list[CallId]) -> list[tuple[int, int]]:
    """How many frames of each caller the bus was given, and the number of the last."""
    pipe = redis.pipeline(transaction=False)
    for call in calls:
        pipe.xinfo_stream(topics.audio_in(call))
    return [
        (each["entries-added"], int(each["last-generated-id"].partition(b"-")[0]))
        for each in await pipe.execute()
    ]


async def _phones(options: argparse.Namespace) -> None:
    host, _, port = options.server.rpartition(":")
    phones = [_Phone(number, (host, int(port))) for number in range(options.calls)]
    redis = Redis.from_url(options.bus)
    talking: list[_Phone] = []
    voice = _voice()
    tasks: list[asyncio.Task[None]] = []
    clocks: list[Clock] = []

    def beat(phase: int) -> None:
        frames = cycle(voice)

        def tick() -> None:
            frame = next(frames)
            for each in talking[phase::_PHASES]:
                each.line.send(frame)

        clocks.append(Clock(tick))
        tasks.append(asyncio.create_task(clocks[-1].run()))

    await _in_phases(beat)
    for phone in phones:
        if await phone.call():
            talking.append(phone)
        await asyncio.sleep(0.01)
    live: Any = await redis.zrange(topics.LIVE, 0, -1)
    calls = [CallId(name.decode()) for name in live]
    if options.speak:
        tasks.append(asyncio.create_task(_speak(redis, calls)))
    await asyncio.sleep(_SETTLE_S)

    before = await _written(redis, calls)
    _tell("ready")
    await asyncio.to_thread(sys.stdin.readline)  # the window is open
    for phone in talking:
        phone.open = True
    for clock in clocks:
        clock.lags_ms.clear()
    began = time.monotonic()
    await asyncio.sleep(options.duration)
    window = time.monotonic() - began
    for phone in talking:
        phone.open = False
    lags = [lag for clock in clocks for lag in clock.lags_ms]
    after = await _written(redis, calls)
    _tell("done", window_s=window)

    for task in tasks:
        task.cancel()
    frames = [last - first for (_, first), (_, last) in zip(before, after, strict=True)]
    written = [last - first for (first, _), (last, _) in zip(before, after, strict=True)]
    packets = sum(len(phone.came) for phone in talking)
    _tell(
        "result",
        calls=len(talking),
        refused=len(phones) - len(talking),
        packets=packets,
        packets_lost=sum(phone.lost() for phone in talking),
        spoken=sum(phone.spoken for phone in talking) / max(1, packets),
        bus_frames=sum(written),
        # By their numbers, and by the time that has passed: the calls are not read in one moment.
        bus_frames_lost=sum(frames)
        - sum(written)
        + sum(max(0, int(window / _FRAME_S) - 3 - each) for each in frames),
        phones_lag_p99_ms=quantile(lags, 0.99),
        **evenness(phone.stream() for phone in talking)._asdict(),
    )


def _tell(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


# -- the floor


def floor(calls: int, duration_s: float, cpus: str) -> Evenness:
    """What this machine and this way of measuring cannot do better: a loop that only sends as many
    packets from where the ingress is, heard in the same way.

    Raises:
        BenchError: it did not run.
    """
    ears = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(calls)]
    try:
        for ear in ears:
            ear.bind(("127.0.0.1", 0))
            ear.setblocking(False)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            ear.setsockopt(socket.SOL_SOCKET, _STAMPED, 1)
        ports = ",".join(str(ear.getsockname()[1]) for ear in ears)
        command = [sys.executable, __file__, "--floor", ports, "--duration", str(duration_s)]
        done = subprocess.run(
            pinned(command, cpus), check=False, capture_output=True, timeout=duration_s + 30
        )
        if done.returncode:
            raise BenchError(f"the floor: {done.stderr.decode()[-500:]}")
        return evenness(map(_waiting, ears))
    finally:
        for ear in ears:
            ear.close()


def _waiting(ear: socket.socket) -> Stream:
    """What has come to a socket."""
    stream: Stream = []
    while True:
        try:
            data, ancillary, _, _ = ear.recvmsg(2048, 64)
        except BlockingIOError:
            return stream
        seconds, nanoseconds = _TIMESPEC.unpack_from(ancillary[0][2])
        stream.append((seconds + nanoseconds / 1e9, int.from_bytes(data[:4], "big")))


def _send(ports: list[int], duration_s: float) -> None:
    """A packet to each port every 20 ms, and nothing else."""
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    targets = [("127.0.0.1", port) for port in ports]
    start = time.monotonic()
    for number in range(int(duration_s / _FRAME_S)):
        packet = number.to_bytes(4, "big") + bytes(8 + FRAME)
        time.sleep(max(0.0, start + number * _FRAME_S - time.monotonic()))
        for target in targets:
            out.sendto(packet, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--server", help="where the ingress listens, HOST:PORT")
    add("--bus", help="its Redis")
    add("--calls", type=int)
    add("--speak", action="store_true", help="the agents speak, too")
    add("--duration", type=float, help="of the window, s")
    add("--floor", default="", metavar="PORTS", help="only send, to these ports")
    options = parser.parse_args()
    if options.floor:
        _send([int(port) for port in options.floor.split(",")], options.duration)
    else:
        uvloop.run(_phones(options))


if __name__ == "__main__":
    main()
