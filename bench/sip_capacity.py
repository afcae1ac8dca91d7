"""Find how many G.711 calls one ingress process carries, and what each costs. README.md explains.

    .venv/bin/python bench/sip_capacity.py --sut-cpus 0 --load-cpus 1

One `trunkline sip` on a core of its own with a Redis on the other, beside the phones: no pools, so
all that is measured is the phone side with its bus. Each step is a fresh ingress with more calls.
Every call speaks, and with --talk every agent does, in chunks that come at the speed of playback.
What leaves is timed by the kernel as it arrives. `floor` is a loop that sends as many packets from
the same core and does nothing else: what this machine and this harness cannot do better.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil
import table
import uvloop
from figures import quantile
from processes import ROOT, BenchError, Json, lines, pinned, running
from redis.asyncio import Redis

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, decode_frame, encode_chunk
from calls.ids import CallId, ReplyId
from media.frames import Codec
from trunkline.embedded_bus import find_server
from trunkline.phone.clock import Clock
from trunkline.phone.line import FRAME, Line, Packet
from trunkline.phone.uac import CallFailedError, Uac

BENCH: Final = Path(__file__).resolve().parent
_AGENTS: Final = """
agents:
  - name: capacity
    waiting: {filler_after_ms: 0, trouble_after_ms: 0}
    silence: {reprompt_after_ms: 0}
    recording: false
"""
_CHUNK_FRAMES: Final = 10
_SETTLE_S: Final = 3.0
_AIM_MS: Final = 1.0
_AIM_PERCENT: Final = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--calls", default="25,50,100,150,200,250,300", help="the steps")
    add("--duration", type=float, default=12, help="of a step's window, s")
    add("--talk", action="store_true", help="the agents speak, too")
    add("--sut-cpus", default="", help="where the ingress runs")
    add("--load-cpus", default="", help="where the phones and Redis run")
    add("--results", type=Path, default=BENCH / "results")
    add("--write", action="store_true", help="put the table into README.md")
    add("--role", choices=["bench", "phones", "floor"], default="bench", help=argparse.SUPPRESS)
    add("--server", default="", help=argparse.SUPPRESS)
    add("--bus", default="", help=argparse.SUPPRESS)
    add("--ports", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "phones":
        uvloop.run(_phones(options))
    elif options.role == "floor":
        _floor([int(port) for port in options.ports.split(",")], options.duration)
    else:
        try:
            _climb(options)
        except BenchError as error:
            sys.exit(f"bench: {error}")


def _climb(options: argparse.Namespace) -> None:
    points = []
    for calls in map(int, options.calls.split(",")):
        point = _point(options, calls)
        points.append(point)
        table.keep(options.results, "sip-capacity", point)
        print(_said(point), flush=True)
        if point["ingress_percent"] * calls > 92 or point["refused"]:
            break
    text = _markdown(points, options)
    print("\n" + text)
    if options.write:
        name = "sip-capacity-talk" if options.talk else "sip-capacity"
        table.write(BENCH / "README.md", name, text)


def _point(options: argparse.Namespace, calls: int) -> Json:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder)
        bus = stack.enter_context(redis_server(data, options.load_cpus))
        phone_side = stack.enter_context(ingress(data, bus[1], options.sut_cpus))
        found = _measured(options, calls, phone_side, bus)
    return {
        "at": time.strftime("%Y-%m-%d"),
        "n": calls,
        "talk": options.talk,
        "load_average": os.getloadavg()[0],
        **found,
    }


def _measured(
    options: argparse.Namespace, calls: int, phone_side: tuple[int, str], bus: tuple[int, str]
) -> Json:
    command = [
        sys.executable, str(Path(__file__)), "--role", "phones", "--server", phone_side[1],
        "--bus", bus[1], "--calls", str(calls), "--duration", str(options.duration),
        "--sut-cpus", options.sut_cpus,
    ]  # fmt: skip
    if options.talk:
        command.append("--talk")
    watched = {"ingress": psutil.Process(phone_side[0]), "redis": psutil.Process(bus[0])}
    used: dict[str, float] = {}
    with running(command, cpus=options.load_cpus, log=Path(os.devnull)) as process:
        for said in lines(process, patience_s=120):
            if said is None:
                continue
            if said["event"] in ("open", "closed"):
                sign = -1 if said["event"] == "open" else 1
                for name, each in watched.items():
                    times = each.cpu_times()
                    used[name] = used.get(name, 0.0) + sign * (times.user + times.system)
            elif said["event"] == "result":
                share = 100 / said["window_s"] / calls
                percents = {f"{name}_percent": cpu * share for name, cpu in used.items()}
                said.pop("event")
                return {**percents, **said}
    raise BenchError("the phones said nothing")


@contextmanager
def redis_server(data: Path, cpus: str) -> Iterator[tuple[int, str]]:
    path = data / "bus.sock"
    command = [
        str(find_server()), "--port", "0", "--unixsocket", str(path), "--save", "",
        "--appendonly", "no", "--dir", str(data),
    ]  # fmt: skip
    with running(command, cpus=cpus, log=Path(os.devnull)) as process:
        for _ in range(100):
            if path.exists():
                break
            time.sleep(0.05)
        yield process.pid, f"unix://{path}"


@contextmanager
def ingress(data: Path, bus: str, cpus: str) -> Iterator[tuple[int, str]]:
    (data / "agents.yaml").write_text(_AGENTS)
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    env |= {
        "TRUNKLINE_DATA_DIR": str(data),
        "TRUNKLINE_BUS_URL": bus,
        "TRUNKLINE_AGENTS": str(data / "agents.yaml"),
        "TRUNKLINE_SIP_LISTEN": "udp:127.0.0.1:0",
        "TRUNKLINE_RTP_PORTS": "40000-49999",
        "TRUNKLINE_MAX_CALLS": "2000",
        "TRUNKLINE_POOL_GRACE_SECONDS": "600",
        "TRUNKLINE_LOG_LEVEL": "error",
        "TRUNKLINE_DRAIN_SECONDS": "0",
    }
    read, write = os.pipe()
    log = data / "ingress.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            pinned([sys.executable, "-m", "trunkline", "sip", "--ready-fd", str(write)], cpus),
            pass_fds=[write], env=env, cwd=ROOT, stdout=stderr, stderr=stderr,
        )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            line = pipe.readline()
        if not line:
            raise BenchError(f"the ingress did not start: {log.read_text()[-1000:]}")
        yield process.pid, json.loads(line)["sip"].removeprefix("udp:")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# -- the phones


class _Phone:
    def __init__(self, number: int, server: tuple[str, int]) -> None:
        self.arrivals: list[float] = []
        self.sequences: list[int] = []
        self._listens = False
        self.line = Line(self._came)
        self.uac = Uac(server, "capacity", f"phone-{number}", lambda: None)

    def _came(self, packet: Packet) -> None:
        if self._listens:
            self.arrivals.append(packet.at)
            self.sequences.append(packet.sequence)
        self.line.packets.clear()

    def listen(self) -> None:
        self._listens = True

    async def call(self) -> bool:
        await self.uac.open()
        try:
            self.line.open(await self.uac.invite(self.line.port))
        except CallFailedError:
            return False
        return True


async def _phones(options: argparse.Namespace) -> None:
    host, _, port = options.server.rpartition(":")
    phones = [_Phone(number, (host, int(port))) for number in range(int(options.calls))]
    redis = Redis.from_url(options.bus)
    voice = secrets.token_bytes(FRAME)  # the content costs the ingress nothing more or less
    talking: list[_Phone] = []
    clock = Clock(lambda: [each.line.send(voice) for each in talking] and None)
    ticking = asyncio.create_task(clock.run())
    refused = 0
    for phone in phones:
        if await phone.call():
            talking.append(phone)
        else:
            refused += 1
        await asyncio.sleep(0.01)
    calls = [CallId(name.decode()) for name in await redis.zrange(topics.LIVE, 0, -1)]
    agent = asyncio.create_task(_talk(redis, calls)) if options.talk else None
    await asyncio.sleep(_SETTLE_S)
    before = {call: await _last(redis, call) for call in calls}
    for phone in talking:
        phone.listen()
    clock.lags_ms.clear()
    began = time.monotonic()
    _tell("open")
    await asyncio.sleep(options.duration)
    window = time.monotonic() - began
    _tell("closed")
    after = {call: await _last(redis, call) for call in calls}
    lags = sorted(clock.lags_ms)
    result = _timed([(phone.arrivals, phone.sequences) for phone in talking])
    expected = window * 50
    missing = sum(max(0.0, expected - 2 - (after[call] - before[call])) for call in calls)
    floor = _floor_of(talking, options)
    ticking.cancel()
    if agent is not None:
        agent.cancel()
    _tell(
        "result", window_s=window, refused=refused, calls=len(talking), **result,
        bus_frames_missing=round(missing), floor=floor,
        phones_lag_p99_ms=lags[int(0.99 * len(lags))] if lags else None,
    )  # fmt: skip


async def _talk(redis: Redis, calls: list[CallId]) -> None:
    """Every agent speaks without end, 200 ms at a time, at the speed of playback."""
    offset = 0
    due = time.monotonic()
    voice = secrets.token_bytes(FRAME * _CHUNK_FRAMES)
    while True:
        chunk = OutChunk(ReplyId("0.0"), 0, offset, Codec.PCMU, voice, last=False)
        pipe = redis.pipeline(transaction=False)
        for call in calls:
            pipe.xadd(topics.audio_out(call), {OUT_FIELD: encode_chunk(chunk)}, maxlen=200)
        await pipe.execute()
        offset += len(voice)
        due += 0.02 * _CHUNK_FRAMES
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _last(redis: Redis, call: CallId) -> int:
    """The number of the last frame of the caller that the bus has."""
    entries: Any = await redis.xrevrange(topics.audio_in(call), count=1)
    return decode_frame(entries[0][0], entries[0][1][b"f"]).seq if entries else 0


def _timed(streams: list[tuple[list[float], list[int]]]) -> Json:
    """How evenly packets came: deviation of each interval from 20 ms; and gaps in the numbers."""
    deviations: list[float] = []
    lost = 0
    for arrivals, sequences in streams:
        deviations += [abs((b - a) * 1000 - 20) for a, b in pairwise(arrivals)]
        lost += sum((b - a - 1) & 0xFFFF for a, b in pairwise(sequences))
    if not deviations:
        raise BenchError("no audio came from the ingress")
    return {
        "packets": sum(len(arrivals) for arrivals, _ in streams),
        "lost": lost,
        "jitter_p50_ms": quantile(deviations, 0.5),
        "jitter_p99_ms": quantile(deviations, 0.99),
        "jitter_p999_ms": quantile(deviations, 0.999),
    }


def _floor_of(phones: list[_Phone], options: argparse.Namespace) -> Json:
    """The same phones, hearing a loop that only sends, from where the ingress is."""
    listeners = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in phones]
    arrivals: list[list[float]] = [[] for _ in listeners]
    for each in listeners:
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    named = ",".join(str(each.getsockname()[1]) for each in listeners)
    command = [sys.executable, str(Path(__file__)), "--role", "floor", "--ports", named]
    done = subprocess.run(
        pinned([*command, "--duration", "4"], options.sut_cpus),
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    for each, times in zip(listeners, arrivals, strict=True):
        while True:
            try:
                _, ancillary, _, _ = each.recvmsg(2048, 64)
            except BlockingIOError:
                break
            seconds = int.from_bytes(ancillary[0][2][:8], sys.byteorder)
            nanoseconds = int.from_bytes(ancillary[0][2][8:16], sys.byteorder)
            times.append(seconds + nanoseconds / 1e9)
        each.close()
    if done.returncode or not any(arrivals):
        return {}
    found = [abs((b - a) * 1000 - 20) for times in arrivals for a, b in pairwise(times)]
    return {"jitter_p50_ms": quantile(found, 0.5), "jitter_p99_ms": quantile(found, 0.99)}


def _floor(ports: list[int], duration: float) -> None:
    """Send a packet to each port every 20 ms, and nothing else."""
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    payload = bytes(FRAME + 12)
    targets = [("127.0.0.1", port) for port in ports]
    due = time.monotonic()
    end = due + duration
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        for target in targets:
            out.sendto(payload, target)
        due += 0.02


def _tell(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


# -- what came of it


def _said(point: Json) -> str:
    floor = point["floor"].get("jitter_p99_ms")
    return (
        f"{point['n']:>4} calls: ingress {point['ingress_percent']:.2f} % of a core a call, "
        f"redis {point['redis_percent']:.2f} %; send jitter p50 {point['jitter_p50_ms']:.2f}, "
        f"p99 {point['jitter_p99_ms']:.2f}, p99.9 {point['jitter_p999_ms']:.2f} ms "
        f"(floor p99 {floor if floor is None else round(floor, 2)}); lost {point['lost']}, "
        f"missing on the bus {point['bus_frames_missing']}; phones late p99 "
        f"{point['phones_lag_p99_ms']:.1f} ms"
    )


def _markdown(points: list[Json], options: argparse.Namespace) -> str:
    rows = [
        [
            str(point["n"]),
            f"{point['ingress_percent']:.2f} %",
            f"{point['redis_percent']:.2f} %",
            f"{point['jitter_p50_ms']:.2f} / {point['jitter_p99_ms']:.2f} / "
            f"{point['jitter_p999_ms']:.2f}",
            f"{point['floor'].get('jitter_p99_ms', float('nan')):.2f}",
            str(point["lost"]),
            str(point["bus_frames_missing"]),
        ]
        for point in points
    ]
    head = [
        "calls", "ingress, of a core per call", "Redis, of a core per call",
        "send jitter, ms, p50 / p99 / p99.9", "floor p99, ms", "packets lost",
        "frames missing on the bus",
    ]  # fmt: skip
    good = [p["n"] for p in points if p["jitter_p99_ms"] < _AIM_MS and not p["lost"]]
    cheap = min(point["ingress_percent"] for point in points)
    came = f"**{max(good)} calls** at a p99 below {_AIM_MS:g} ms" if good else "none of the steps"
    missed = "met" if cheap <= _AIM_PERCENT else f"missed by {cheap - _AIM_PERCENT:.2f}"
    command = "bench/sip_capacity.py" + (" --talk" if options.talk else "")
    setting = (
        f"{points[0]['at']}, `{command} --sut-cpus {options.sut_cpus} --load-cpus "
        f"{options.load_cpus}`, windows of {options.duration:g} s; load average "
        f"{max(point['load_average'] for point in points):.1f} at most."
    )
    said = f"{came}; {cheap:.2f} % of a core a call at best (aim {_AIM_PERCENT} %: {missed})."
    return "\n\n".join([setting, table.markdown_table(head, rows), said])


if __name__ == "__main__":
    main()
