"""The settings reach the sockets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingress_sip.signalling.routing import Transport
from ingress_sip.sockets.binding import Listen
from ingress_sip.sockets.tls import TlsFiles
from trunkline.addresses import reachable
from trunkline.settings import load_settings
from trunkline.sip_listeners import listeners, source_limits, tls_files


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_where_and_with_what(tmp_path: Path) -> None:
    settings = load_settings(
        sip_listen="0.0.0.0:5060,tls:[::]:5061",
        sip_tls_certificate="a.pem",
        sip_tls_key="a.key",
        sip_tls_ca="ca.pem",
        sip_tls_clients="verified",
    )
    assert listeners(settings) == (
        Listen(Transport.UDP, "0.0.0.0", 5060),
        Listen(Transport.TLS, "::", 5061),
    )
    files = TlsFiles(tmp_path / "a.pem", tmp_path / "a.key", tmp_path / "ca.pem", True)
    assert tls_files(settings) == files
    assert not tls_files(load_settings()).all


def test_who_may_send_how_much() -> None:
    limits = source_limits(load_settings(sip_rate=10), trusted=["192.0.2.0/24"])

    def at_once(host: str) -> tuple[int, int]:
        return (
            sum(limits.admits(host, 0.0) for _ in range(100)),
            sum(limits.admits_beginning(host, 0.0) for _ in range(100)),
        )

    assert at_once("198.51.100.7") == (20, 4)
    for host in ("127.0.0.1", "::1", "192.0.2.9"):
        assert at_once(host) == (100, 100)


def test_which_address_people_are_told() -> None:
    assert reachable("198.51.100.7") == "198.51.100.7"
    assert ":" not in reachable("0.0.0.0")
    assert ":" in reachable("::")
