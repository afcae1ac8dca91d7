"""The registrar, by sipp (RFC 3665 section 2). sipp answers the challenge by MD5; baresip and
linphonec register in their own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.exchange import PASSWORDS, Exchange
from tests.support.sipp import Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_sipp")]


def register(exchange: Exchange, folder: Path, name: str, user: str, password: str) -> None:
    run = Sipp(
        f"register/{name}.xml", folder / name, caller=user, options=("-au", user, "-ap", password)
    )
    run.call(exchange.sip_port)


def test_a_phone_registers_and_goes(exchange: Exchange, tmp_path: Path) -> None:
    register(exchange, tmp_path, "registered", "alice", PASSWORDS["ALICE_PASSWORD"])


def test_a_registration_that_is_too_brief(exchange: Exchange, tmp_path: Path) -> None:
    register(exchange, tmp_path, "too_brief", "alice", PASSWORDS["ALICE_PASSWORD"])


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("mallory", "secret-of-alice")])
def test_who_may_not_register_is_never_told_why(
    exchange: Exchange, tmp_path: Path, user: str, password: str
) -> None:
    register(exchange, tmp_path, "unauthorized", user, password)
