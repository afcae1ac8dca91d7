"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trunkline.listen import parse_host_port, parse_port_range, parse_sip_listen
from trunkline.settings import CONFIG_VARIABLE, PREFIX, Settings

ROOT = Path(__file__).parents[3]
ROOMS = [
    "trunkline",
    "ingress_sip",
    "workers",
    "legs",
    "bus",
    "storage",
    "admin",
    "calls",
    "media",
    "telemetry",
    "alembic",
]
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}


def sources() -> list[Path]:
    return [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


def texts() -> list[Path]:
    """Every text of the repository: what git would track, or in a bare copy what is there."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        files = [ROOT / name for name in listed]
    except (OSError, subprocess.CalledProcessError):
        ours = {".ci", ".github", ".importlinter", ".gitignore", ".dockerignore", ".env.example"}
        files = [
            file
            for file in ROOT.rglob("*")
            if not any(
                part in {"var", "build", "dist", "__pycache__"}
                or part.endswith(".egg-info")
                or (part.startswith(".") and part not in ours)
                for part in file.relative_to(ROOT).parts
            )
        ]
    return [
        file
        for file in files
        if file.is_file() and file.suffix not in {".wav", ".ul", ".dat", ".png", ".pcap"}
    ]


def reads_environment(tree: ast.AST) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os"
            and any(name.name in {"environ", "getenv"} for name in node.names))
        for node in ast.walk(tree)
    )  # fmt: skip


def test_only_settings_reads_the_environment() -> None:
    readers = {
        str(file.relative_to(ROOT))
        for file in sources()
        if reads_environment(ast.parse(file.read_text("utf-8")))
    }
    assert readers == {"trunkline/settings.py"}


def test_no_file_takes_in_a_second_concept() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for file in sources()
        if (lines := len(file.read_text("utf-8").splitlines())) > 450
    }
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in sources()
        if (text := file.read_text("utf-8")).strip() and ast.get_docstring(ast.parse(text)) is None
    ]
    assert not silent


def test_no_file_names_a_machine_or_a_registry() -> None:
    # Written in pieces, or this file would name them itself.
    forbidden = re.compile(
        "|".join(["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/[a-z]", r"py" + r"pi\.org",
                  r"pythonhost" + "ed", r"--index" + "-url ", r"--find" + "-links"])
    )  # fmt: skip
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for file in texts()
        for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found


def test_the_locks_are_whole() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        pins = re.findall(r"^[a-zA-Z0-9._-]+(?:\[[^]]*\])?==", text, re.MULTILINE)
        hashed = re.findall(r"^[a-zA-Z0-9._-]+(?:\[[^]]*\])?==[^\n]*\\\n    --hash", text, re.M)
        assert len(pins) > 40
        assert len(pins) == len(hashed)


def markdown() -> list[Path]:
    return [file for file in texts() if file.suffix == ".md"]


def test_every_link_leads_somewhere() -> None:
    broken = []
    for file in markdown():
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text("utf-8")):
            place = target.partition("#")[0]
            if place and "://" not in place and not (file.parent / place).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_make_target_and_command_that_is_told_of_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    cli = (ROOT / "trunkline" / "cli.py").read_text("utf-8")
    commands = set(re.findall(r"@app\.command\(.*\)\ndef (\w+)", cli)) | {"calls"}
    wrong = []
    for file in markdown():
        code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", file.read_text("utf-8"), re.DOTALL))
        wrong += [
            f"{file.name}: make {target}"
            for target in re.findall(r"\bmake ([a-z][a-z-]*)\b", code)
            if target not in targets
        ]
        wrong += [
            f"{file.name}: trunkline {command}"
            for command in re.findall(r"(?:^|[`;&|] ?|-m )trunkline ([a-z]+)\b", code, re.M)
            if command not in commands
        ]
    assert not wrong


def test_every_setting_that_is_told_of_exists() -> None:
    told = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in texts()
        if file.suffix in {".md", ".yaml", ".yml", ".toml", ""} and "tests" not in file.parts
        for name in re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", file.read_text("utf-8"))
        if name not in KNOWN and not name.startswith(f"{PREFIX}TEST_")
    }
    assert not told


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, object]]:
    compose = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text("utf-8"))
    found: dict[str, dict[str, object]] = compose["services"]
    return found


def test_compose_runs_every_role_and_nothing_unknown(
    services: dict[str, dict[str, object]],
) -> None:
    roles = {"sip", "web", "asr", "llm", "tts", "recorder", "admin", "migrate"}
    assert set(services) == roles | {"redis", "postgres"}
    for role in roles:
        assert services[role]["command"] == [role]
        environment = services[role]["environment"]
        assert isinstance(environment, dict)
        assert {name for name in environment if name.startswith(PREFIX)} <= KNOWN
        assert "TRUNKLINE_BUS_URL" in environment


def test_compose_names_every_variable_that_it_takes() -> None:
    text = (ROOT / "compose" / "compose.yaml").read_text("utf-8")
    example = (ROOT / "compose" / ".env.example").read_text("utf-8")
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == set(re.findall(r"^([A-Z_]+)=", example, re.M))


def test_compose_has_two_ports_for_each_call(services: dict[str, dict[str, object]]) -> None:
    environment = services["sip"]["environment"]
    assert isinstance(environment, dict)
    written = {
        name: environment[f"{PREFIX}{name}"].partition(":-")[2].removesuffix("}")
        for name in ("SIP_LISTEN", "RTP_PORTS", "MAX_CALLS")
    }
    assert parse_port_range(written["RTP_PORTS"]).pairs >= int(written["MAX_CALLS"])
    assert {one.transport for one in parse_sip_listen(written["SIP_LISTEN"])} == {"udp", "tcp"}


def test_compose_opens_the_web_side_to_this_machine_alone(
    services: dict[str, dict[str, Any]],
) -> None:
    web = services["web"]
    port = parse_host_port(web["environment"]["TRUNKLINE_WEB_LISTEN"]).port
    assert web["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f":{port}/health" in web["healthcheck"]["test"][-1]


def test_compose_waits_for_what_it_needs(services: dict[str, dict[str, object]]) -> None:
    for name in ("redis", "postgres"):
        assert "healthcheck" in services[name]
    for role in ("sip", "web", "asr", "llm", "tts", "recorder", "admin"):
        assert services[role]["depends_on"] == {
            "redis": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }


def test_the_image_runs_as_nobody_special_and_from_the_lock() -> None:
    text = (ROOT / "compose" / "Dockerfile").read_text("utf-8")
    instructions = re.findall(r"^([A-Z]+) (.*)", text, re.MULTILINE)
    bases = [rest for word, rest in instructions if word == "FROM"]
    assert all(re.match(r"python:3\.\d+-slim-\w+", base) for base in bases)
    assert [rest for word, rest in instructions if word == "USER"] == ["trunkline"]
    assert "--require-hashes -r requirements.lock" in text
    assert "HEALTHCHECK" in text
    copied = {
        rest.split()[0] for word, rest in instructions if word == "COPY" and "--from" not in rest
    }
    assert copied == {"requirements.lock", "."}
