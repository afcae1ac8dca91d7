"""Real calls: a whole installation, and phones that are not ours."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import baresip, sipp
from tests.support import kamailio as kamailio_peer
from tests.support.exchange import Exchange
from tests.support.exchange import exchange as started_exchange
from tests.support.exchange import guarded as started_guarded
from tests.support.kamailio import Kamailio
from tests.support.postgres import postgres_server, postgres_url
from tests.support.stack import ROOT, Installation, free_port, started_by_up
from trunkline.embedded_bus import find_server

__all__ = ["postgres_server", "postgres_url"]

CALLERS = ROOT / "trunkline" / "callers"


@pytest.fixture(scope="session")
def script() -> dict[str, list[dict[str, Any]]]:
    """The shipped callers: name -> turns."""
    callers = yaml.safe_load((CALLERS / "script.yaml").read_text())["callers"]
    return {name: caller["turns"] for name, caller in callers.items()}


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`trunkline up`, with nothing given: its own bus, SQLite, the embedded providers."""
    with started_by_up(tmp_path_factory.mktemp("up")) as installation:
        yield installation


@pytest.fixture
def needs_baresip() -> None:
    if not baresip.available:
        pytest.skip("baresip is not installed (Debian: baresip-core)")


def wavs_of(turns: list[dict[str, Any]]) -> list[Path]:
    return [CALLERS / turn["wav"] for turn in turns]


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis-protocol server of our own, on a loopback port."""
    port = free_port(socket.SOCK_STREAM)
    folder = tmp_path_factory.mktemp("redis")
    server = subprocess.Popen(
        [str(find_server()), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
         "--appendonly", "no", "--dir", str(folder), "--logfile", str(folder / "log")],
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def kamailio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kamailio | None]:
    """A registrar and proxy that is not ours; None where it is not installed."""
    if not kamailio_peer.available:
        yield None
        return
    folder = tmp_path_factory.mktemp("kamailio")
    with kamailio_peer.started(folder) as server:
        yield server


@pytest.fixture(scope="session")
def exchange(
    tmp_path_factory: pytest.TempPathFactory, kamailio: Kamailio | None
) -> Iterator[Exchange]:
    """`trunkline up` with trunks, phones and every transport: one for all peers."""
    ports = (kamailio.port, kamailio.tls_port) if kamailio else (0, 0)
    authority = kamailio.authority if kamailio else None
    with started_exchange(tmp_path_factory.mktemp("exchange"), authority, *ports) as exchange:
        yield exchange


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """One that is silent to strangers, and takes a single call of its trunk."""
    with started_guarded(tmp_path_factory.mktemp("guarded")) as exchange:
        yield exchange


@pytest.fixture
def needs_sipp() -> None:
    if not sipp.available:
        pytest.skip("sipp is not installed (Debian: sip-tester)")
