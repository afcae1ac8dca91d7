"""The doctor finds what would stop a start, and says how to mend it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri
from ingress_sip.sockets.resolver import ResolveError
from tests.support.certificates import Authority
from trunkline.doctor import Resolve, as_text, examine
from trunkline.finding import Finding
from trunkline.settings import load_settings


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def taken() -> Iterator[tuple[int, int]]:
    """A UDP and a TCP port that somebody else has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        udp.bind(("127.0.0.1", 0))
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        yield udp.getsockname()[1], tcp.getsockname()[1]


async def findings(resolve: Resolve | None = None, **settings: object) -> dict[str, Finding]:
    defaults = {"sip_listen": "udp:127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    found = await examine(load_settings(**(defaults | settings)), resolve)
    return {finding.what: finding for finding in found}


async def test_a_fresh_machine_is_well() -> None:
    found = await findings()
    assert not [finding for finding in found.values() if finding.bad]
    assert "will start" in found["bus"].says
    assert "will make" in found["database"].says
    assert found["clinic asr"].level == "ok"


async def test_ports_that_are_taken(taken: tuple[int, int]) -> None:
    sip, http = taken
    found = await findings(sip_listen=f"udp:127.0.0.1:{sip}", http_listen=f"127.0.0.1:{http}")
    assert found["SIP udp"].bad
    assert "set TRUNKLINE_SIP_LISTEN" in found["SIP udp"].says
    assert found["HTTP port"].bad
    found = await findings(sip_listen=f"udp:127.0.0.1:0,tcp:127.0.0.1:{http}")
    assert found["SIP udp"].level == "ok"
    assert found["SIP tcp"].bad


@pytest.mark.parametrize(
    ("lasts", "level", "says"),
    [
        (timedelta(days=40), "ok", "for sip.example.com lasts 39 days still"),
        (timedelta(days=3), "warning", "lasts 2 days still: renew it"),
        (timedelta(hours=-1), "bad", "is over since 1 days: renew it"),
    ],
)
async def test_how_long_the_certificate_lasts(
    lasts: timedelta, level: str, says: str, tmp_path: Path
) -> None:
    pair = Authority(tmp_path).issue("sip.example.com", valid_for=lasts)
    found = await findings(
        sip_listen="tls:127.0.0.1:0", sip_tls_certificate=pair.certificate, sip_tls_key=pair.key
    )
    assert found["SIP certificate"].level == level
    assert says in found["SIP certificate"].says
    assert found["SIP tls"].level == "ok"


async def test_certificate_files_that_cannot_be_used(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, other = authority.issue("sip.example.com"), authority.issue("sip.example.com")
    found = await findings(sip_tls_certificate=pair.certificate, sip_tls_key=other.key)
    assert found["SIP certificate"].bad
    assert f"{other.key} is not its key" in found["SIP certificate"].says
    found = await findings(sip_tls_ca=authority.file)
    assert found["SIP certificate"].level == "ok"
    assert "SIP certificate" not in await findings()


async def test_too_few_ports_for_the_calls() -> None:
    found = await findings(rtp_ports="30000-30009")
    assert found["RTP ports"].level == "warning"
    assert "enough for 5 calls" in found["RTP ports"].says


async def test_a_wrong_agents_file_and_a_provider_that_is_not_there(tmp_path: Path) -> None:
    (file := tmp_path / "a.yaml").write_text("agents:\n  - nam: x\n")
    assert (await findings(agents=file))["agents"].bad
    file.write_text("agents:\n  - name: desk\n    asr: {provider: telepathy}\n")
    found = await findings(agents=file)
    assert found["desk asr"].bad
    assert "telepathy" in found["desk asr"].says
    assert found["desk tts"].level == "ok"


async def test_those_who_stand_in_are_made_too(tmp_path: Path) -> None:
    (file := tmp_path / "a.yaml").write_text(
        "agents:\n  - name: desk\n    tts: {provider: espeak, fallback: [{provider: espeak}]}\n"
    )
    found = await findings(agents=file)
    assert found["desk tts"].says == "espeak, then espeak take their options"
    file.write_text(
        "agents:\n  - name: desk\n    tts: {provider: espeak, fallback: [{provider: telepathy}]}\n"
    )
    found = await findings(agents=file)
    assert found["desk tts"].bad
    assert "tts.fallback.0.provider 'telepathy' is unknown" in found["desk tts"].says


TRUNKS = """
trunks:
  - {name: far, uri: "sip:sip.provider.example;transport=tls"}
  - {name: gone, uri: sip:gone.example}
phones: {realm: voice.example.com, users: [{name: alice, password_env: ALICE_PASSWORD}]}
"""


async def resolve(uri: SipUri) -> list[Hop]:
    if uri.host == "gone.example":
        raise ResolveError("nobody is known to serve sip:gone.example")
    hosts = ["203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2"]
    return [Hop(Transport.TLS, host, 5061) for host in hosts]


async def test_trunks_whose_names_lead_somewhere_or_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALICE_PASSWORD", "secret")
    (file := tmp_path / "trunks.yaml").write_text(TRUNKS)
    found = await findings(resolve, trunks=file)
    assert found["trunks"].level == "ok"
    assert "2 trunk(s) and 1 phone user(s) in" in found["trunks"].says
    assert found["trunks"].says.endswith("nobody else may call")
    assert found["trunk far"].level == "ok"
    assert found["trunk far"].says.endswith(
        "leads to tls:203.0.113.1:5061, tls:203.0.113.2:5061, tls:[2001:db8::1]:5061 and 1 more"
    )
    assert found["trunk gone"].bad
    assert found["trunk gone"].says == "nobody is known to serve sip:gone.example"


async def test_an_address_needs_no_name_server(tmp_path: Path) -> None:
    (file := tmp_path / "trunks.yaml").write_text("trunks: [{name: pbx, uri: sip:192.0.2.30}]\n")
    found = await findings(trunks=file)
    assert found["trunk pbx"].says == "sip:192.0.2.30 leads to udp:192.0.2.30:5060"


async def test_a_wrong_trunks_file(tmp_path: Path) -> None:
    (file := tmp_path / "trunks.yaml").write_text(TRUNKS)
    found = (await findings(trunks=file))["trunks"]
    assert found.bad
    assert "trunks.yaml:5: " in found.says
    assert "the environment has no ALICE_PASSWORD" in found.says


@pytest.mark.parametrize(
    ("text", "level", "says"),
    [
        ("", "warning", "no file, anybody may call, from the internet: say who may in a file"),
        ("policy: {unknown_callers: accept}\n", "warning", "write policy: {unknown_callers: rej"),
        ("policy: {unknown_callers: reject}\n", "ok", "0 trunk(s) and 0 phone user(s) in"),
    ],
)
async def test_whoever_is_on_the_internet_is_told_who_may_call(
    text: str, level: str, says: str, tmp_path: Path
) -> None:
    (file := tmp_path / "trunks.yaml").write_text(text)
    found = await findings(public_address="203.0.113.7", trunks=file if text else None)
    assert found["trunks"].level == level
    assert says in found["trunks"].says
    at_home = await findings(trunks=file if text else None)
    assert at_home["trunks"].level == "ok"


async def test_a_listener_by_name() -> None:
    found = await findings(sip_listen="udp:localhost:0")
    assert found["address"].level == "ok"
    assert found["trunks"].level == "ok"


async def test_a_database_without_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    found = await findings(database_url=f"sqlite:///{tmp_path}/empty.db")
    assert found["database"].bad
    assert "run `trunkline migrate`" in found["database"].says


@pytest.mark.parametrize(
    ("address", "level"),
    [("203.0.113.7", "ok"), ("127.0.0.1", "bad"), ("pbx.example", "warning")],
)
async def test_the_public_address(address: str, level: str) -> None:
    assert (await findings(public_address=address))["address"].level == level


async def test_a_slip_of_the_pen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_MAX_CALL", "3")
    found = await findings()
    assert found["settings"].says == "TRUNKLINE_MAX_CALL is no setting; did you mean 'max_calls'?"


def test_for_people() -> None:
    good, bad = Finding("bus", "ok", "answers"), Finding("agents", "bad", "a.yaml:1: no")
    assert as_text([good]).endswith("All is well.")
    assert as_text([good, bad]).endswith("1 to mend.")
    assert "XX  agents  a.yaml:1: no" in as_text([good, bad])
