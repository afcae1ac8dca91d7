"""Find how many G.711 calls one ingress process carries, and what each costs. README.md explains.

    .venv/bin/python bench/sip_capacity.py --sut-cpus 0 --load-cpus 1

One `trunkline sip` on a core of its own, its bus a Redis on the other beside the phones
(capacity_phones.py), and no pools: all that is measured is the phone side with its bus. Each step
is a fresh ingress and a fresh Redis with more calls, first with callers alone speaking, then with
agents speaking, too. A step that is too uneven is taken once more if the machine was not quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import profiling
import psutil
import table
from capacity_phones import floor
from processes import ROOT, BenchError, Json, lines, pinned, running

from trunkline.embedded_bus import find_server

_BENCH: Final = Path(__file__).resolve().parent
_AGENTS: Final = """
agents:
  - name: capacity
    waiting: {filler_after_ms: 0, trouble_after_ms: 0}
    silence: {reprompt_after_ms: 0}
    recording: false
"""
_VARIANTS: Final = {"callers": "callers alone speak", "both": "callers and agents speak"}
_AIM_MS: Final = 1.0
_AIM_PERCENT: Final = 0.5
#: More of its core is more than can be measured: what is late then is late for want of CPU.
_MOST_PERCENT: Final = 92.0
_FLOOR_S: Final = 2.0
#: A floor above half the aim says that the machine was busy.
_QUIET_MS: Final = _AIM_MS / 2
_TRIES: Final = 2
_LAG: Final = "pipeline_ticker_lag_seconds"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--calls", default="25,50,100,150,200,250,300", help="the steps")
    add("--variants", default=",".join(_VARIANTS), help=", ".join(_VARIANTS))
    add("--duration", type=float, default=10, help="of a step's window, s")
    add("--sut-cpus", default="", help="where the ingress runs")
    add("--load-cpus", default="", help="where the phones and Redis run")
    add("--results", type=Path, default=_BENCH / "results")
    add("--no-write", dest="write", action="store_false", help="leave README.md as it is")
    add("--profile", action="store_true", help="where the CPU goes, at the last step; no results")
    options = parser.parse_args()
    variants = options.variants.split(",")
    steps = [int(calls) for calls in options.calls.split(",")]
    try:
        if options.profile:
            _profile(options, steps[-1], variants[-1])
        else:
            text = "\n\n".join(_climb(options, steps, variant) for variant in variants)
            if options.write:
                table.write(_BENCH / "README.md", "sip-capacity", text)
    except BenchError as error:
        sys.exit(f"bench: {error}")


def _climb(options: argparse.Namespace, steps: list[int], variant: str) -> str:
    """Take the steps of a variant, up to the first that is too many."""
    points: list[Json] = []
    for calls in steps:
        try:
            point = _step(options, calls, variant)
        except BenchError as error:
            if not points:
                raise
            print(f"{calls:>4} calls: {error}", flush=True)
            break
        points.append(point)
        if point["refused"] or point["ingress_cores"] * 100 > _MOST_PERCENT:
            break
    text = _markdown(points, variant, options)
    print("\n" + text, flush=True)
    return text


def _step(options: argparse.Namespace, calls: int, variant: str) -> Json:
    """Take a point, and one more where the first is to be doubted: the better one counts."""
    points: list[Json] = []
    while not points or (len(points) < _TRIES and _is_doubtful(points[-1])):
        points.append(_point(options, calls, variant))
        table.keep(options.results, "sip-capacity", points[-1])
        print(_said(points[-1]), flush=True)
    return min(points, key=lambda point: point["jitter"][1])


def _is_doubtful(point: Json) -> bool:
    """Was it too uneven while the machine was not quiet?"""
    noisy = point["floor"]["jitter"][1] > _QUIET_MS or point["other_cores"] > table.QUIET_CORES
    return bool(point["jitter"][1] >= _AIM_MS and noisy)


def _is_good(point: Json) -> bool:
    lost = point["refused"] + point["packets_lost"] + point["bus_frames_lost"]
    return bool(point["jitter"][1] < _AIM_MS and not lost)


# -- a point


class _Sut(NamedTuple):
    ingress: int
    redis: int
    sip: str
    bus: str
    metrics: str


@contextmanager
def _system(options: argparse.Namespace) -> Iterator[_Sut]:
    """A fresh Redis, and an ingress on it. Pools are not waited for."""
    with TemporaryDirectory(prefix="trunkline-bench-") as folder, ExitStack() as stack:
        data = Path(folder)
        redis, bus = stack.enter_context(redis_server(data, options.load_cpus))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            metrics = f"127.0.0.1:{free.getsockname()[1]}"
        pid, sip = stack.enter_context(ingress(data, bus, options.sut_cpus, metrics))
        yield _Sut(pid, redis, sip, bus, f"http://{metrics}/metrics")


@contextmanager
def redis_server(data: Path, cpus: str) -> Iterator[tuple[int, str]]:
    """Run a fresh Redis on a socket in `data`: its pid and its URL."""
    bus = data / "bus.sock"
    command = [
        str(find_server()), "--port", "0", "--unixsocket", str(bus), "--save", "",
        "--appendonly", "no", "--dir", str(data),
    ]  # fmt: skip
    with running(command, cpus=cpus, log=data / "bus.log") as redis:
        _wait_for(bus.exists, "Redis")
        yield redis.pid, f"unix://{bus}"


@contextmanager
def ingress(data: Path, bus: str, cpus: str, metrics: str = "") -> Iterator[tuple[int, str]]:
    """Run `trunkline sip` on a bus: its pid, and the address where it takes calls by UDP."""
    (data / "agents.yaml").write_text(_AGENTS)
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    env |= {
        "TRUNKLINE_DATA_DIR": str(data),
        "TRUNKLINE_BUS_URL": bus,
        "TRUNKLINE_AGENTS": str(data / "agents.yaml"),
        "TRUNKLINE_SIP_LISTEN": "udp:127.0.0.1:0",
        "TRUNKLINE_RTP_PORTS": "40000-49999",
        **({"TRUNKLINE_METRICS_LISTEN": metrics} if metrics else {}),
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


def _wait_for(there: Callable[[], bool], what: str) -> None:
    for _ in range(100):
        if there():
            return
        time.sleep(0.05)
    raise BenchError(f"{what} did not start")


def _point(
    options: argparse.Namespace,
    calls: int,
    variant: str,
    opened: Callable[[_Sut], None] = lambda _: None,
) -> Json:
    """Take one. `opened` is called at the beginning of the window.

    Raises:
        BenchError: something did not run as it must.
    """
    load_average = os.getloadavg()[0]
    before = floor(calls, _FLOOR_S, options.sut_cpus)
    with _system(options) as sut:
        found = _measured(options, calls, variant, sut, opened)
    after = floor(calls, _FLOOR_S, options.sut_cpus)
    quieter = min(before, after, key=lambda each: each.jitter[1])
    if variant == "both" and found["spoken"] < 0.95:
        raise BenchError(f"{calls} calls: of what the agents said {found['spoken']:.0%} was heard")
    return {
        "at": time.strftime("%Y-%m-%d"),
        "n": calls,
        "variant": variant,
        "python": platform.python_version(),
        "load_average": load_average,
        **found,
        "floor": quieter._asdict(),
    }


def _measured(
    options: argparse.Namespace,
    calls: int,
    variant: str,
    sut: _Sut,
    opened: Callable[[_Sut], None],
) -> Json:
    command = [
        sys.executable, str(_BENCH / "capacity_phones.py"), "--server", sut.sip, "--bus", sut.bus,
        "--calls", str(calls), "--duration", str(options.duration),
        *(["--speak"] if variant == "both" else []),
    ]  # fmt: skip
    with TemporaryDirectory(prefix="trunkline-phones-") as folder:
        log = Path(folder, "phones.log")
        with running(command, cpus=options.load_cpus, log=log, talk=True) as process:
            try:
                return _window(sut, calls, process, opened)
            except BenchError as error:
                raise BenchError(f"{error}\n{log.read_text()[-1000:]}") from None


def _window(
    sut: _Sut, calls: int, phones: subprocess.Popen[bytes], opened: Callable[[_Sut], None]
) -> Json:
    """Follow the phones, and account for the window."""
    watched = {
        "ingress": psutil.Process(sut.ingress),
        "redis": psutil.Process(sut.redis),
        "phones": psutil.Process(phones.pid),
    }
    found: Json = {}
    for said in lines(phones, patience_s=120):
        if said is None:
            continue
        match said.pop("event"):
            case "ready":
                lags = _lags(sut.metrics)
                opened(sut)
                busy, used = _busy_s(), {name: each.cpu_times() for name, each in watched.items()}
                assert phones.stdin is not None
                phones.stdin.write(b"\n")
                phones.stdin.flush()
            case "done":
                window = said["window_s"]
                rest = _busy_s() - busy
                for name, each in watched.items():
                    times = each.cpu_times()
                    spent = (times.user - used[name].user, times.system - used[name].system)
                    found[f"{name}_user_percent"] = spent[0] / window / calls * 100
                    found[f"{name}_system_percent"] = spent[1] / window / calls * 100
                    found[f"{name}_cores"] = sum(spent) / window
                    rest -= sum(spent)
                found["other_cores"] = max(0.0, rest) / window
                found["rss_mb"] = watched["ingress"].memory_info().rss / 2**20
                found["ticks_late"] = _late(lags, _lags(sut.metrics))
                found |= said
            case "result":
                return found | said
    raise BenchError("the phones said nothing")


def _busy_s() -> float:
    """What all CPUs of this machine have done so far, s."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _lags(url: str) -> dict[float, float]:
    """How many ticks came at most so late (s), by the ingress's own account."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    counts = {}
    for line in text.splitlines():
        name, _, count = line.rpartition(" ")
        if name.startswith(f'{_LAG}_bucket{{le="'):
            counts[float(name.split('"')[1])] = float(count)
    return counts


def _late(before: dict[float, float], after: dict[float, float]) -> dict[str, float]:
    """The share of the window's ticks that began later than so many ms."""
    ticks = after[float("inf")] - before[float("inf")]
    return {
        f"{lag * 1000:g}": 1 - (after[lag] - before[lag]) / ticks
        for lag in (0.0005, 0.001, 0.002, 0.005)
    }


# -- where the CPU goes


def _profile(options: argparse.Namespace, calls: int, variant: str) -> None:
    """Take one point with py-spy beside the ingress, and print its top functions."""
    spies: list[profiling.Spy] = []
    with TemporaryDirectory(prefix="trunkline-profile-") as folder:
        raw = Path(folder, "sip")
        point = _point(
            options, calls, variant,
            lambda sut: spies.append(
                profiling.spy(Path(sys.executable), sut.ingress, options.duration, raw)
            ),
        )  # fmt: skip
        for spy in spies:
            profiling.wait(spy)
        print(_said(point))
        print(profiling.summary(raw.read_text()))


# -- what came of it


def _percent(point: Json, name: str) -> float:
    user, system = point[f"{name}_user_percent"], point[f"{name}_system_percent"]
    return float(user + system)


def _said(point: Json) -> str:
    jitter, least = point["jitter"], point["floor"]["jitter"]
    return (
        f"{point['n']:>4} calls, {_VARIANTS[point['variant']]}: "
        f"ingress {_percent(point, 'ingress'):.3f} % of a core a call "
        f"({point['ingress_cores']:.2f} cores), Redis {_percent(point, 'redis'):.3f}; "
        f"send jitter p50 {jitter[0]:.3f}, p99 {jitter[1]:.2f}, p99.9 {jitter[2]:.2f} ms "
        f"(floor p99 {least[1]:.2f}); ticks over 1 ms late {point['ticks_late']['1']:.1%}; "
        f"lost {point['packets_lost']} packets, {point['bus_frames_lost']} frames; "
        f"others {point['other_cores']:.2f} cores; "
        f"phones late p99 {point['phones_lag_p99_ms']:.1f} ms"
    )


def _markdown(points: list[Json], variant: str, options: argparse.Namespace) -> str:
    def three(values: list[float]) -> str:
        return " / ".join(f"{value:.2f}" for value in values[:3])

    rows = [
        [
            str(point["n"]),
            f"{_percent(point, 'ingress'):.2f} % ({point['ingress_user_percent']:.2f} + "
            f"{point['ingress_system_percent']:.2f})",
            f"{_percent(point, 'redis'):.3f} %",
            three(point["jitter"]),
            three(point["floor"]["jitter"]),
            f"{point['jitter'][1] / point['floor']['jitter'][1]:.1f}",
            three(point["lag"]),
            f"{point['ticks_late']['1']:.1%}",
            f"{point['packets_lost']} / {point['bus_frames_lost']}",
            f"{point['other_cores']:.2f}",
        ]
        for point in points
    ]
    head = [
        "calls", "ingress, of a core a call (user + system)", "Redis, of a core a call",
        "send jitter, ms, p50 / p99 / p99.9", "the floor's", "p99, times the floor's",
        "behind the grid, ms", "ticks over 1 ms late", "packets / bus frames lost", "others, cores",
    ]  # fmt: skip
    good = [point["n"] for point in points if _is_good(point)]
    came = f"**{max(good)} calls** at a p99 below {_AIM_MS:g} ms" if good else "**none** of them"
    cost = max(_percent(point, "ingress") for point in points)
    loads = [point["load_average"] for point in points]
    setting = (
        f"{_VARIANTS[variant].capitalize()}. {points[0]['at']}, Python {points[0]['python']}; "
        f"`bench/sip_capacity.py --sut-cpus {options.sut_cpus} --load-cpus {options.load_cpus}`; "
        f"a window of {options.duration:g} s a step; load average before a step "
        f"{min(loads):.1f} to {max(loads):.1f}."
    )
    dearest = "below" if cost <= _AIM_PERCENT else "above"
    end = f"{came}; at most {cost:.2f} % of a core a call, {dearest} the aim of {_AIM_PERCENT} %."
    return "\n\n".join([setting, table.markdown_table(head, rows), end])


if __name__ == "__main__":
    main()
