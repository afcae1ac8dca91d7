"""Calls that an agent makes, answered by sipp in every way there is.

Each way is a trunk of its own, so that all the calls are made at once.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.support.exchange import CARRIER, NUMBERS, SPARE, Exchange, finished
from tests.support.sipp import Message, Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_sipp")]

#: Calls that are answered, and how they end.
ANSWERED: Final = {
    "answered": "caller_hung_up",
    "challenged": "caller_hung_up",
    "early_media": "caller_hung_up",
    "early_media_reliable": "caller_hung_up",
    "forked": "caller_hung_up",
    "hung_up_by_agent": "agent_hung_up",
    "ok_repeated": "caller_hung_up",
    "session_interval_too_small": "caller_hung_up",
}
#: Calls that are not, or of which nothing came. None: the ending is one of those.
UNANSWERED: Final = {
    "answer_crosses_cancel": "no_answer",
    "answered_without_sdp": None,
    "busy": "busy",
    "declined": "rejected",
    "moved": None,
    "no_answer": "no_answer",
    "not_found": "unreachable",
    "unavailable": "no_answer",
    "unusable_codec": None,
    "unwell": "unreachable",
}
#: It takes the transaction's whole patience (RFC 3261 17.1.1.2, timer B): 32 s.
SLOW: Final = "no_response"
#: How long we let it ring, s.
_RING_S: Final = {"no_answer": 1, "answer_crosses_cancel": 1, SLOW: 2}


class Placed(NamedTuple):
    """Exit status and words of `trunkline call`, and what went over the wire."""

    status: int
    said: str
    messages: list[Message]


def callee(exchange: Exchange, folder: Path, name: str, trunk: str = "") -> Sipp:
    options = ("-nr",) if name == "ok_repeated" else ()
    return Sipp(
        f"outbound/{name}.xml", folder / name, local=SPARE if trunk == "spare" else CARRIER,
        port=exchange.ports[trunk or name], options=options,
    )  # fmt: skip


def place(exchange: Exchange, folder: Path, name: str) -> Placed:
    peer = callee(exchange, folder, name)
    call = {"trunk": name.replace("_", "-"), "timeout_s": _RING_S.get(name, 8)}
    with peer.answering():
        status, said = finished(exchange.call(NUMBERS[name], **call), 60)
    return Placed(status, said, peer.messages)


class Calls:
    """All of them; a call whose part went wrong raises where it is looked at."""

    def __init__(self, exchange: Exchange, folder: Path) -> None:
        self._exchange = exchange
        with ThreadPoolExecutor(4) as pool:
            self._placed: dict[str, Future[Placed]] = {
                name: pool.submit(place, exchange, folder, name)
                for name in (*ANSWERED, *UNANSWERED)
            }
        self._rows = exchange.rows()

    def __getitem__(self, name: str) -> tuple[Placed, dict[str, Any]]:
        placed = self._placed[name].result()
        [row] = [row for row in self._rows if row["called"] == NUMBERS[name]]
        return placed, row


@pytest.fixture(scope="module")
def calls(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    return Calls(exchange, tmp_path_factory.mktemp("outbound"))


@pytest.mark.parametrize("name", ANSWERED)
def test_an_answered_call(calls: Calls, name: str) -> None:
    placed, row = calls[name]
    assert placed.status == 0, placed.said
    assert (row["direction"], row["trunk"]) == ("outbound", name.replace("_", "-"))
    assert row["ending"] == ANSWERED[name]
    invite = next(m for m in placed.messages if m.start.startswith("INVITE "))
    assert NUMBERS[name] in invite.start
    assert "15550100" in invite.header("From")


@pytest.mark.parametrize("name", UNANSWERED)
def test_a_call_that_comes_to_nothing(calls: Calls, name: str) -> None:
    """The command says so by its status; the call is kept, with the reason."""
    placed, row = calls[name]
    assert placed.status == 1, placed.said
    assert row["ending"] not in ("caller_hung_up", "agent_hung_up", "transferred")
    assert UNANSWERED[name] in (None, row["ending"])


def test_the_ack_of_a_refusal_is_of_its_transaction(calls: Calls) -> None:
    """RFC 3261 17.1.1.3: by its branch. That of a 200 has one of its own, the same each time."""
    sent = [m for m in calls["busy"][0].messages if m.start.split()[0] in ("INVITE", "ACK")]
    assert len({m.header("Via") for m in sent}) == 1
    acks = [m for m in calls["ok_repeated"][0].messages if m.start.startswith("ACK ")]
    assert len(acks) == 3
    assert len({ack.text for ack in acks}) == 1


@pytest.mark.deep
def test_nobody_says_anything(exchange: Exchange, tmp_path: Path) -> None:
    placed = place(exchange, tmp_path, SLOW)
    assert placed.status == 1, placed.said
    assert exchange.row(called=NUMBERS[SLOW])["ending"] in ("no_answer", "unreachable")


def test_another_trunk_takes_what_the_first_cannot(exchange: Exchange, tmp_path: Path) -> None:
    """RFC 3665 3.4: numbers that begin with 55 may go by either, in the order of the file."""
    with ExitStack() as stack:
        stack.enter_context(callee(exchange, tmp_path, "unwell", "carrier").answering())
        stack.enter_context(callee(exchange, tmp_path, "answered", "spare").answering())
        status, said = finished(exchange.call("5501", trunk=""))
    assert status == 0, said
    assert exchange.row(called="5501")["trunk"] == "spare"
