"""What docs/sip.md shows can be used as it stands, and what it names is there."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from prometheus_client import REGISTRY

from calls.ending import Ending
from telemetry import metrics
from trunkline import cli
from trunkline.agents_file import parse_agents
from trunkline.placing import order
from trunkline.settings import load_settings
from trunkline.trunks_file import parse_trunks

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "sip.md").read_text("utf-8")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[str]:
    """The page's examples of a kind; those within a list stand further in."""
    return [textwrap.dedent(text) for _, found, text in FENCE.findall(PAGE) if found == kind]


YAML = blocks("yaml")
AGENTS = [text for text in YAML if text.startswith("# agents.yaml")]
TRUNKS = [text for text in YAML if text not in AGENTS]
COMMANDS = [line for text in blocks("sh") for line in text.splitlines()]
SOURCES = "".join(
    file.read_text("utf-8")
    for room in ("ingress_sip", "legs")
    for file in (ROOT / room).rglob("*.py")
)


def test_there_are_examples() -> None:
    assert (len(AGENTS), len(TRUNKS)) == (1, 9)
    assert len(FENCE.findall(PAGE)) == PAGE.count("```") / 2


@pytest.mark.parametrize("example", TRUNKS)
def test_a_trunks_file_of_the_page_is_taken(example: str) -> None:
    assert parse_trunks(example, lambda _: "secret")


@pytest.mark.parametrize("example", AGENTS)
def test_an_agents_file_of_the_page_is_taken(example: str) -> None:
    assert parse_agents(example).agents[0].numbers == ("+15550100",)


def test_the_settings_of_the_page_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    exports = [line.removeprefix("export ") for line in COMMANDS if line.startswith("export ")]
    assert len(exports) == 5
    for line in exports:
        monkeypatch.setenv(*line.split("=", 1))
    settings = load_settings()
    assert [listen.transport for listen in settings.sip_listen] == ["udp", "tcp", "tls"]
    assert settings.public_address == "203.0.113.7"


def test_the_calls_of_the_page_can_be_placed() -> None:
    calls = [line for line in COMMANDS if line.startswith("trunkline call ")]
    assert len(calls) == 5
    command = typer.main.get_command(cli.app)
    for line in calls:
        _, name, *arguments = shlex.split(line, comments=True)
        subcommand = command.commands[name]  # type: ignore[attr-defined]  # a group
        given = subcommand.make_context(name, arguments).params
        assert order(number=given["number"], agent=given["agent"]).agent == "clinic"


def test_the_gateway_of_the_page_is_xml() -> None:
    [example] = blocks("xml")
    gateway = ElementTree.fromstring(example).find("gateway")
    assert gateway is not None
    assert {param.get("name") for param in gateway} >= {"proxy", "username", "password"}


def test_every_metric_of_the_page_is_kept() -> None:
    told = set(re.findall(r"`((?:pipeline|trunkline)_[a-z_]+)", PAGE))
    assert metrics.CALLS  # they are made at import
    kept = {family.name for family in REGISTRY.collect()}
    assert len(told) > 8
    assert {name.removesuffix("_total") for name in told} <= kept


def test_every_line_of_the_log_that_the_page_looks_for_is_written() -> None:
    told = set(re.findall(r"`((?:sip|tls|trunk)\.[a-z_]+)`", PAGE))
    assert len(told) > 8
    assert {name for name in told if f'"{name}"' not in SOURCES} == set()


def test_every_ending_of_the_page_is_one() -> None:
    told = re.findall(r"`(no_ack|media_timeout|too_long)`", PAGE)
    assert set(told) <= {ending.value for ending in Ending}
    assert len(set(told)) == 3


def test_every_test_that_the_page_names_is_there() -> None:
    told = re.findall(r"`((?:unit|integration|golden|sipp|calls/test)[_/][\w/.]+)`", PAGE)
    places = {name: ROOT / "tests" / name.replace("sipp/", "calls/sipp/", 1) for name in told}
    assert len(places) > 15
    assert not [
        name
        for name, place in places.items()
        if not place.exists() and not place.with_suffix(".xml").exists()
    ]
