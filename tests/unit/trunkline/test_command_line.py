"""What a user can mend is one readable line and exit status 2, never a traceback."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkline import cli, roles
from trunkline.history import call_as_text, list_as_text
from trunkline.settings import Settings
from trunkline.status import as_text


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRUNKLINE_DATA_DIR", str(tmp_path / "var"))
    before = os.umask(0o022)
    yield
    os.umask(before)


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *argv: str
) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["trunkline", *argv])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["web"], "no bus: set TRUNKLINE_BUS_URL"),
        (["status"], "no bus: set TRUNKLINE_BUS_URL, or start `trunkline up`"),
        (["asr"], "no bus: set TRUNKLINE_BUS_URL"),
        (["dial", "tel:1"], "write sip:USER@HOST:PORT"),
        (["call", "+15550100", "--agent", "desk"], "no bus: set TRUNKLINE_BUS_URL"),
        (["call", "bob smith", "--agent", "desk"], "number: write a number or a sip:"),
        (["call", "1", "--agent", "No Such"], "agent: String should match"),
        (["call", "1", "--agent", "a", "--var", "name"], "write NAME=VALUE"),
        (["call", "1", "--agent", "a", "--timeout", "0"], "timeout_s: "),
        (["migrate", "--down"], "say how far back"),
        (["calls", "show", "../../etc/passwd"], "not a call id"),
        (["asyncapi", "--check", "absent.yaml"], "out of date: run `make docs`"),
    ],
)
def test_what_a_user_can_mend(
    argv: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = run(monkeypatch, capsys, *argv)
    assert code == 2
    assert out == ""
    assert err.startswith("trunkline: ")
    assert expected in err
    assert "Traceback" not in err


def test_a_wrong_setting_stops_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRUNKLINE_SIP_LISTEN", "5060")
    for command in ("up", "status", "sip", "doctor"):
        code, _, err = run(monkeypatch, capsys, command)
        assert code == 2
        assert err == (
            "trunkline: TRUNKLINE_SIP_LISTEN='5060': write udp:HOST:PORT, tcp:HOST:PORT or "
            "tls:HOST:PORT, several with commas between, like udp:0.0.0.0:5060\n"
        )


def test_a_wrong_agents_file_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "agents.yaml").write_text("agents:\n  - name: a\n    voise: x\n")
    code, _, err = run(monkeypatch, capsys, "up")
    assert code == 2
    assert "agents.yaml:3: agents[0].voise: no such key; did you mean 'voice'?" in err


def test_a_wrong_trunks_file_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (file := tmp_path / "trunks.yaml").write_text("trunks:\n  - name: a\n    urj: sip:b\n")
    monkeypatch.setenv("TRUNKLINE_TRUNKS", str(file))
    code, _, err = run(monkeypatch, capsys, "up")
    assert code == 2
    assert "trunks.yaml:3: trunks[0].urj: no such key; did you mean 'uri'?" in err


def test_a_certificate_that_cannot_be_used_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("SIP_LISTEN", "HTTP_LISTEN"):
        monkeypatch.setenv(f"TRUNKLINE_{name}", "127.0.0.1:0")
    monkeypatch.setenv("TRUNKLINE_SIP_TLS_CA", str(tmp_path / "absent.pem"))
    code, _, err = run(monkeypatch, capsys, "up")
    assert code == 2
    assert "absent.pem: No such file or directory; mend it, or TRUNKLINE_SIP_TLS_*" in err


@pytest.mark.parametrize(
    ("setting", "kind"),
    [("SIP_LISTEN", socket.SOCK_DGRAM), ("HTTP_LISTEN", socket.SOCK_STREAM)],
)
def test_a_taken_port_is_said_before_anything_runs(
    setting: str,
    kind: socket.SocketKind,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("SIP_LISTEN", "HTTP_LISTEN"):
        monkeypatch.setenv(f"TRUNKLINE_{name}", "127.0.0.1:0")
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv(f"TRUNKLINE_{setting}", f"127.0.0.1:{port}")
        code, _, err = run(monkeypatch, capsys, "up")
    assert code == 2
    assert err.startswith("trunkline: cannot listen on ")
    assert f"127.0.0.1:{port}: Address already in use; free it, or set TRUNKLINE_{setting}" in err


def test_one_port_for_the_metrics_of_six_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SIP_LISTEN", "HTTP_LISTEN"):
        monkeypatch.setenv(f"TRUNKLINE_{name}", "127.0.0.1:0")
    monkeypatch.setenv("TRUNKLINE_METRICS_LISTEN", "127.0.0.1:9100")
    code, _, err = run(monkeypatch, capsys, "up")
    assert code == 2
    assert "write 127.0.0.1:0" in err


@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_folder_that_cannot_be_written_to_is_refused(
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRUNKLINE_DATA_DIR", str(tmp_path / "file"))
    code, _, err = run(monkeypatch, capsys, command)
    assert code == 2
    assert "choose a folder you may write to" in err


def test_a_dashboard_started_by_hand_prints_the_password_it_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def role(name: str, settings: Settings, *, ready: roles.Ready) -> int:
        ready({"http": "http://127.0.0.1:8080", "password": "correct-horse"})
        return 0

    monkeypatch.setattr(roles, "run", role)
    monkeypatch.setenv("TRUNKLINE_BUS_URL", "redis://127.0.0.1:1")
    code, out, err = run(monkeypatch, capsys, "admin")
    assert (code, out) == (0, "")
    assert err == "dashboard password: correct-horse (made now, shown only this once)\n"


def test_the_contract_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, "asyncapi")
    assert code == 0
    assert "asyncapi: 3.0.0" in out


def test_status_for_people() -> None:
    text = as_text(
        {
            "processes": [
                {"role": "asr", "pid": 12, "host": "h", "since": 0, "owned": 3, "address": ""}
            ],
            "pools": {"asr": {"waiting": 1, "owned": 3}},
            "trunks": [
                {"name": "carrier", "registered": "failed", "reachable": "yes", "calls": 3,
                 "limit": 30, "status": 403, "reason": "Forbidden"},
            ],
            "phones": [{"user": "anna", "contact": "sip:anna@192.0.2.8"}],
            "calls": [
                {"id": "c-1", "agent": "clinic", "caller": "+1", "called": "desk",
                 "started_at": 0, "turns": 2, "ended": False},
                {"id": "c-2", "unreadable": True},
            ],
        },
        now_ms=65_000,
    )  # fmt: skip
    assert "asr             12  h                        3  1m05s" in text
    assert "c-1  +1 -> desk (clinic), 2 turn(s), 1m05s" in text
    assert "c-2  its log is of another version" in text
    assert "carrier             failed      yes           3/30  403 Forbidden" in text
    assert "anna                sip:anna@192.0.2.8" in text
    nothing: dict[str, Any] = {"processes": [], "pools": {}, "trunks": [], "phones": []}
    empty = as_text({**nothing, "calls": []}, now_ms=0)
    assert "TRUNK" not in empty
    assert "start `trunkline up`" in empty


CALL = {
    "id": "20260101t000000-abcdef01", "live": False, "caller": "+1", "called": "desk",
    "agent_name": "clinic", "codec": "PCMU", "ending": "caller_hung_up", "duration_ms": 12_340,
    "turn_count": 1, "recording_file": "r.wav",
    "direction": "outbound", "actions": [
        {"turn": 1, "action": "transfer", "arguments": {"target": "100"}, "outcome": "failed",
         "detail": "486 Busy Here"},
        {"turn": 1, "action": "hangup", "arguments": {}, "outcome": None, "detail": ""},
    ],
    "turns": [
        {"number": 1, "caller_text": "yes please", "agent_text": "It is booked. Bye.",
         "heard_text": "It is booked.", "interrupted": True, "voice_to_voice_ms": 640.2,
         "stages_ms": {"endpoint": 600.0, "asr": 40.2}},
    ],
}  # fmt: skip


def test_calls_for_people() -> None:
    assert list_as_text([]) == "no calls yet"
    assert "12.3  caller_hung_up" in list_as_text([CALL])
    text = call_as_text(CALL)
    assert "  caller  yes please" in text
    assert "  agent   It is booked. [interrupted]" in text
    assert "640 ms (endpoint 600, asr 40)" in text
    assert "  transfer 100 [failed 486 Busy Here]" in text
    assert "  hangup [not done]" in text
