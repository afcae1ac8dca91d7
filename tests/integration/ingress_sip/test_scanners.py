"""What sipvicious finds out: who is there, whom it could call as, and by which password."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final, Literal

import pytest

from ingress_sip.limits import Allowance, Silence, SourceLimits, unlimited
from ingress_sip.server import SipServer
from ingress_sip.trunking.config import Trunks
from tests.integration.ingress_sip.conftest import SECRETS
from tests.integration.ingress_sip.phone import StartServer

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("svmap") is None, reason="sipvicious is missing"),
]

_WITHIN_S: Final = 30.0
_GUESSES: Final = 5


def limits() -> SourceLimits:
    """Loopback is trusted by default: here it is a source like others."""
    plenty = Allowance(10_000, 10_000)
    return SourceLimits(plenty, plenty, Silence(failures=_GUESSES))


def trunks(unknown: Literal["reject", "silent"], *domains: str) -> Trunks:
    phones = {
        "realm": "example.com",
        "domains": domains,
        "users": [{"name": "alice", "password_env": "ALICE_PASSWORD"}],
    }
    return Trunks.model_validate({"phones": phones, "policy": {"unknown_callers": unknown}})


class Scanner:
    """Runs sipvicious in a home of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def words(self, *words: str) -> str:
        """A dictionary."""
        path = self._home / "words"
        path.write_text("".join(f"{word}\n" for word in words))
        return str(path)

    async def run(self, program: str, server: SipServer, *args: str) -> str:
        """What it says."""
        running = await asyncio.create_subprocess_exec(
            program, "-p", str(server.listening[0].port), *args, "127.0.0.1",
            env={**os.environ, "HOME": str(self._home)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_WITHIN_S):
                said, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
                await running.wait()
        return said.decode()


@pytest.fixture
def scanner(tmp_path: Path) -> Scanner:
    return Scanner(tmp_path)


async def test_where_we_are_silent_nobody_is_found(
    start_server: StartServer, scanner: Scanner
) -> None:
    server = await start_server(trunks=trunks("silent"), limits=limits())
    users = ("-d", scanner.words("alice", "bob"), "--maximumtime", "2", "--force")
    found = await asyncio.gather(
        *(
            scanner.run(program, server, "-m", method, *args)
            for program, args in (("svmap", ()), ("svwar", users))
            for method in ("OPTIONS", "INVITE", "REGISTER")
        )
    )
    for said in found:
        assert "found nothing" in said or "no response" in said.lower(), said
        assert "alice" not in said


async def test_no_user_is_told_from_another(start_server: StartServer, scanner: Scanner) -> None:
    users = ("alice", "bob", "100")
    words = scanner.words(*users)

    async def asked(method: str) -> str:
        server = await start_server(trunks=trunks("reject", "127.0.0.1"), limits=limits())
        return await scanner.run("svwar", server, "--force", "-m", method, "-d", words)

    # All at once: a scanner waits seconds for answers that do not come.
    for said in await asyncio.gather(*map(asked, ("OPTIONS", "REGISTER", "INVITE"))):
        assert len({f"| {user} " in said for user in users}) == 1, said


@pytest.mark.deep  # it waits long for answers that do not come
@pytest.mark.parametrize("guarded", [True, False])
async def test_whoever_guesses_is_silenced_before_it_comes_to_the_password(
    start_server: StartServer, scanner: Scanner, *, guarded: bool
) -> None:
    server = await start_server(
        trunks=trunks("reject", "127.0.0.1"), limits=limits() if guarded else unlimited()
    )
    wrong = (f"wrong{number}" for number in range(2 * _GUESSES))
    words = scanner.words(*wrong, SECRETS["ALICE_PASSWORD"])
    said = await scanner.run("svcrack", server, "-u", "alice", "-d", words, "--maximumtime", "3")
    assert (SECRETS["ALICE_PASSWORD"] in said) is not guarded, said
