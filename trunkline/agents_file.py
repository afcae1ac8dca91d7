"""The agents' file: YAML in, `calls.agent.Agents` out, or a refusal with file, line and mend.

The text is composed to YAML nodes first, because nodes know their lines; pydantic's findings are
then traced back to them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from calls.agent import Agent, Agents
from trunkline.errors import UserError

#: Ample for hundreds of agents; a prompt alone may have 20,000 characters.
MAX_BYTES = 1 << 20
#: YAML aliases let a small file grow without bound; these bound what is built from it.
_MAX_NODES = 50_000
_MAX_DEPTH = 20

Path_ = tuple[str | int, ...]

#: Looks at one stage of an agent. Gives what is wrong with it, a finding per line; "" if nothing.
Judge = Callable[[Agent], str]

_MENDS = {"string_type": "put it in quotes", "missing": "add it"}
#: What pydantic says in Python's words, in YAML's.
_SAID = {
    "tuple_type": "write a list",
    "dict_type": "write `key: value` lines",
    "model_type": "write `key: value` lines",
    "too_short": "add at least one",
}


class AgentsFileError(UserError):
    """The agents' file is wrong. Each line of the message reads `file:line: what; mend`."""


def load_agents(file: Path, stage: str = "", judge: Judge = lambda _: "") -> Agents:
    """Read the agents' file.

    Args:
        file: Where it is.
        stage: "asr", "llm" or "tts": where a finding of the judge stands in the file.
        judge: Whoever knows more of that stage than this file's form.

    Raises:
        AgentsFileError: it is not there, not YAML, or says something no agent has.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise AgentsFileError(f"{file}: larger than {MAX_BYTES} bytes; split or shorten it")
        text = file.read_text("utf-8")
    except FileNotFoundError:
        raise AgentsFileError(
            f"{file}: there is no such file; name yours with TRUNKLINE_AGENTS"
        ) from None
    except UnicodeDecodeError:
        raise AgentsFileError(f"{file}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise AgentsFileError(f"{file}: cannot be read: {error.strerror}") from None
    return parse_agents(text, str(file), stage, judge)


def parse_agents(
    text: str, name: str = "agents.yaml", stage: str = "", judge: Judge = lambda _: ""
) -> Agents:
    """Read the text of an agents' file; `name` stands in the messages.

    Raises:
        AgentsFileError
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise AgentsFileError(f"{name}:1: the file is empty; write `agents:` and a list")
        builder = _Builder(loader, name)
        data = builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise AgentsFileError(f"{name}:{line}: not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise AgentsFileError(f"{name}:{line}: not YAML: {error.reason}") from None
    builder.refuse_namesakes(data)
    try:
        agents = Agents.model_validate(data)
    except ValidationError as error:
        # A list whose items are wrong is said to be too short besides: that helps nobody.
        found = [one for one in error.errors() if one["type"] != "too_short"] or error.errors()
        lines = [f"{name}:{builder.line_of(one['loc'])}: {_explain(one)}" for one in found]
        raise AgentsFileError("\n".join(lines)) from None
    if findings := [
        f"{name}:{builder.line_of(('agents', index, *_place(stage, finding)))}: {finding}"
        for index, agent in enumerate(agents.agents)
        for finding in judge(agent).splitlines()
    ]:
        raise AgentsFileError("\n".join(findings))
    return agents


def _place(stage: str, finding: str) -> Path_:
    """Where in an agent a finding of the judge stands: in a stage, or in one of its stand-ins."""
    stand_in = re.search(rf"\b{stage}\.fallback\.(\d+)", finding)
    return (stage, "fallback", int(stand_in[1])) if stand_in else (stage,)


class _Builder:
    """Turns nodes into plain data, and remembers on which line each path stands."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._lines: dict[Path_, int] = {}
        self._nodes = 0

    def line_of(self, path: Path_) -> int:
        """The line of a path, or of the nearest one above it that was written."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def refuse_namesakes(self, data: Any) -> None:
        """Refuse two agents of one name here, where their lines are known.

        Raises:
            AgentsFileError
        """
        agents = data.get("agents") if isinstance(data, dict) else None
        seen: dict[str, int] = {}
        for index, agent in enumerate(agents if isinstance(agents, list) else []):
            name = agent.get("name") if isinstance(agent, dict) else None
            if not isinstance(name, str):
                continue
            line = self.line_of(("agents", index, "name"))
            if name in seen:
                raise AgentsFileError(
                    f"{self._name}:{line}: an agent on line {seen[name]} is named {name!r} too;"
                    " rename one"
                )
            seen[name] = line

    def build(self, node: yaml.Node, path: Path_) -> Any:
        """Build the data of a node.

        Raises:
            AgentsFileError: a key is given twice, or the file grows too large.
        """
        line = node.start_mark.line + 1
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise AgentsFileError(f"{self._name}:{line}: nested or repeated too much; shorten it")
        self._lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[Hashable, Any]:
        written: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self._loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if key in written:
                raise AgentsFileError(
                    f"{self._name}:{line}: {key!r} stands already on line {written[key]};"
                    " keep one of them"
                )
            written[key] = line
        self._loader.flatten_mapping(node)
        data: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self._loader.construct_object(key_node)
            below = (*path, key if isinstance(key, int) else str(key))
            self._lines[below] = key_node.start_mark.line + 1
            data[key] = self.build(value_node, below)
        return data


def _explain(error: Any) -> str:
    path: Path_ = error["loc"]
    kind: str = error["type"]
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
    if kind == "extra_forbidden":
        return f"{where}: no such key{_nearest(path)}"
    message = _SAID.get(kind, error["msg"].removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    given = error["input"]
    if kind not in ("missing", "value_error", "too_short") and not isinstance(given, dict | list):
        message += f", not {given!r}"[:100] if given is not None else "; nothing stands there"
    mend = _MENDS.get(kind)
    return f"{where or 'the file'}: {message}" + (f"; {mend}" if mend else "")


def _nearest(path: Path_) -> str:
    """Name the key that was probably meant, or those there are."""
    fields = _fields_at(path[:-1])
    close = difflib.get_close_matches(str(path[-1]), fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(fields)}"


def _fields_at(path: Path_) -> list[str]:
    model: type[BaseModel] = Agents
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        if field is None:
            continue  # the key of a mapping, as a destination's name
        annotation = field.annotation
        candidates = (annotation, *get_args(annotation))
        model = next(
            (c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model
        )
    return list(model.model_fields)
