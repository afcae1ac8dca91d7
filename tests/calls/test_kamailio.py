"""A registrar and proxy that is not ours, as trunks are: we register there, and call through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from media.correlate import coverage
from tests.calls.test_baresip_transports import QUESTION, agent_channel, understood
from tests.support.baresip import Baresip, Control, spoken
from tests.support.exchange import REGISTRAR, Exchange, finished
from tests.support.kamailio import BEYOND, Kamailio
from tests.support.sipp import Sipp

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("needs_baresip")]


@pytest.fixture(name="trunk")
def _trunk(kamailio: Kamailio | None) -> Kamailio:
    if kamailio is None:
        pytest.skip("kamailio is not installed (Debian: kamailio kamailio-tls-modules)")
    return kamailio


@contextmanager
def answering(trunk: Kamailio, folder: Path, seconds: float) -> Iterator[tuple[Baresip, Control]]:
    """A phone beyond the proxy, that asks its question once the agent has greeted it."""
    phone = Baresip(folder / "beyond", "beyond", host=BEYOND, port=trunk.beyond_port, answers=True)
    phone.prepare(spoken([QUESTION], before_s=4.5, between_s=seconds, after_s=10))
    with phone.running() as control:
        yield phone, control


@pytest.mark.deep  # 16 s of conversation
def test_a_call_comes_in_by_our_registration(
    exchange: Exchange, trunk: Kamailio, tmp_path: Path
) -> None:
    """Dialled at the trunk, which stays in the route: the whole conversation goes by it."""
    phone = Baresip(tmp_path / "phone", "by-registrar")
    phone.prepare(spoken([QUESTION], before_s=4.5, between_s=8, after_s=4))
    phone.wait(phone.dial(f"sip:trunk-clinic@{REGISTRAR}:{trunk.port}", 14), 30)
    call = exchange.recorded(caller="by-registrar")
    assert call["trunk"] == "registrar"
    assert call["called"] == "clinic"
    understood(call)
    assert coverage(agent_channel(exchange.installation, call), phone.heard) > 0.95


def test_requests_in_the_call_go_by_the_proxy_too(
    exchange: Exchange, trunk: Kamailio, tmp_path: Path
) -> None:
    """RFC 3665 3.2: our BYE takes the route that the INVITE recorded, or never arrives."""
    run = Sipp("inbound/target_refresh.xml", tmp_path, service="trunk-quick", caller="by-proxy")
    messages = run.call(trunk.port, REGISTRAR)
    bye = next(message for message in messages if message.start.startswith("BYE "))
    assert REGISTRAR in bye.header("Via")
    assert exchange.row(caller="by-proxy")["ending"] == "agent_hung_up"


@pytest.mark.deep
@pytest.mark.parametrize(("by", "number"), [("registrar", "8801"), ("registrar-tls", "8901")])
def test_a_call_goes_out_by_a_proxy_that_asks_who_we_are(
    exchange: Exchange, trunk: Kamailio, tmp_path: Path, by: str, number: str
) -> None:
    """RFC 3665 3.3, by UDP and by TLS; the answer's Record-Route is our route."""
    with answering(trunk, tmp_path, 8) as (phone, control):
        call = exchange.call(number, agent="clinic", trunk=by, timeout_s=10)
        control.until("CALL_ESTABLISHED", 20)
        time.sleep(12)
        control.order("hangup")
        status, said = finished(call)
    assert status == 0, said
    kept = exchange.recorded(called=number)
    assert kept["trunk"] == by
    assert kept["ending"] == "caller_hung_up"
    understood(kept)
    assert coverage(agent_channel(exchange.installation, kept), phone.heard) > 0.95


@pytest.mark.usefixtures("trunk")
def test_a_trunk_says_how_it_is(exchange: Exchange) -> None:
    """Registered, and alive by OPTIONS, as `trunkline status` tells it."""
    deadline = time.monotonic() + 20
    while True:
        trunks = {each["name"]: each for each in exchange.installation.ask("status")["trunks"]}
        state = trunks["registrar"]
        if (state["registered"], state["reachable"]) == ("yes", "yes"):
            return
        assert time.monotonic() < deadline, state
        time.sleep(0.5)


@pytest.mark.deep
@pytest.mark.usefixtures("trunk")
def test_nobody_answers_beyond_the_proxy(exchange: Exchange) -> None:
    """RFC 3665 3.10, as a proxy reports it: 408, after its own timers."""
    status, said = finished(exchange.call("8802", trunk="registrar", timeout_s=45), within_s=60)
    assert status == 1, said
    assert exchange.row(called="8802")["ending"] in ("no_answer", "unreachable")
