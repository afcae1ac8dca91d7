"""Calls that an agent makes, answered by sipp in every way there is."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.exchange import CARRIER, SPARE, Exchange, finished
from tests.support.sipp import Message, Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_sipp")]


def callee(exchange: Exchange, folder: Path, name: str, *options: str) -> Sipp:
    return Sipp(
        f"outbound/{name}.xml", folder / name, local=CARRIER, port=exchange.ports["carrier"],
        options=options,
    )  # fmt: skip


def placed(
    exchange: Exchange, folder: Path, name: str, number: str, *options: str, timeout_s: int = 8
) -> tuple[int, str, list[Message]]:
    """Exit status and words of `trunkline call`, and what went over the wire."""
    peer = callee(exchange, folder, name, *options)
    with peer.answering():
        status, said = finished(exchange.call(number, timeout_s=timeout_s))
    return status, said, peer.messages


@pytest.mark.parametrize(
    ("name", "number", "ending"),
    [
        ("answered", "7701", "caller_hung_up"),
        ("early_media", "7702", "caller_hung_up"),
        ("early_media_reliable", "7703", "caller_hung_up"),
        ("challenged", "7704", "caller_hung_up"),
        ("forked", "7705", "caller_hung_up"),
        ("session_interval_too_small", "7706", "caller_hung_up"),
        ("hung_up_by_agent", "7707", "agent_hung_up"),
    ],
)
def test_an_answered_call(
    exchange: Exchange, tmp_path: Path, name: str, number: str, ending: str
) -> None:
    status, said, messages = placed(exchange, tmp_path, name, number)
    assert status == 0, said
    call = exchange.recorded(called=number)
    assert call["direction"] == "outbound"
    assert call["trunk"] == "carrier"
    assert call["ending"] == ending
    invite = next(message for message in messages if message.start.startswith("INVITE "))
    assert number in invite.start
    assert "15550100" in invite.header("From")


def test_a_200_that_is_repeated_is_acknowledged_each_time(
    exchange: Exchange, tmp_path: Path
) -> None:
    status, said, messages = placed(exchange, tmp_path, "ok_repeated", "7711", "-nr")
    assert status == 0, said
    assert len({m.text for m in messages if m.start.startswith("ACK ")}) == 1


@pytest.mark.parametrize(
    ("name", "number", "ending"),
    [
        ("busy", "7721", "busy"),
        ("declined", "7722", "rejected"),
        ("not_found", "7723", "unreachable"),
        ("unavailable", "7724", "unreachable"),
        ("no_answer", "7725", "no_answer"),
        ("no_response", "7726", "unreachable"),
        ("moved", "7727", None),
        ("answered_without_sdp", "7728", None),
        ("unusable_codec", "7729", None),
        ("unwell", "7730", "unreachable"),
    ],
)
def test_a_call_that_is_not_answered(
    exchange: Exchange, tmp_path: Path, name: str, number: str, ending: str | None
) -> None:
    """The command says so by its status; the call is kept, with the reason. (None: any other.)"""
    status, said, messages = placed(exchange, tmp_path, name, number, timeout_s=2)
    assert status == 1, said
    call = exchange.recorded(called=number)
    if ending is None:
        assert call["ending"] not in ("caller_hung_up", "agent_hung_up", "transferred")
    else:
        assert call["ending"] == ending
    if name == "busy":
        invite, ack = [m for m in messages if m.start.split()[0] in ("INVITE", "ACK")]
        assert (
            ack.header("Via").partition("branch=")[2]
            == invite.header("Via").partition("branch=")[2]
        )


def test_an_answer_that_crosses_the_cancel_is_hung_up(exchange: Exchange, tmp_path: Path) -> None:
    status, said, _ = placed(exchange, tmp_path, "answer_crosses_cancel", "7741", timeout_s=1)
    assert status == 1, said
    assert exchange.recorded(called="7741")["ending"] in ("no_answer", "cancelled")


def test_another_trunk_takes_what_the_first_cannot(exchange: Exchange, tmp_path: Path) -> None:
    """RFC 3665 3.4: numbers that begin with 55 may go by either, in the order of the file."""
    spare = Sipp(
        "outbound/answered.xml", tmp_path / "spare", local=SPARE, port=exchange.ports["spare"]
    )
    with ExitStack() as stack:
        stack.enter_context(callee(exchange, tmp_path, "unwell").answering())
        stack.enter_context(spare.answering())
        status, said = finished(exchange.call("5501", trunk=""))
    assert status == 0, said
    assert exchange.recorded(called="5501")["trunk"] == "spare"
