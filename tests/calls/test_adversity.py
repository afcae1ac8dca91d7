"""What goes away in mid-call, and what becomes of the call: by the softphone, on any machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import make_url

from tests.calls.conftest import wavs_of
from tests.support.forwarder import Forwarder
from tests.support.stack import Installation, normal, started_by_hand, started_by_up

Turns = list[dict[str, Any]]


@contextmanager
def caller(installation: Installation, turns: Turns) -> Iterator[subprocess.Popen[str]]:
    """The softphone, talking; what it says of the call comes on stdout, line by line."""
    wavs = [argument for wav in wavs_of(turns) for argument in ("--wav", str(wav))]
    phone = subprocess.Popen(
        [sys.executable, "-m", "trunkline", "dial", *wavs,
         f"sip:clinic@127.0.0.1:{installation.sip_port}"],
        env=installation.environment, cwd=installation.data,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        with phone:
            yield phone
    finally:
        if phone.poll() is None:
            phone.kill()


def read_until(phone: subprocess.Popen[str], word: str) -> None:
    assert phone.stdout is not None
    for line in phone.stdout:
        if word in line:
            return
    raise AssertionError(f"the softphone never said {word!r}")


def the_call(installation: Installation) -> dict[str, Any]:
    """The only call there is, once it is recorded."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        calls = installation.ask("calls", "list")
        if calls and not calls[0]["live"]:
            return dict(installation.ask("calls", "show", calls[0]["id"]))
        time.sleep(0.5)
    raise AssertionError("the call was not recorded")


def said(call: dict[str, Any]) -> list[str]:
    return [normal(turn["caller_text"]) for turn in call["turns"] if turn["caller_text"]]


def pids(installation: Installation) -> dict[int, str]:
    return {p["pid"]: p["role"] for p in installation.ask("status")["processes"]}


@pytest.mark.deep
def test_every_role_by_hand_on_redis_and_postgres(
    redis_port: int, postgres_url: str, script: dict[str, Turns], tmp_path: Path
) -> None:
    turns = script["book-jones"]
    bus = f"redis://127.0.0.1:{redis_port}/1"
    with (
        started_by_hand(tmp_path, bus, postgres_url) as installation,
        caller(installation, turns) as phone,
    ):
        read_until(phone, "over:")
        call = the_call(installation)
        assert said(call) == [turn["said"] for turn in turns]
        assert call["ending"] == "agent_hung_up"
        assert installation.recording(call).stat().st_size > 100_000


def test_a_killed_transcriber_loses_no_word(script: dict[str, Turns], tmp_path: Path) -> None:
    """kill -9 of the worker that hears the call, while the caller speaks."""
    turns = script["cancel-thursday"]
    with (
        started_by_up(tmp_path, "--asr", "2") as installation,
        caller(installation, turns) as phone,
    ):
        read_until(phone, f"says {turns[0]['wav']}")
        time.sleep(0.5)
        owner = next(
            p["pid"]
            for p in installation.ask("status")["processes"]
            if p["role"] == "asr" and p["owned"]
        )
        os.kill(owner, signal.SIGKILL)
        read_until(phone, "over:")
        call = the_call(installation)
        assert said(call) == [turn["said"] for turn in turns]
        for turn, due in zip([t for t in call["turns"] if t["caller_text"]], turns, strict=True):
            assert re.search(due["expects"], turn["agent_text"], re.IGNORECASE), turn


@pytest.mark.deep
def test_a_bus_that_drops_every_connection_in_a_call(
    redis_port: int, script: dict[str, Turns], tmp_path: Path
) -> None:
    """A short outage: the call goes on, every word in place, and no process dies."""
    turns = script["refill-insulin"]
    with Forwarder("127.0.0.1", redis_port) as bus:
        url = f"redis://127.0.0.1:{bus.port}/2"
        with (
            started_by_up(tmp_path, TRUNKLINE_BUS_URL=url) as installation,
            caller(installation, turns) as phone,
        ):
            before = pids(installation)
            read_until(phone, f"says {turns[1]['wav']}")
            bus.cut()
            time.sleep(1.5)
            bus.mend()
            read_until(phone, "over:")
            call = the_call(installation)
            assert said(call) == [turn["said"] for turn in turns]
            assert pids(installation) == before


@pytest.mark.deep
def test_a_bus_that_stays_away_ends_the_call_clearly(
    redis_port: int, script: dict[str, Turns], tmp_path: Path
) -> None:
    turns = script["book-tuesday"]
    with Forwarder("127.0.0.1", redis_port) as bus:
        more = {
            "TRUNKLINE_BUS_URL": f"redis://127.0.0.1:{bus.port}/3",
            "TRUNKLINE_BUS_PATIENCE_SECONDS": "3",
        }
        with (
            started_by_up(tmp_path, **more) as installation,
            caller(installation, turns) as phone,
        ):
            before = pids(installation)
            read_until(phone, f"says {turns[1]['wav']}")
            bus.cut()
            read_until(phone, "over:")  # we hung up
            bus.mend()
            call = the_call(installation)
            assert call["ending"] == "bus_lost"
            assert said(call)[:1] == [turns[0]["said"]]
            assert pids(installation) == before


@pytest.mark.deep
def test_a_database_that_is_away_in_a_call_and_at_start(
    postgres_url: str, script: dict[str, Turns], tmp_path: Path
) -> None:
    """At start it is waited for; at the end of a call the recorder waits for it."""
    turns = script["refill-aspirin"]
    real = make_url(postgres_url)
    with Forwarder(real.host or "127.0.0.1", real.port or 5432, open_=False) as database:
        url = real.set(host="127.0.0.1", port=database.port)
        text = url.render_as_string(hide_password=False)
        waited = threading.Event()

        def mend_once_it_waits() -> None:
            log = tmp_path / "up.log"
            for _ in range(600):
                if log.exists() and "up.waiting_for_database" in log.read_text():
                    waited.set()
                    break
                time.sleep(0.1)
            database.mend()

        threading.Thread(target=mend_once_it_waits, daemon=True).start()
        with started_by_up(tmp_path, TRUNKLINE_DATABASE_URL=text) as installation:
            assert waited.is_set()
            before = pids(installation)
            with caller(installation, turns) as phone:
                read_until(phone, f"says {turns[-1]['wav']}")
                database.cut()
                read_until(phone, "over:")
            time.sleep(3)
            database.mend()
            call = the_call(installation)
            assert said(call) == [turn["said"] for turn in turns]
            assert pids(installation) == before


def test_an_agent_file_that_is_wrong_is_refused_at_start(tmp_path: Path) -> None:
    agents = tmp_path / "agents.yaml"
    agents.write_text("agents:\n  - name: clinic\n    greting: hello\n")
    environment = {
        **os.environ,
        "TRUNKLINE_AGENTS": str(agents),
        "TRUNKLINE_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "trunkline", "up", "--json"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "agents.yaml:3" in done.stderr
    assert "greeting" in done.stderr
    assert "Traceback" not in done.stderr


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    with started_by_up(tmp_path) as installation:
        there = [psutil.Process(pid) for pid in pids(installation)]
        assert len(there) >= 6
    assert [process for process in there if process.is_running()] == []
