"""One point a mode: N calls at once to a system and a stub started for it, and what came of it.

A mode is an agent of agents.yaml, picked by the number called. All modes of a load are measured on
the same system, one after the other: what they differ in is not the minute or the process.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil
import yaml
from processes import (
    ROOT,
    BenchError,
    Json,
    RefusedError,
    Trunkline,
    get,
    lines,
    running,
    stub,
    trunkline,
)
from speech import load
from vad import hangover_ms

from calls.agent import Agent
from media.vad import Kind, vad_of

BENCH = ROOT / "bench"
#: Above this the phone itself was late, and the point says nothing about Trunkline.
MAX_SEND_LAG_MS = 10.0
#: So much of a reply is heard before it is spoken over, s: what the peer's caller waits.
_BARGE_AFTER_S = 0.6
_IDLE_S = 5.0
_RECORDED_S = 30.0
_STUB_IN_AGENTS = "http://127.0.0.1:9100"

#: Called when the window opens, with what is measured.
Opened = Callable[[Trunkline], None]


def measure(
    options: argparse.Namespace,
    calls: int,
    repeat: int,
    *,
    stages: bool = True,
    opened: Opened | None = None,
) -> Iterator[Json]:
    """Take a point per mode, after a warm-up call, in turn: each repeat begins with another mode.

    `stages`: ask each call's log where its turns' time went.

    Raises:
        BenchError: something did not run as it must.
    """
    first = repeat % len(options.modes)
    modes = [*options.modes[first:], *options.modes[:first]]
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as folder:
        work = Path(folder)
        url = f"http://127.0.0.1:{options.stub_port}"
        agents = work / "agents.yaml"
        agents.write_text((BENCH / "agents.yaml").read_text().replace(_STUB_IN_AGENTS, url))
        known = {
            each["name"]: Agent(**each) for each in yaml.safe_load(agents.read_text())["agents"]
        }
        log = work / "trunkline.log"
        with (
            stub(
                options.stub_python, options.stub, url,
                cpus=options.load_cpus, log=work / "stub.log",
            ) as config,
            trunkline(agents, work / "data", cpus=options.sut_cpus, log=log) as sut,
        ):  # fmt: skip
            stub_pid = config.pop("pid")
            phone(options, sut, work, known[modes[0]], calls=1, duration=1.0, name="warm-up")
            idle = sut.usage()
            time.sleep(_IDLE_S)
            idle_cores = (sut.usage().cpu - idle.cpu) / _IDLE_S
            for mode in modes:
                get(f"{url}/events?clear=1")
                agent = known[mode]
                window = Window(sut, stub_pid, calls, idle.rss, opened)
                found = phone(
                    options, sut, work, agent, calls=calls, duration=options.duration, name=mode,
                    window=window,
                )  # fmt: skip
                stub_lag = get(f"{url}/config")["lag_ms"]
                if stages:
                    add_stages(sut, found["calls"])
                complaints = log.read_text().splitlines()
                yield {
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "n": calls,
                    "mode": mode,
                    "repeat": repeat,
                    "machine": f"{psutil.cpu_count()} CPUs ({platform.machine()}), "
                    f"Python {platform.python_version()}",
                    "command": " ".join([f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
                    "discarded": found["send_lag_p99_ms"] > MAX_SEND_LAG_MS,
                    **settings(agent),
                    "hangover_ms": [_hangover(agent.endpointing.vad, file) for file in options.wav],
                    "stub": {name: value for name, value in config.items() if name != "lag_ms"},
                    "stub_lag_ms": stub_lag,
                    "idle_cores": idle_cores,
                    "log_lines": len(complaints),
                    "log_tail": complaints[-5:],
                    **window.found,
                    **found,
                }


def settings(agent: Agent) -> Json:
    """What of an agent's configuration its figures depend on."""
    guessing, how = agent.speculation, agent.endpointing
    return {
        "vad": how.vad,
        "silence_ms": how.silence_ms,
        "min_speech_ms": how.min_speech_ms,
        "speculation": guessing.enabled,
        "guess_after_ms": guessing.after_ms,
    }


@cache
def _hangover(kind: Kind, file: Path) -> int:
    return hangover_ms(vad_of(kind), load(file))


class Window:
    """What was used between the opening and the closing of the phone's window."""

    def __init__(
        self, sut: Trunkline, stub_pid: int, calls: int, rss_idle: int, opened: Opened | None
    ) -> None:
        self.found: Json = {}
        self._sut = sut
        self._opened = opened
        self._calls = calls
        self._rss_idle = self._rss_peak = rss_idle
        self._bench = [psutil.Process(stub_pid), psutil.Process()]
        self._open = False

    def opens(self, phone_pid: int) -> None:
        self._bench.append(psutil.Process(phone_pid))
        self._open = True
        self._began = time.monotonic()
        self._busy, self._ours, self._before = _busy_s(), _cpu_s(self._bench), self._sut.usage()
        self._commands = self._sut.bus_commands()
        if self._opened is not None:
            self._opened(self._sut)

    def second_passed(self) -> None:
        if self._open:
            self._rss_peak = max(self._rss_peak, self._sut.usage().rss)

    def closes(self) -> None:
        self.second_passed()
        self._open = False
        after, before = self._sut.usage(), self._before
        commands = self._sut.bus_commands()
        ours = _cpu_s(self._bench) - self._ours
        cpu = after.cpu - before.cpu
        seconds = time.monotonic() - self._began
        per_call_minute = 60 / seconds / self._calls
        self.found = {
            "cpu_s_per_call_minute": cpu * per_call_minute,
            "cpu_by_role": {
                role: {
                    "user": (after.user[role] - before.user[role]) * per_call_minute,
                    "system": (after.system[role] - before.system[role]) * per_call_minute,
                }
                for role in after.user
            },
            "bus_commands_per_s": {
                name: (count - self._commands.get(name, 0)) / seconds
                for name, count in commands.items()
                if count > self._commands.get(name, 0)
            },
            "sut_cores": cpu / seconds,
            "bench_cores": ours / seconds,
            # Whatever else ran on this machine: what makes a figure provisional.
            "other_cores": max(0.0, _busy_s() - self._busy - ours - cpu) / seconds,
            "rss_idle_mb": self._rss_idle / 2**20,
            "rss_per_call_mb": (self._rss_peak - self._rss_idle) / 2**20 / self._calls,
        }


def phone(
    options: argparse.Namespace,
    sut: Trunkline,
    work: Path,
    agent: Agent,
    *,
    calls: int,
    duration: float,
    name: str,
    window: Window | None = None,
) -> Json:
    """Let the phones call, and give what they found."""
    command = [
        sys.executable, str(BENCH / "phone.py"), sut.sip, "--calls", str(calls),
        "--called", agent.name, "--duration", str(duration), "--name", name,
        *(("--barge-after", str(_BARGE_AFTER_S)) if agent.name.startswith("barge") else ()),
        "--wav", *(str(file) for file in options.wav),
    ]  # fmt: skip
    found: Json = {}
    log = work / "phone.log"
    with running(command, cpus=options.load_cpus, log=log) as process:
        for line in lines(process, patience_s=duration + 60):
            event = line.pop("event") if line else None
            if event == "result":
                found = line or {}
            elif window is not None:
                if event == "open":
                    window.opens(process.pid)
                elif event == "closed":
                    window.closes()
                else:
                    window.second_passed()
    if not found:
        raise BenchError(f"the phone had no result: {log.read_text()[-1000:]}")
    if unanswered := [call for call in found["calls"] if "INVITE" in str(call["errors"])]:
        refusals = sorted({error for call in unanswered for error in call["errors"]})
        raise RefusedError(f"{len(unanswered)} calls were not answered: {', '.join(refusals)}")
    return found


def add_stages(sut: Trunkline, calls: list[Json]) -> None:
    """Add to each turn what the call's own log says of it: the stages of `calls/timing.py`."""
    wanted = {call["name"] for call in calls}
    deadline = time.monotonic() + _RECORDED_S
    while True:
        listed = sut.ask("calls", "list", "--limit", "1000")
        kept = {each["caller"]: each["id"] for each in listed if not each["live"]}
        if wanted <= kept.keys():
            break
        if time.monotonic() > deadline:
            raise BenchError(f"calls without a record: {sorted(wanted - kept.keys())}")
        time.sleep(0.5)
    for call in calls:
        logged = sut.ask("calls", "show", kept[call["name"]])["turns"]
        for turn in call["turns"]:
            replied = turn["ended_wall_ms"] + turn["voice_to_voice_ms"]
            same = [
                each
                for each in logged
                if each["ended_at"] and turn["ended_wall_ms"] < _ms(each["ended_at"]) < replied
            ]
            if len(same) == 1 and same[0]["voice_to_voice_ms"] is not None:
                turn["stages_ms"] = same[0]["stages_ms"]
                turn["logged_ms"] = same[0]["voice_to_voice_ms"]
                turn["guesses_withdrawn"] = same[0]["guesses_withdrawn"]


def _ms(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() * 1000


def _busy_s() -> float:
    """CPU time that this machine has spent on anything, s."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
