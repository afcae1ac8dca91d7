"""Settings: environment over file over default; what is wrong is refused with its mend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trunkline.listen import HostPort, PortRange, SipListen
from trunkline.settings import EXAMPLE_AGENTS, SettingsError, load_settings, unknown_variables


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_anything_a_machine_of_its_own(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.bus_url is None
    assert settings.data_dir == tmp_path / "var"
    assert settings.database_url == f"sqlite:///{tmp_path}/var/trunkline.db"
    assert settings.sip_listen == (
        SipListen("udp", "0.0.0.0", 5060),
        SipListen("tcp", "0.0.0.0", 5060),
    )
    assert settings.http_listen == HostPort("127.0.0.1", 8080)
    assert settings.agents == EXAMPLE_AGENTS
    assert EXAMPLE_AGENTS.is_file()


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trunkline.toml").write_text(
        'sip_listen = "udp:127.0.0.1:5062"\nmax_calls = 7\nrtp_ports = "30000-30009"\n'
    )
    monkeypatch.setenv("TRUNKLINE_MAX_CALLS", "9")
    settings = load_settings()
    assert settings.sip_listen == (SipListen("udp", "127.0.0.1", 5062),)
    assert settings.max_calls == 9
    assert settings.rtp_ports == PortRange(30000, 30009)
    assert settings.rtp_ports.pairs == 5
    assert load_settings(max_calls=3).max_calls == 3


def test_a_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text('log_level = "debug"\n')
    monkeypatch.setenv("TRUNKLINE_CONFIG", str(tmp_path / "other.toml"))
    assert load_settings().log_level == "debug"


def test_the_agents_file_here_is_taken(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("agents: []\n")
    assert load_settings().agents == tmp_path / "agents.yaml"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RTP_PORTS", "20000", "TRUNKLINE_RTP_PORTS='20000': write FIRST-LAST"),
        ("RTP_PORTS", "30000-20000", "write the smaller one first"),
        ("RTP_PORTS", "20001-20002", "widen the range"),
        ("SIP_LISTEN", "udp:0.0.0.0:1,tls:[::]:5061", "tls needs TRUNKLINE_SIP_TLS_CERTIFICATE"),
        ("SIP_LISTEN", "wss:0.0.0.0:5061", "wss is not there yet; write udp:HOST:PORT"),
        ("SIP_LISTEN", "udp:0.0.0.0:1, udp:0.0.0.0:1", "udp:0.0.0.0:1 stands there twice"),
        ("SIP_LISTEN", "udp:0.0.0.0:1,", "write udp:HOST:PORT, tcp:HOST:PORT or"),
        ("SIP_LISTEN", "udp:5060", "with commas between, like udp:0.0.0.0:5060"),
        ("SIP_TLS_CLIENTS", "verified", "set TRUNKLINE_SIP_TLS_CA"),
        ("SIP_RATE", "0", "greater than or equal to 1"),
        ("HTTP_LISTEN", "8080", "write HOST:PORT, like 127.0.0.1:8080"),
        ("HTTP_LISTEN", "a:99999", "write HOST:PORT"),
        ("BUS_URL", "localhost:6379", "write redis://HOST:PORT/0"),
        ("DATABASE_URL", "mysql://x/y", "write postgresql://"),
        ("PUBLIC_ADDRESS", "http://x:1", "write an IP address alone"),
        ("PUBLIC_ADDRESS", "203.0.113.7:5060", "without a port"),
        ("PUBLIC_ADDRESS", "203.0.113", "write an IP address alone"),
        ("LEASE_MS", "fast", "TRUNKLINE_LEASE_MS='fast': Input should be a valid integer"),
        ("MAX_CALLS", "0", "greater than or equal to 1"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_value_is_refused_by_name_with_its_mend(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TRUNKLINE_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert f"TRUNKLINE_{name}={value!r}: " in str(refused.value)
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", ["BUS_URL", "DATABASE_URL"])
def test_a_password_in_a_wrong_url_is_not_repeated(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TRUNKLINE_{name}", "mysql://anna:hunter2@db/x")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert f"TRUNKLINE_{name}=(hidden): write " in str(refused.value)


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7", "sip.example", "localhost"])
def test_public_addresses(address: str) -> None:
    assert load_settings(public_address=address).public_address == address


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sip_listn = 1\n", "no setting is named 'sip_listn'; did you mean 'sip_listen'?"),
        ("sip_listen = \n", "not TOML"),
        ("max_calls = 'many'\n", "trunkline.toml: max_calls = 'many': Input should be a valid int"),
    ],
)
def test_a_wrong_file_is_refused(content: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(content)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert expected in str(refused.value)


def test_a_named_file_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_CONFIG", "absent.toml")
    with pytest.raises(SettingsError, match=r"TRUNKLINE_CONFIG=absent\.toml: there is no such"):
        load_settings()


def test_a_slip_of_the_pen_in_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_SIP_LISTN", "x")
    assert unknown_variables() == ["TRUNKLINE_SIP_LISTN"]


def test_a_child_sees_the_very_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKLINE_ADMIN_PASSWORD", "correct horse")
    monkeypatch.setenv("TRUNKLINE_OPENAI_KEY", "sk-1")
    settings = load_settings(
        sip_listen="udp:[::1]:5070,TLS:127.0.0.1:0",
        sip_tls_certificate="a.pem",
        sip_tls_key="/b.key",
        metrics_listen="127.0.0.1:0",
        web_listen="127.0.0.1:0",
        public_url="https://voice.example.com/",
        trusted_proxies="none",
        stream_key="k" * 32,
        twilio_account_sid="AC" + "0" * 32,
        twilio_auth_token="t" * 32,
        twilio_unsigned="true",
    )
    environment = settings.as_environment(bus_url="unix:///b.sock")
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    child = load_settings()
    assert child.sip_listen == (SipListen("udp", "::1", 5070), SipListen("tls", "127.0.0.1", 0))
    assert child.sip_tls_certificate == tmp_path / "a.pem"
    assert child.model_dump() == {**settings.model_dump(), "bus_url": "unix:///b.sock"}
    assert child.secret("TRUNKLINE_OPENAI_KEY") == "sk-1"
    assert child.public_url == "https://voice.example.com"
    assert child.stream_key is not None
    assert child.stream_key.get_secret_value() == "k" * 32
    assert child.trusted_proxies == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"public_url": "voice.example.com"}, "write https://HOST"),
        ({"public_url": "wss://voice.example.com"}, "write https://HOST"),
        ({"public_url": "https://voice.example.com/?a=b"}, "write https://HOST"),
        ({"public_url": "https://a b"}, "write https://HOST"),
        ({"public_url": "https://[::1"}, "write https://HOST"),
        ({"trusted_proxies": "nginx"}, "write addresses or networks"),
        ({"stream_key": "short"}, "openssl rand -hex 16"),
        ({"stream_key": "0123456789abcdef&to=1"}, "openssl rand -hex 16"),
        ({"twilio_account_sid": "SK0"}, "write the Account SID"),
        ({"twilio_account_sid": "AC" + "0" * 32}, "is of no use without it"),
    ],
)
def test_a_wrong_setting_of_the_web_side_is_said(values: dict[str, str], expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**values)
    assert expected in str(refused.value)
    assert "short" not in str(refused.value)


def test_a_secret_is_looked_up_by_name_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-2")
    monkeypatch.setenv("TRUNKLINE_ADMIN_PASSWORD", "hunter2")
    settings = load_settings()
    assert settings.secret("SOME_KEY") == "sk-2"
    assert settings.secret("NO_SUCH_KEY") is None
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError, match="no variable's name"):
        settings.secret("sk-2 pasted here")
