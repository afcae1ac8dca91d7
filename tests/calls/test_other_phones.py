"""linphonec, sipsak, and the scanners that find every open port within minutes."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from media.correlate import coverage
from tests.calls.test_baresip_transports import QUESTION, agent_channel, understood
from tests.support import linphone
from tests.support.baresip import spoken
from tests.support.exchange import CARRIER, Exchange
from tests.support.linphone import Linphone
from tests.support.sipp import Sipp

pytestmark = pytest.mark.peers


def run(program: str, package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: {package})")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.deep
def test_linphonec_is_understood(exchange: Exchange, tmp_path: Path) -> None:
    if not linphone.available:
        pytest.skip("linphonec is not installed (Debian: linphone-cli)")
    phone = Linphone(tmp_path / "phone", "linphone")
    phone.prepare(spoken([QUESTION], before_s=4.5, between_s=8, after_s=10))
    with phone.talking(f"sip:clinic@127.0.0.1:{exchange.sip_port}"):
        time.sleep(12.5)
    call = exchange.recorded(caller="linphone")
    understood(call)
    assert coverage(agent_channel(exchange.installation, call), phone.heard) > 0.95


def test_sipsak_gets_an_answer(exchange: Exchange) -> None:
    uri = f"sip:quick@127.0.0.1:{exchange.sip_port}"
    done = run("sipsak", "sipsak", "-s", uri, "-v")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_scanner_does_no_harm(exchange: Exchange, tmp_path: Path) -> None:
    run("svmap", "sipvicious", "-p", str(exchange.sip_port), "127.0.0.1")
    run("svwar", "sipvicious", "-e", "100-119", "-p", str(exchange.sip_port), "127.0.0.1")
    Sipp("inbound/bye.xml", tmp_path).call(exchange.sip_port)


@pytest.mark.usefixtures("needs_sipp")
def test_strangers_find_nobody_and_the_trunk_is_served(guarded: Exchange, tmp_path: Path) -> None:
    """`unknown_callers: silent`: to a stranger the port is as good as closed; its trunk gets on."""
    found = run("svmap", "sipvicious", "-p", str(guarded.sip_port), "127.0.0.1")
    assert f"127.0.0.1:{guarded.sip_port}" not in found.stdout
    trunk = Sipp("inbound/bye.xml", tmp_path / "trunk", caller="by-trunk", local=CARRIER)
    trunk.call(guarded.sip_port)
    assert guarded.row(caller="by-trunk")["trunk"] == "carrier"
    stranger = Sipp("inbound/options.xml", tmp_path / "stranger", timeout_s=2, options=("-nr",))
    with pytest.raises(AssertionError):
        stranger.call(guarded.sip_port)
    assert stranger.received == []


@pytest.mark.usefixtures("needs_sipp")
def test_a_full_trunk_gets_503_and_when_to_try_again(guarded: Exchange, tmp_path: Path) -> None:
    """Two calls, where the trunk may have one (RFC 3261 21.5.4)."""
    Sipp("guarded/full.xml", tmp_path, local=CARRIER).call(guarded.sip_port)
