"""What goes away in mid-call, and what becomes of the call: by the softphone, on any machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import make_url

from tests.calls.conftest import wavs_of
from tests.support.forwarder import Forwarder
from tests.support.redis_server import RedisServer
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


def the_log(installation: Installation, kind: str) -> list[dict[str, Any]]:
    """What the log of the only call there is holds of a kind."""
    calls = installation.ask("calls", "list")
    events = installation.ask("calls", "events", calls[0]["id"]) if calls else []
    return [event["payload"] for event in events if event["kind"] == kind]


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


@pytest.mark.deep  # half a minute; test_chaos.py kills in `make test`
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


_LONG = partial(pytest.param, marks=pytest.mark.long)


def _killed(bus: RedisServer) -> None:
    bus.kill()
    time.sleep(1)
    bus.start()


def _paused(bus: RedisServer) -> None:
    bus.ask("CLIENT", "PAUSE", 5000, "ALL")
    time.sleep(5)


def _stopped(bus: RedisServer) -> None:
    bus.stop()
    time.sleep(5)
    bus.resume()


def _refusing_writes(bus: RedisServer) -> None:
    bus.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    time.sleep(3)
    bus.ask("CONFIG", "SET", "min-replicas-to-write", 0)


@pytest.mark.deep
@pytest.mark.parametrize("outage", [_LONG(_paused), _stopped, _killed, _LONG(_refusing_writes)])
def test_a_bus_that_comes_back_with_its_data_has_lost_no_word(
    script: dict[str, Turns], tmp_path: Path, outage: Callable[[RedisServer], None]
) -> None:
    """Away while the caller speaks: the answer is late, and that is all."""
    turns = script["refill-insulin"]
    with (
        RedisServer(tmp_path / "redis", persistent=True) as bus,
        started_by_up(tmp_path, TRUNKLINE_BUS_URL=bus.url) as installation,
        caller(installation, turns) as phone,
    ):
        before = pids(installation)
        read_until(phone, f"says {turns[1]['wav']}")
        outage(bus)
        read_until(phone, "over:")
        call = the_call(installation)
        assert said(call) == [turn["said"] for turn in turns]
        assert call["ending"] == "agent_hung_up"
        assert pids(installation) == before


@pytest.mark.deep
@pytest.mark.parametrize("outage", [_killed, _LONG(lambda bus: bus.ask("FLUSHALL"))])
def test_a_call_outlives_a_bus_that_lost_its_data(
    script: dict[str, Turns], tmp_path: Path, outage: Callable[[RedisServer], None]
) -> None:
    """Lost while the agent speaks: the next turns are heard and answered, the earlier are kept."""
    turns = script["book-tuesday"]
    with (
        RedisServer(tmp_path / "redis") as bus,
        started_by_up(tmp_path, TRUNKLINE_BUS_URL=bus.url) as installation,
        caller(installation, turns) as phone,
    ):
        before = pids(installation)
        read_until(phone, f"says {turns[1]['wav']}")
        while len(the_log(installation, "turn.ended")) < 2:
            time.sleep(0.2)
        outage(bus)
        read_until(phone, "over:")
        call = the_call(installation)
        assert said(call) == [turn["said"] for turn in turns]
        for turn, due in zip([t for t in call["turns"] if t["caller_text"]], turns, strict=True):
            assert re.search(due["expects"], turn["agent_text"], re.IGNORECASE), turn
        assert call["ending"] == "agent_hung_up"
        assert installation.recording(call).stat().st_size > 100_000
        assert pids(installation) == before
        [failure] = the_log(installation, "stage.failed")
        assert failure["error_type"] == "bus_data_lost"


@pytest.mark.long
@pytest.mark.deep
def test_processes_wait_for_a_bus_without_dying_or_spinning(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "redis") as bus,
        started_by_up(tmp_path, TRUNKLINE_BUS_URL=bus.url) as installation,
    ):
        before = pids(installation)

        def used() -> dict[str, float]:
            times = {role: psutil.Process(pid).cpu_times() for pid, role in before.items()}
            return {role: each.user + each.system for role, each in times.items()}

        for outage in ("refusing writes", "gone"):
            if outage == "gone":
                bus.kill()
            else:
                bus.ask("CONFIG", "SET", "min-replicas-to-write", 1)
            time.sleep(3)
            begin = used()
            time.sleep(15)
            spent = {role: seconds - begin[role] for role, seconds in used().items()}
            assert max(spent.values()) < 1.5, (outage, spent)
        bus.start()
        deadline = time.monotonic() + 30
        while pids(installation) != before:
            assert time.monotonic() < deadline, "not all processes are back on the bus"
            time.sleep(0.5)


@pytest.mark.long
@pytest.mark.deep
def test_calls_that_end_while_the_database_is_away_for_a_minute_are_all_kept(
    postgres_url: str, script: dict[str, Turns], tmp_path: Path
) -> None:
    callers = [script[name] for name in ("refill-aspirin", "cancel-monday", "hours-and-address")]
    real = make_url(postgres_url)
    with Forwarder(real.host or "127.0.0.1", real.port or 5432) as database:
        url = real.set(host="127.0.0.1", port=database.port)
        text = url.render_as_string(hide_password=False)
        with started_by_up(tmp_path, TRUNKLINE_DATABASE_URL=text) as installation:
            before = pids(installation)
            with ExitStack() as stack:
                phones = [stack.enter_context(caller(installation, turns)) for turns in callers]
                for phone in phones:
                    read_until(phone, "says")
                database.cut()
                cut_at = time.monotonic()
                for phone in phones:
                    read_until(phone, "over:")
            time.sleep(max(0.0, cut_at + 60 - time.monotonic()))
            assert pids(installation) == before
            database.mend()
            deadline = time.monotonic() + 30
            while sum(not call["live"] for call in installation.ask("calls", "list")) < len(
                callers
            ):
                assert time.monotonic() < deadline, installation.ask("calls", "list")
                time.sleep(0.5)
            kept = [
                installation.ask("calls", "show", call["id"])
                for call in installation.ask("calls", "list")
            ]
            assert sorted(said(call) for call in kept) == sorted(
                [turn["said"] for turn in turns] for turns in callers
            )
            assert all(installation.recording(call).exists() for call in kept)


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
