"""Trunkline as the trunk of another Trunkline: it registers there, and is called there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.exchange import PASSWORDS, Exchange, agents, finished, free_both
from tests.support.stack import Installation, started_by_up

pytestmark = pytest.mark.deep


@pytest.fixture(scope="module")
def branch(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A second installation: to the first it is the phone `desk`, and the first is its trunk."""
    folder: Path = tmp_path_factory.mktemp("branch")
    head_office = {
        "name": "head-office",
        "uri": f"sip:127.0.0.1:{exchange.sip_port};transport=tcp",
        "registration": {"user": "desk", "password_env": "DESK_PASSWORD", "expires_s": 60},
        "options_s": 5,
    }
    (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": agents()}))
    (folder / "trunks.yaml").write_text(
        yaml.safe_dump({"trunks": [head_office], "policy": {"unknown_callers": "reject"}})
    )
    port = free_both()
    with started_by_up(
        folder,
        TRUNKLINE_SIP_LISTEN=f"udp:127.0.0.1:{port},tcp:127.0.0.1:{port}",
        TRUNKLINE_AGENTS=str(folder / "agents.yaml"),
        TRUNKLINE_TRUNKS=str(folder / "trunks.yaml"),
        **PASSWORDS,
    ) as installation:
        yield replace(installation, sip_port=port)


def of(exchange: Exchange, installation: Installation) -> Exchange:
    return replace(exchange, installation=installation)


def test_the_branch_calls_the_head_office(exchange: Exchange, branch: Installation) -> None:
    """Challenged as any phone is, and let in as `desk`."""
    number = f"sip:quick@127.0.0.1:{exchange.sip_port}"
    call = of(exchange, branch).call(number, agent="brief", trunk="head-office")
    status, said = finished(call, 60)
    assert status == 0, said
    assert of(exchange, branch).row(called=number)["trunk"] == "head-office"
    assert exchange.row(caller="+15550100", direction="inbound")["ending"] == "caller_hung_up"


def test_the_head_office_calls_the_branch(exchange: Exchange, branch: Installation) -> None:
    """By the binding of its registration, over the connection that the branch opened."""
    status, said = finished(exchange.call("sip:desk@127.0.0.1", agent="brief", trunk=""), 60)
    assert status == 0, said
    assert of(exchange, branch).row(trunk="head-office", direction="inbound")["answered_at"]
