"""YAML that people write: text in, a pydantic model out, or a refusal with file, line and mend.

The text is composed to YAML nodes first, because nodes know their lines; pydantic's findings are
then traced back to them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from trunkline.errors import UserError

#: Ample for hundreds of agents or trunks; a prompt alone may have 20,000 characters.
MAX_BYTES = 1 << 20
#: YAML aliases let a small file grow without bound; these bound what is built from it.
_MAX_NODES = 50_000
_MAX_DEPTH = 20

Path_ = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_MENDS = {"string_type": "put it in quotes", "missing": "add it"}
#: What pydantic says in Python's words, in YAML's.
_SAID = {
    "tuple_type": "write a list",
    "dict_type": "write `key: value` lines",
    "model_type": "write `key: value` lines",
    "too_short": "add at least one",
}


@dataclass(frozen=True)
class Parsed(Generic[Model]):
    """What a file says, and where: `line_of(path)` gives the line of a path, or of the nearest one
    above it that was written."""

    value: Model
    line_of: Callable[[Path_], int]


@dataclass(frozen=True)
class YamlFile(Generic[Model]):
    """One kind of file.

    Each line of its errors reads `file:line: what; mend`.
    """

    model: type[Model]
    error: type[UserError]
    #: The setting that names the file, and what to write into an empty one.
    setting: str
    mend_empty: str
    #: Lists whose items are known by their `name`, and what one of them is: "an agent".
    named: tuple[tuple[tuple[str, ...], str], ...] = ()

    def read(self, file: Path) -> str:
        """The file's text.

        Raises:
            UserError: of the kind `error`: it is not there, or cannot be read.
        """
        try:
            if file.stat().st_size > MAX_BYTES:
                raise self.error(f"{file}: larger than {MAX_BYTES} bytes; split or shorten it")
            return file.read_text("utf-8")
        except FileNotFoundError:
            raise self.error(
                f"{file}: there is no such file; name yours with {self.setting}"
            ) from None
        except UnicodeDecodeError:
            raise self.error(f"{file}: not UTF-8 text; save it as UTF-8") from None
        except OSError as error:
            raise self.error(f"{file}: cannot be read: {error.strerror}") from None

    def parse(self, text: str, name: str) -> Parsed[Model]:
        """What the text says; `name` stands for the file in the messages.

        Raises:
            UserError: of the kind `error`: it is not YAML, or not what the model asks for.
        """
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if node is None:
                raise self.error(f"{name}:1: the file is empty; {self.mend_empty}")
            builder = _Builder(loader, name, self.error)
            data = builder.build(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise self.error(f"{name}:{line}: not YAML: {error.problem}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise self.error(f"{name}:{line}: not YAML: {error.reason}") from None
        for place, what in self.named:
            builder.refuse_namesakes(data, place, what)
        try:
            value = self.model.model_validate(data)
        except ValidationError as error:
            # A list whose items are wrong is said to be too short besides: that helps nobody.
            found = [one for one in error.errors() if one["type"] != "too_short"] or error.errors()
            lines = [
                f"{name}:{builder.line_of(one['loc'])}: {_explain(one, self.model)}"
                for one in found
            ]
            raise self.error("\n".join(lines)) from None
        return Parsed(value, builder.line_of)


class _Builder:
    """Turns nodes into plain data, and remembers on which line each path stands."""

    def __init__(self, loader: yaml.SafeLoader, name: str, error: type[UserError]) -> None:
        self._loader = loader
        self._name = name
        self._error = error
        self._lines: dict[Path_, int] = {}
        self._nodes = 0

    def line_of(self, path: Path_) -> int:
        """The line of a path, or of the nearest one above it that was written."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def refuse_namesakes(self, data: Any, place: tuple[str, ...], what: str) -> None:
        """Refuse two items of one name here, where their lines are known.

        Raises:
            UserError
        """
        for key in place:
            data = data.get(key) if isinstance(data, dict) else None
        seen: dict[str, int] = {}
        for index, item in enumerate(data if isinstance(data, list) else []):
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            line = self.line_of((*place, index, "name"))
            if name in seen:
                raise self._error(
                    f"{self._name}:{line}: {what} on line {seen[name]} is named {name!r} too;"
                    " rename one"
                )
            seen[name] = line

    def build(self, node: yaml.Node, path: Path_) -> Any:
        """Build the data of a node.

        Raises:
            UserError: a key is given twice, or the file grows too large.
        """
        line = node.start_mark.line + 1
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise self._error(f"{self._name}:{line}: nested or repeated too much; shorten it")
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
                raise self._error(
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


def written(path: Path_) -> str:
    """A path as messages name it: `agents[0].asr`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]


def _explain(error: Any, model: type[BaseModel]) -> str:
    path: Path_ = error["loc"]
    kind: str = error["type"]
    where = written(path)
    if kind == "extra_forbidden":
        return f"{where}: no such key{_nearest(path, model)}"
    message = _SAID.get(kind, error["msg"].removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    given = error["input"]
    if kind not in ("missing", "value_error", "too_short") and not isinstance(given, dict | list):
        message += f", not {given!r}"[:100] if given is not None else "; nothing stands there"
    mend = _MENDS.get(kind)
    return f"{where or 'the file'}: {message}" + (f"; {mend}" if mend else "")


def _nearest(path: Path_, model: type[BaseModel]) -> str:
    """Name the key that was probably meant, or those there are."""
    fields = _fields_at(path[:-1], model)
    close = difflib.get_close_matches(str(path[-1]), fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(fields)}"


def _fields_at(path: Path_, model: type[BaseModel]) -> list[str]:
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
