"""What docs/twilio.md shows can be used as it stands, and what it names is there."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
import typer
from prometheus_client import REGISTRY

from calls.ending import Ending
from ingress_web.carriers import twiml
from ingress_web.carriers.twilio_fields import read_offer
from ingress_web.forms import read_form
from ingress_web.proxies import Url
from telemetry import metrics
from trunkline import cli
from trunkline.placing import order
from trunkline.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "twilio.md").read_text("utf-8")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    """The page's examples of a kind; those within a list stand further in."""
    return [textwrap.dedent(text) for _, found, text in FENCE.findall(PAGE) if found == kind]


COMMANDS = [line for text in blocks("sh") for line in text.replace("\\\n", "").splitlines()]
SOURCES = "".join(
    file.read_text("utf-8")
    for room in ("ingress_web", "legs")
    for file in (ROOT / room).rglob("*.py")
)


def test_there_are_examples() -> None:
    assert len(FENCE.findall(PAGE)) == PAGE.count("```") / 2
    assert [len(blocks(kind)) for kind in ("caddy", "nginx", "python")] == [1, 1, 1]


def test_the_settings_of_the_page_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    exports = [line for line in COMMANDS if line.startswith("export ")]
    assert len(exports) == 8
    for line in exports:
        name, value = shlex.split(line, comments=True)[1].split("=", 1)
        monkeypatch.setenv(name, value.replace("AC" + "X" * 32, "AC" + "0" * 32))
    settings = load_settings()
    assert settings.public_url == "https://voice.example.com"
    assert str(settings.web_listen) == "127.0.0.1:8088"


def test_every_setting_of_the_page_is_one() -> None:
    told = set(re.findall(r"`(?:TRUNKLINE_)?([A-Z]+(?:_[A-Z]+)+)`", PAGE))
    assert len(told) > 8
    assert {name for name in told if name.lower() not in Settings.model_fields} == set()
    assert f"{PREFIX}WEB_LISTEN" in PAGE


def test_the_calls_of_the_page_can_be_placed() -> None:
    calls = [line for line in COMMANDS if line.startswith("trunkline call ")]
    assert len(calls) == 2
    command = typer.main.get_command(cli.app)
    for line in calls:
        _, name, *arguments = shlex.split(line, comments=True)
        subcommand = command.commands[name]  # type: ignore[attr-defined]  # a group
        given = subcommand.make_context(name, arguments).params
        assert given["carrier"] == "twilio"
        assert order(number=given["number"], agent=given["agent"], carrier="twilio")


def test_the_webhook_of_the_page_is_one() -> None:
    [line] = [line for line in COMMANDS if line.startswith("curl ")]
    words = shlex.split(line)
    given = (words[n + 1] for n, word in enumerate(words) if word in ("-d", "--data-urlencode"))
    form = read_form("&".join(given).replace("+", "%2B").encode())
    offer, left_out = read_offer(form, Url("http://127.0.0.1:8088", twiml.VOICE), "127.0.0.1")
    assert offer.number == "+15550100"
    assert left_out == []


def test_the_program_of_the_page_compiles() -> None:
    [program] = blocks("python")
    assert compile(program, "docs/twilio.md", "exec")


@pytest.mark.parametrize(
    "path", [twiml.VOICE, twiml.MEDIA, twiml.CONNECTED, twiml.DIALLED, twiml.STATUS]
)
def test_every_path_is_told(path: str) -> None:
    assert f"| `{path}` |" in PAGE


def test_every_metric_of_the_page_is_kept() -> None:
    told = set(re.findall(r"`(pipeline_[a-z_]+)", PAGE))
    assert metrics.CALLS  # they are made at import
    kept = {family.name for family in REGISTRY.collect()}
    assert len(told) > 3
    assert {name.removesuffix("_total") for name in told} <= kept


def test_every_line_of_the_log_that_the_page_looks_for_is_written() -> None:
    told = set(re.findall(r"`((?:web|stream|carrier|twilio)\.[a-z_]+)`", PAGE))
    assert len(told) > 8
    assert {name for name in told if f'"{name}"' not in SOURCES} == set()


def test_every_reason_of_a_refusal_is_given() -> None:
    told = set(re.findall(r"^\| (?:403|400, 413, 415, 408|429) \| `(\w+)`", PAGE, re.MULTILINE))
    assert len(told) == 7
    assert {reason for reason in told if f'"{reason}"' not in SOURCES} == set()


def test_every_ending_of_the_page_is_one() -> None:
    words = (
        "media_timeout|caller_hung_up|agent_hung_up|transferred|shutdown|busy|no_answer|cancelled|"
        "unreachable|rejected|ingress_lost"
    )
    told = set(re.findall(rf"`({words})`", PAGE))
    assert told == set(words.split("|"))
    assert told <= {ending.value for ending in Ending}


def test_every_test_that_the_page_names_is_there() -> None:
    told = set(re.findall(r"`((?:unit|integration|calls/test)[_/][\w/.]+)`", PAGE))
    assert len(told) > 8
    assert not [name for name in told if not (ROOT / "tests" / name).exists()]
