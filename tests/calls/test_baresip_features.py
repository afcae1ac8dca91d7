"""What people do with a phone in their hand: hold, keys, transfers; and phones that are called."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from media.correlate import coverage
from tests.calls.test_baresip_transports import QUESTION, agent_channel, understood
from tests.support.baresip import Baresip, Control, silence, spoken
from tests.support.exchange import (
    DESK,
    DESK_KEY,
    HANG_UP_KEY,
    PASSWORDS,
    Exchange,
    finished,
)

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_baresip")]


@contextmanager
def talking(
    exchange: Exchange, folder: Path, name: str, seconds: int = 40
) -> Iterator[tuple[Baresip, Control]]:
    """A phone in a call with the agent `quick`, which says nothing of itself."""
    phone = Baresip(folder / name, name)
    phone.prepare(silence(seconds))
    with phone.running(seconds) as control:
        control.order("dial", f"sip:quick@127.0.0.1:{exchange.sip_port}")
        control.until("CALL_ESTABLISHED")
        yield phone, control


def packets(control: Control) -> int:
    """RTP packets that the phone was sent so far."""
    said = control.order("audio_debug")
    found = re.search(r"rcvd=(\d+)", said)
    return int(found[1]) if found else 0


def registration(control: Control, due: str) -> None:
    """Wait until the phone's display says so of its registration."""
    deadline = time.monotonic() + 10
    while due not in (said := control.order("reginfo")):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def test_hold_is_silence_and_resume_ends_it(exchange: Exchange, tmp_path: Path) -> None:
    with talking(exchange, tmp_path, "holds") as (_, control):
        time.sleep(0.5)
        assert packets(control) > 10
        control.order("hold")
        time.sleep(0.3)
        before = packets(control)
        time.sleep(1.0)
        assert packets(control) == before
        control.order("resume")
        time.sleep(1.0)
        assert packets(control) > before + 25
        control.order("sndcode", HANG_UP_KEY)
        control.until("CALL_CLOSED")
    assert exchange.row(caller="holds")["ending"] == "agent_hung_up"


def test_each_key_is_heard_once(exchange: Exchange, tmp_path: Path) -> None:
    pressed = "5508"
    with talking(exchange, tmp_path, "presses") as (_, control):
        time.sleep(0.3)
        for key in pressed + HANG_UP_KEY:
            control.order("sndcode", key)
            time.sleep(0.4)
        control.until("CALL_CLOSED")
    digits = exchange.log(exchange.row(caller="presses"), "digit")
    assert "".join(digit["digit"] for digit in digits) == pressed + HANG_UP_KEY


def test_a_phone_that_would_have_us_call_somebody_is_refused(
    exchange: Exchange, tmp_path: Path
) -> None:
    """RFC 5359 2.4 with us as the transferee: nobody calls others at our cost."""
    with talking(exchange, tmp_path, "transfers") as (_, control):
        control.order("transfer", "sip:+99900000000@127.0.0.1:9")
        assert control.until("TRANSFER_FAILED")["param"] == "603 Decline"
    # Told so, baresip hangs up; `inbound/refer_forbidden` sees that the call would go on.
    assert exchange.row(caller="transfers")["ending"] == "caller_hung_up"


def test_the_agent_transfers_to_a_second_phone(exchange: Exchange, tmp_path: Path) -> None:
    """RFC 5359 2.4 with us as the transferor."""
    host, port = DESK, exchange.ports["desk"]
    desk = Baresip(tmp_path / "desk", "desk", host=host, port=port, answers=True)
    desk.prepare(silence(30))
    with desk.running() as at_desk, talking(exchange, tmp_path, "is-transferred") as (_, control):
        control.order("sndcode", DESK_KEY)
        taken = at_desk.until("CALL_ESTABLISHED", 20)
        assert "is-transferred" in taken["peeruri"]
        call = exchange.row(caller="is-transferred")
    assert call["ending"] == "transferred"
    assert exchange.log(call, "transfer.progress")[-1]["status"] == 200


@pytest.mark.deep  # kamailio's and sipp's registrations are in `make test`
def test_a_phone_registers_and_is_called(exchange: Exchange, tmp_path: Path) -> None:
    """`trunkline call` by the registrar's binding; what each side says, the other hears."""
    phone = Baresip(
        tmp_path / "bob", "bob", registrar=f"127.0.0.1:{exchange.sip_port}",
        password=PASSWORDS["BOB_PASSWORD"], answers=True,
    )  # fmt: skip
    phone.prepare(spoken([QUESTION], before_s=4.5, between_s=7, after_s=10))
    with phone.running() as control:
        registration(control, "OK")
        call = exchange.call("sip:bob@127.0.0.1", agent="clinic", trunk="", timeout_s=10)
        control.until("CALL_ESTABLISHED", 20)
        time.sleep(13)
        control.order("hangup")
        status, said = finished(call)
    assert status == 0, said
    kept = exchange.recorded(called="sip:bob@127.0.0.1")
    assert kept["direction"] == "outbound"
    understood(kept)
    assert coverage(agent_channel(exchange.installation, kept), phone.heard) > 0.95


def test_a_wrong_password_registers_nobody(exchange: Exchange, tmp_path: Path) -> None:
    phone = Baresip(
        tmp_path / "alice", "alice", registrar=f"127.0.0.1:{exchange.sip_port}", password="wrong"
    )
    phone.prepare(silence(10))
    with phone.running() as control:
        registration(control, "ERR")
