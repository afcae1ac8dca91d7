"""The agent hands the caller over (RFC 5589), with sipp as the caller and as the colleague."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pytest

from tests.support.exchange import CARRIER, COLLEAGUE, Exchange
from tests.support.sipp import Message, Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_sipp")]


#: What becomes of each: how its call ends, and what came of the transfer.
TRANSFERS: Final = {
    "attended": ("transferred", "done"),
    "blind": ("transferred", "done"),
    "failed": ("agent_hung_up", "failed"),
    "refused": ("agent_hung_up", "failed"),
}
Runs = dict[str, Future[list[Message]]]


@pytest.fixture(scope="module")
def runs(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All transfers at once; the colleague is called for the attended one."""
    folder = tmp_path_factory.mktemp("transfer")

    def run(name: str) -> list[Message]:
        caller = Sipp(f"transfer/{name}.xml", folder / name, caller=name, timeout_s=30)
        return caller.call(exchange.sip_port)

    def answer() -> list[Message]:
        colleague = Sipp(
            "transfer/colleague.xml", folder / "colleague", local=CARRIER,
            port=exchange.ports["carrier"], timeout_s=30,
        )  # fmt: skip
        with colleague.answering():
            pass
        return colleague.messages

    with ThreadPoolExecutor(len(TRANSFERS) + 1) as pool:
        return {
            "colleague": pool.submit(answer),
            **{name: pool.submit(run, name) for name in TRANSFERS},
        }


@pytest.mark.parametrize("name", TRANSFERS)
def test_a_transfer_succeeds_or_brings_the_caller_back(
    exchange: Exchange, runs: Runs, name: str
) -> None:
    runs[name].result()
    row = exchange.row(caller=name)
    done = exchange.log(row, "action.done")[0]
    assert (row["ending"], done["outcome"]) == TRANSFERS[name], done


def test_the_steps_of_a_transfer_are_in_the_log(exchange: Exchange, runs: Runs) -> None:
    runs["blind"].result()
    steps = exchange.log(exchange.row(caller="blind"), "transfer.progress")
    assert [step["status"] for step in steps] == [100, 200]
    assert all(COLLEAGUE in step["target"] for step in steps)


def test_the_caller_takes_over_the_call_with_the_colleague(runs: Runs) -> None:
    """RFC 3891: Replaces names that call's Call-ID."""
    refer = next(m for m in runs["attended"].result() if m.start.startswith("REFER "))
    invite = runs["colleague"].result()[0]
    assert invite.header("Call-ID").partition("@")[0] in refer.header("Refer-To")
