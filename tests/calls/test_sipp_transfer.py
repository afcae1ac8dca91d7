"""The agent hands the caller over (RFC 5589), with sipp as the caller and as the colleague."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.exchange import CARRIER, COLLEAGUE, Exchange
from tests.support.sipp import Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_sipp")]


def transfer(folder: Path, name: str) -> Sipp:
    return Sipp(f"transfer/{name}.xml", folder / name, caller=f"transfer-{name}", timeout_s=30)


def outcomes(exchange: Exchange, caller: str) -> tuple[str, list[str]]:
    """How the call ended, and what came of what the agent asked for."""
    call = exchange.recorded(caller=caller)
    return call["ending"], [done["outcome"] for done in exchange.log(call, "action.done")]


def test_a_blind_transfer(exchange: Exchange, tmp_path: Path) -> None:
    run = transfer(tmp_path, "blind")
    run.call(exchange.sip_port)
    call = exchange.recorded(caller=run.caller)
    assert call["ending"] == "transferred"
    steps = exchange.log(call, "transfer.progressed")
    assert [step["status"] for step in steps] == [100, 200]
    assert all(COLLEAGUE in step["target"] for step in steps)


@pytest.mark.parametrize("name", ["failed", "refused"])
def test_a_transfer_that_fails_brings_the_caller_back(
    exchange: Exchange, tmp_path: Path, name: str
) -> None:
    run = transfer(tmp_path, name)
    run.call(exchange.sip_port)
    ending, done = outcomes(exchange, run.caller)
    assert ending == "agent_hung_up"
    assert done[0] == "failed"


def test_an_attended_transfer(exchange: Exchange, tmp_path: Path) -> None:
    """The agent calls its colleague by the trunk, then has the caller take that call over."""
    colleague = Sipp(
        "transfer/colleague.xml", tmp_path / "colleague", local=CARRIER,
        port=exchange.ports["carrier"], timeout_s=30,
    )  # fmt: skip
    run = transfer(tmp_path, "attended")
    with colleague.answering():
        messages = run.call(exchange.sip_port)
    refer = next(message for message in messages if message.start.startswith("REFER "))
    consulted = colleague.received[0].header("Call-ID")
    assert consulted.partition("@")[0] in refer.header("Refer-To")
    assert exchange.recorded(caller=run.caller)["ending"] == "transferred"
