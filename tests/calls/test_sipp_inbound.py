"""Every request that a user agent may get, by sipp: one scenario file for each.

They need no audio and no answer of the pools, so each takes about a tenth of a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.support.exchange import HANG_UP_KEY, Exchange
from tests.support.sipp import SCENARIOS, Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_sipp")]

_INBOUND: Final = SCENARIOS / "inbound"
#: sipp would take what comes twice for a loss of its own, and repeat itself.
_AS_WRITTEN: Final = ("-nr",)
#: These are run by tests of their own.
_APART: Final = {"ack_lost_once", "cancel", "invite_repeated", "info_dtmf", "info_dtmf_relay"}


def scenario(exchange: Exchange, folder: Path, name: str, **more: str) -> Sipp:
    options = _AS_WRITTEN if name in ("ack_lost_once", "invite_repeated") else ()
    return Sipp(f"inbound/{name}.xml", folder / name, options=options, **more)


@pytest.mark.parametrize(
    "name", sorted(file.stem for file in _INBOUND.glob("*.xml") if file.stem not in _APART)
)
def test_a_request_is_answered_as_its_rfc_says(
    exchange: Exchange, tmp_path: Path, name: str
) -> None:
    scenario(exchange, tmp_path, name).call(exchange.sip_port)


@pytest.mark.parametrize(
    "name", ["bye", "hold", "late_offer", "options", "prack", "record_route", "update"]
)
def test_tcp_carries_the_same(exchange: Exchange, tmp_path: Path, name: str) -> None:
    scenario(exchange, tmp_path, name, transport="tcp").call(exchange.sip_port)


def test_a_call_may_be_cancelled(exchange: Exchange, tmp_path: Path) -> None:
    """We answer within ms, so the 200 crosses some CANCELs: of a few, most are in time."""
    for attempt in range(8):
        caller = f"cancels-{attempt}"
        messages = scenario(exchange, tmp_path / caller, "cancel", caller=caller).call(
            exchange.sip_port
        )
        if 487 in [message.status for message in messages]:
            assert exchange.row(caller=caller)["ending"] == "cancelled"
            return
    raise AssertionError("no CANCEL was in time")


def test_a_200_comes_again_until_its_ack(exchange: Exchange, tmp_path: Path) -> None:
    messages = scenario(exchange, tmp_path, "ack_lost_once").call(exchange.sip_port)
    first, second = [m.text for m in messages if m.status == 200 and m.header("CSeq") == "1 INVITE"]
    assert first == second


def test_an_invite_that_is_repeated_is_one_call(exchange: Exchange, tmp_path: Path) -> None:
    run = scenario(exchange, tmp_path, "invite_repeated", caller="stutters")
    messages = run.call(exchange.sip_port)
    answers = {m.text for m in messages if m.status == 200 and m.header("CSeq") == "1 INVITE"}
    assert len(answers) == 1
    assert exchange.row(caller="stutters")["ending"] == "caller_hung_up"


@pytest.mark.parametrize(
    ("name", "pressed"),
    [("info_dtmf", [("7", None)]), ("info_dtmf_relay", [("5", 160), ("#", 250)])],
)
def test_a_key_by_info_is_pressed_once(
    exchange: Exchange, tmp_path: Path, name: str, pressed: list[tuple[str, int | None]]
) -> None:
    caller = name.replace("_", "-")
    scenario(exchange, tmp_path, name, caller=caller).call(exchange.sip_port)
    digits = exchange.log(exchange.row(caller=caller), "digit")
    assert [digit["digit"] for digit in digits] == [key for key, _ in pressed]
    for digit, (_, duration_ms) in zip(digits, pressed, strict=True):
        assert duration_ms is None or digit["duration_ms"] == duration_ms


def test_the_agent_hangs_up(exchange: Exchange, tmp_path: Path) -> None:
    """`target_refresh` presses the key for it, and checks where the BYE goes."""
    run = scenario(exchange, tmp_path, "target_refresh", caller="is-hung-up-on")
    run.call(exchange.sip_port)
    call = exchange.row(caller="is-hung-up-on")
    assert call["ending"] == "agent_hung_up"
    assert [digit["digit"] for digit in exchange.log(call, "digit")] == [HANG_UP_KEY]
