"""What RFC 3261 and RFC 4028 do after half a minute and more: all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pytest

from tests.support.exchange import Exchange
from tests.support.sipp import Message, Sipp

pytestmark = [pytest.mark.peers, pytest.mark.deep, pytest.mark.usefixtures("needs_sipp")]

_NAMES: Final = ("ack_never", "session_expires", "session_refreshed")
Runs = Callable[[str], list[Message]]


@pytest.fixture(scope="module")
def runs(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("slow")

    def run(name: str) -> list[Message]:
        options = ("-nr",) if name == "ack_never" else ()
        return Sipp(
            f"slow/{name}.xml", folder / name, caller=name, options=options, timeout_s=100
        ).call(exchange.sip_port)

    with ThreadPoolExecutor(len(_NAMES)) as pool:
        found: dict[str, Future[list[Message]]] = {n: pool.submit(run, n) for n in _NAMES}
        yield lambda name: found[name].result()


def test_a_call_whose_ack_never_comes_is_hung_up(exchange: Exchange, runs: Runs) -> None:
    messages = runs("ack_never")
    answers = [m.text for m in messages if m.status == 200 and m.header("CSeq") == "1 INVITE"]
    # After 0, 0.5, 1.5, 3.5, 7.5, ... 31.5 s.
    assert len(answers) in (10, 11)
    assert len(set(answers)) == 1
    assert exchange.row(caller="ack_never")["ending"] == "no_ack"


def test_a_session_that_is_not_refreshed_is_over(exchange: Exchange, runs: Runs) -> None:
    """A third of 90 s before the interval is over (RFC 4028 section 10)."""
    runs("session_expires")
    call = exchange.row(caller="session_expires")
    assert 55_000 <= call["duration_ms"] <= 75_000


def test_we_refresh_a_session_and_again_after_491(exchange: Exchange, runs: Runs) -> None:
    runs("session_refreshed")
    assert exchange.row(caller="session_refreshed")["ending"] == "caller_hung_up"
