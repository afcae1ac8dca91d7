"""The processes of a measurement: started here, pinned, accounted for, stopped by their pid."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from redis import Redis

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
_STOP_S = 30.0


class BenchError(Exception):
    """The measurement cannot be made; the message says what to mend."""


class RefusedError(BenchError):
    """Calls were not answered."""


def pinned(command: list[str], cpus: str) -> list[str]:
    """A command line that keeps a process, and those it starts, on these CPUs ("" for any)."""
    return ["taskset", "--cpu-list", cpus, *command] if cpus else command


def lines(process: subprocess.Popen[bytes], patience_s: float) -> Iterator[Json | None]:
    """The JSON lines that a process prints, and None for each second without one.

    Raises:
        BenchError: nothing came for so long, or the process failed.
    """
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        buffer, last = b"", time.monotonic()
        while True:
            if not selector.select(1.0):
                if time.monotonic() > last + patience_s:
                    raise BenchError(f"{process.args!r} said nothing for {patience_s:.0f} s")
                yield None
                continue
            data, last = process.stdout.read(), time.monotonic()
            if not data:
                break
            *whole, buffer = (buffer + data).split(b"\n")
            yield from map(json.loads, whole)
    if process.wait():
        raise BenchError(f"{process.args!r} ended with status {process.returncode}")


@contextmanager
def running(
    command: list[str],
    *,
    cpus: str = "",
    env: dict[str, str] | None = None,
    log: Path,
    talk: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; stop it at the end. `talk`: its standard input is a pipe, too."""
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            pinned(command, cpus), stdin=subprocess.PIPE if talk else None,
            stdout=subprocess.PIPE, stderr=stderr, env=env, cwd=ROOT,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


# -- the stub


def get(url: str) -> Any:
    """JSON from a URL of this machine."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


@contextmanager
def stub(python: str, script: Path, url: str, *, cpus: str, log: Path) -> Iterator[Json]:
    """The providers, with their nominal delays."""
    port = url.rpartition(":")[2]
    try:
        get(f"{url}/config")
    except OSError:
        pass
    else:
        raise BenchError(f"something listens at {url} already: stop it, or pass --stub-port")
    with running([python, str(script), "--port", port], cpus=cpus, log=log) as process:
        for _ in range(100):
            time.sleep(0.1)
            if process.poll() is not None:
                raise BenchError(
                    f"the stub did not start: {log.read_text()[-500:]}\n(it needs the packages of "
                    "the dependency group bench: make bench installs it)"
                )
            try:
                yield get(f"{url}/config") | {"pid": process.pid}
            except OSError:
                continue
            return
        raise BenchError(f"the stub does not answer at {url}")


# -- the system under test


class Usage(NamedTuple):
    """What the processes have used so far: CPU in s by role (user, system), memory in bytes."""

    user: dict[str, float]
    system: dict[str, float]
    rss: int

    @property
    def cpu(self) -> float:
        return sum(self.user.values()) + sum(self.system.values())


class Trunkline:
    """A running `trunkline up`."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Json, env: dict[str, str]) -> None:
        self.sip = ready["sip"].removeprefix("udp:")
        self.pids: dict[str, int] = {each["role"]: each["pid"] for each in ready["processes"]}
        self._env = env
        self._bus = Redis.from_url(ready["bus"])
        self._watched = {"up": psutil.Process(process.pid)}
        self._watched |= {role: psutil.Process(pid) for role, pid in self.pids.items()}

    def usage(self) -> Usage:
        """Add up every process of it.

        Raises:
            BenchError: one has died.
        """
        user, system, rss = {}, {}, 0
        for role, process in self._watched.items():
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.NoSuchProcess:
                raise BenchError(f"the {role} process died: see trunkline.log") from None
            user[role], system[role] = times.user, times.system
            rss += memory.rss
        return Usage(user, system, rss)

    def bus_commands(self) -> dict[str, int]:
        """How often the bus was given each command, since it started."""
        stats: Any = self._bus.info("commandstats")
        return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}

    def ask(self, *command: str) -> Any:
        """What `trunkline COMMAND --json` answers."""
        answer = subprocess.run(
            [sys.executable, "-m", "trunkline", *command, "--json"],
            env=self._env, cwd=ROOT, check=False, capture_output=True, timeout=60,
        )  # fmt: skip
        if answer.returncode:
            raise BenchError(f"trunkline {' '.join(command)}: {answer.stderr.decode()[-500:]}")
        return json.loads(answer.stdout)


@contextmanager
def trunkline(agents: Path, data_dir: Path, *, cpus: str, log: Path) -> Iterator[Trunkline]:
    """The whole system on free ports of this machine: embedded bus, SQLite, one process a role."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    env |= {
        "TRUNKLINE_DATA_DIR": str(data_dir),
        "TRUNKLINE_AGENTS": str(agents),
        "TRUNKLINE_SIP_LISTEN": "udp:127.0.0.1:0",
        "TRUNKLINE_HTTP_LISTEN": "127.0.0.1:0",
        "TRUNKLINE_LOG_LEVEL": "warning",
        "TRUNKLINE_LOG_FORMAT": "json",
        "TRUNKLINE_DRAIN_SECONDS": "1",
        # What is measured is the machine's limit, not the one that protects it.
        "TRUNKLINE_ASR_CAPACITY": "500",
        "TRUNKLINE_LLM_CAPACITY": "500",
        "TRUNKLINE_TTS_CAPACITY": "500",
    }
    command = [sys.executable, "-m", "trunkline", "up", "--json"]
    with running(command, cpus=cpus, env=env, log=log) as process:
        for line in lines(process, patience_s=90):
            if line is not None:
                yield Trunkline(process, line, env)
                return
        raise BenchError(f"trunkline did not start: {log.read_text()[-1000:]}")
