"""The agents' file: YAML in, `calls.agent.Agents` out, or a refusal with file, line and mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from calls.agent import Agent, Agents
from trunkline.errors import UserError
from trunkline.yaml_file import MAX_BYTES, Path_, YamlFile

__all__ = ["MAX_BYTES", "AgentsFileError", "Judge", "load_agents", "parse_agents"]

#: Looks at one stage of an agent. Gives what is wrong with it, a finding per line; "" if nothing.
Judge = Callable[[Agent], str]


class AgentsFileError(UserError):
    """The agents' file is wrong. Each line of the message reads `file:line: what; mend`."""


_FILE = YamlFile(
    Agents,
    AgentsFileError,
    setting="TRUNKLINE_AGENTS",
    mend_empty="write `agents:` and a list",
    named=((("agents",), "an agent"),),
)


def load_agents(file: Path, stage: str = "", judge: Judge = lambda _: "") -> Agents:
    """Read the agents' file.

    Args:
        file: Where it is.
        stage: "asr", "llm" or "tts": where a finding of the judge stands in the file.
        judge: Whoever knows more of that stage than this file's form.

    Raises:
        AgentsFileError: it is not there, not YAML, or says something no agent has.
    """
    return parse_agents(_FILE.read(file), str(file), stage, judge)


def parse_agents(
    text: str, name: str = "agents.yaml", stage: str = "", judge: Judge = lambda _: ""
) -> Agents:
    """Read the text of an agents' file; `name` stands in the messages.

    Raises:
        AgentsFileError
    """
    parsed = _FILE.parse(text, name)
    if findings := [
        f"{name}:{parsed.line_of(('agents', index, *_place(stage, finding)))}: {finding}"
        for index, agent in enumerate(parsed.value.agents)
        for finding in judge(agent).splitlines()
    ]:
        raise AgentsFileError("\n".join(findings))
    return parsed.value


def _place(stage: str, finding: str) -> Path_:
    """Where in an agent a finding of the judge stands: in a stage, or in one of its stand-ins."""
    stand_in = re.search(rf"\b{stage}\.fallback\.(\d+)", finding)
    return (stage, "fallback", int(stand_in[1])) if stand_in else (stage,)
