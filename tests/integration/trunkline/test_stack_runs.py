"""The stack with processes that only pretend to be roles: started, restarted, stopped in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from trunkline.children import ChildFailedError
from trunkline.settings import Settings, load_settings
from trunkline.stack import Stack

#: Announces itself, writes its end into a file, and takes an address as the real ones do.
_ROLE = """
import json, os, signal, sys
role, journal, fd = sys.argv[1], sys.argv[2], int(sys.argv[4])
if os.path.exists(journal + "." + role + ".fails"):
    sys.exit(3)
where = {"sip": {"sip": "udp:127.0.0.1:5999"}, "admin": {"http": "http://127.0.0.1:8999"}}
line = {"event": "ready", "role": role, "pid": os.getpid(), **where.get(role, {})}
assert os.environ["TRUNKLINE_BUS_URL"] == "redis://127.0.0.1:1"
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with os.fdopen(fd, "w") as pipe:
    pipe.write(json.dumps(line) + chr(10))
with open(journal, "a") as file:
    file.write(f"+{role} {os.environ['TRUNKLINE_SIP_LISTEN']}" + chr(10))
signal.sigwait([signal.SIGTERM])
with open(journal, "a") as file:
    file.write(f"-{role}" + chr(10))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path, bus_url="redis://127.0.0.1:1", sip_listen="udp:127.0.0.1:0",
        drain_seconds=0,
    )  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (file := tmp_path / "journal").touch()
    return file


@asynccontextmanager
async def running(settings: Settings, journal: Path, **sizes: int) -> AsyncIterator[Any]:
    def command(role: str) -> list[str]:
        return [sys.executable, "-c", _ROLE, role, str(journal)]

    stack = Stack(settings, sizes=sizes, command=command)
    announcement = await stack.start()
    try:
        yield stack, announcement
    finally:
        await stack.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_all_are_announced_and_stopped_front_to_back(
    settings: Settings, journal: Path
) -> None:
    async with running(settings, journal, asr=3) as (_, announcement):
        assert announcement["event"] == "ready"
        assert announcement["sip"] == "udp:127.0.0.1:5999"
        assert announcement["http"] == "http://127.0.0.1:8999"
        assert announcement["bus"] == settings.bus_url
        assert announcement["database"] == settings.database_url
        roles = sorted(process["role"] for process in announcement["processes"])
        assert roles == ["admin", "asr", "asr", "asr", "llm", "recorder", "sip", "tts"]
        assert all(isinstance(process["pid"], int) for process in announcement["processes"])
    ended = [line[1:] for line in journal.read_text().splitlines() if line.startswith("-")]
    assert ended[0] == "sip"
    assert ended[-1] == "recorder"
    assert len(ended) == 8


async def test_a_role_that_dies_comes_back_where_it_was(settings: Settings, journal: Path) -> None:
    async with running(settings, journal) as (stack, announcement):
        (sip,) = [p["pid"] for p in announcement["processes"] if p["role"] == "sip"]
        os.kill(sip, signal.SIGKILL)
        await until(lambda: "+sip udp:127.0.0.1:5999" in journal.read_text())
        await until(
            lambda: (
                [p["pid"] for p in stack.announcement()["processes"] if p["role"] == "sip"] != [sip]
            )
        )


async def test_a_role_that_cannot_start_stops_all(settings: Settings, journal: Path) -> None:
    Path(f"{journal}.tts.fails").touch()
    with pytest.raises(ChildFailedError, match=r"tts \(pid \d+\) ended with status 3 before"):
        async with running(settings, journal):
            pytest.fail("it started")
