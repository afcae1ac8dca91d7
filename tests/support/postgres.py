"""A Postgres to test on: a new database on a server that is there.

Looked for in this order: TRUNKLINE_TEST_POSTGRES_URL; a server on 127.0.0.1:5432 that trusts root;
one of our own, when its programs are installed and we are not root (it refuses root).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=2)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Postgres server where we may create databases."""
    given = os.environ.get("TRUNKLINE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    usual = "postgresql://root@127.0.0.1:5432/test"
    if asyncio.run(_answers(usual)):
        yield usual
        return
    initdb, pg_ctl = shutil.which("initdb"), shutil.which("pg_ctl")
    if initdb is None or pg_ctl is None or os.geteuid() == 0:
        pytest.skip("no Postgres: none on 127.0.0.1:5432, and none that we could start")
    yield from _own_server(initdb, pg_ctl, tmp_path_factory.mktemp("postgres"))


def _own_server(initdb: str, pg_ctl: str, home: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(home / "data")
    subprocess.run([initdb, "-D", data, "-A", "trust", "-U", "test"], check=True, timeout=60)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    log = str(home / "log")
    subprocess.run([pg_ctl, "-D", data, "-o", options, "-l", log, "-w", "start"], check=True)
    try:
        yield f"postgresql://test@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([pg_ctl, "-D", data, "-m", "immediate", "stop"], check=True, timeout=60)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new, empty Postgres database."""
    name = f"trunkline_{secrets.token_hex(6)}"

    async def administer(statement: str) -> None:
        connection = await asyncpg.connect(postgres_server, timeout=5)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(administer(f"CREATE DATABASE {name}"))
    yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    asyncio.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))
