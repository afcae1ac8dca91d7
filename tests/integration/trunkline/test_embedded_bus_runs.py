"""The embedded bus with a real server: it starts, is alone, keeps what it was told, and dies."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from trunkline import embedded_bus
from trunkline.buses import open_bus
from trunkline.children import Child, ChildFailedError, spawn
from trunkline.errors import UserError
from trunkline.settings import load_settings


async def start(data_dir: Path) -> Child:
    argv = embedded_bus.command(embedded_bus.find_server(), data_dir)
    child = await spawn("bus", argv, os.environ, quiet=True)
    await embedded_bus.ServerReadiness(data_dir)(child)
    return child


async def test_it_starts_serves_and_stops(tmp_path: Path) -> None:
    assert embedded_bus.running(tmp_path) is None
    child = await start(tmp_path)
    try:
        assert embedded_bus.running(tmp_path) == f"unix://{embedded_bus.socket_path(tmp_path)}"
        with pytest.raises(UserError, match="runs already"):
            embedded_bus.command(embedded_bus.find_server(), tmp_path)
        async with open_bus(load_settings(data_dir=tmp_path)) as bus:
            assert await bus.presence.processes() == []
            assert await bus.queues["asr"].lag() == (0, 0)
    finally:
        await child.stop(5.0)
    assert child.how_it_ended == "status 0"
    assert embedded_bus.running(tmp_path) is None


def test_of_two_starts_at_once_one_wins(tmp_path: Path) -> None:
    # Neither answers yet, so each may think that it is alone.
    embedded_bus.command(embedded_bus.find_server(), tmp_path)
    embedded_bus.command(embedded_bus.find_server(), tmp_path)
    with embedded_bus.claim(tmp_path), pytest.raises(UserError, match="runs already"):
        embedded_bus.claim(tmp_path)
    embedded_bus.claim(tmp_path).close()


async def test_what_was_written_outlives_a_restart(tmp_path: Path) -> None:
    child = await start(tmp_path)
    async with open_bus(load_settings(data_dir=tmp_path)) as bus:
        with pytest.raises(ResponseError):
            await bus.queues["asr"].sweep()
        await bus.queues["asr"].ensure_group()
    await child.stop(5.0)
    again = await start(tmp_path)
    try:
        async with open_bus(load_settings(data_dir=tmp_path)) as bus:
            await bus.queues["asr"].sweep()  # NOGROUP if it were lost
    finally:
        again.kill()
        await again.process.wait()
    assert again.how_it_ended == "SIGKILL"


async def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    argv = embedded_bus.command(embedded_bus.find_server(), tmp_path)
    (tmp_path / "bus" / "appendonlydir").write_text("not a folder")
    child = await spawn("bus", argv, os.environ, quiet=True)
    with pytest.raises(ChildFailedError, match=r"did not start: .*server\.log"):
        await embedded_bus.ServerReadiness(tmp_path)(child)


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="cannot start"):
        await spawn("bus", [str(tmp_path / "absent")], {})


_PARENT = """
import asyncio, os, sys
from trunkline.children import spawn
async def main():
    child = await spawn("child", [sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_no_child_outlives_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        watch = os.pidfd_open(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    # The descriptor of a process becomes readable when it ends.
    try:
        assert select.select([watch], [], [], 10.0)[0]
    finally:
        os.close(watch)
