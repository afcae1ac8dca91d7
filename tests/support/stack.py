"""The whole installation, as a user starts it: `trunkline up`, or every role by hand."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Installation:
    """A running installation, asked through the command line only."""

    environment: dict[str, str]
    sip_port: int
    data: Path

    def trunkline(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trunkline", *arguments],
            env=self.environment,
            cwd=self.data,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        return json.loads(self.trunkline(*arguments, "--json"))

    def recorded_call(self, caller: str) -> dict[str, Any]:
        """The call of that caller, once its recording is kept."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for call in self.ask("calls", "list"):
                if call["caller"] == caller and call["ended_at"] and not call["live"]:
                    return dict(self.ask("calls", "show", call["id"]))
            time.sleep(0.5)
        raise AssertionError(f"no call from {caller} was recorded: {self.ask('calls', 'list')}")

    def recording(self, call: dict[str, Any]) -> Path:
        return Path(call["recording_file"])


def settings(data: Path, **more: str) -> tuple[dict[str, str], int]:
    """An environment of its own, on loopback and free ports."""
    sip_port = free_port(socket.SOCK_DGRAM)
    rtp = free_port(socket.SOCK_DGRAM) // 2 * 2 % 20000 + 30000
    ours = {
        "TRUNKLINE_DATA_DIR": str(data),
        "TRUNKLINE_SIP_LISTEN": f"udp:127.0.0.1:{sip_port}",
        "TRUNKLINE_RTP_PORTS": f"{rtp}-{rtp + 400}",
        "TRUNKLINE_HTTP_LISTEN": f"127.0.0.1:{free_port(socket.SOCK_STREAM)}",
        "TRUNKLINE_AGENTS": str(ROOT / "agents.example.yaml"),
        "PYTHONPATH": str(ROOT),
        **more,
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TRUNKLINE_")}
    return inherited | ours, sip_port


@contextmanager
def started_by_up(data: Path, *arguments: str, **more: str) -> Iterator[Installation]:
    environment, sip_port = settings(data, **more)
    with (data / "up.log").open("w") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "trunkline", "up", "--json", *arguments],
            env=environment,
            cwd=data,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert up.stdout is not None
            line = up.stdout.readline()
            assert line, (data / "up.log").read_text()[-3000:]
            assert json.loads(line)["event"] == "ready"
            yield Installation(environment, sip_port, data)
        finally:
            stop(up)
            if up.stdout is not None:
                up.stdout.close()


@contextmanager
def started_by_hand(
    data: Path, bus_url: str, database_url: str, **more: str
) -> Iterator[Installation]:
    """Each role its own process, as README says for more than one machine."""
    environment, sip_port = settings(
        data, TRUNKLINE_BUS_URL=bus_url, TRUNKLINE_DATABASE_URL=database_url, **more
    )
    installation = Installation(environment, sip_port, data)
    installation.trunkline("migrate")
    roles = []
    try:
        for role in ("recorder", "tts", "llm", "asr", "admin", "sip"):
            with (data / f"{role}.log").open("w") as log:
                roles.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "trunkline", role],
                        env=environment,
                        cwd=data,
                        stdout=log,
                        stderr=log,
                    )
                )
        deadline = time.monotonic() + PATIENCE_S
        while {p["role"] for p in installation.ask("status")["processes"]} < {
            "recorder", "tts", "llm", "asr", "admin", "sip"
        }:  # fmt: skip
            assert time.monotonic() < deadline, "not all roles came up"
            time.sleep(0.5)
        yield installation
    finally:
        for process in reversed(roles):
            stop(process)


@contextmanager
def role_of(installation: Installation, role: str) -> Iterator[subprocess.Popen[bytes]]:
    """One more process of a role, beside those that the installation was started with."""
    with (installation.data / f"{role}-more.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trunkline", role],
            env=installation.environment, cwd=installation.data, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def normal(text: str) -> str:
    """Words as a transcript has them."""
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()
