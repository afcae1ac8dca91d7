"""What a chat model may do besides speaking, as tools of OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from calls.events import ActionName
from calls.transfer import Transfer
from workers.ports import Action

#: An answer asks for no more than this many things, each described in no more characters.
_MOST_CALLS: Final = 8
_MOST_ARGUMENTS: Final = 2000

_SAYS: Final[Mapping[ActionName, str]] = {
    "hangup": "End the phone call, after what you say now has been heard. Say goodbye in the same "
    "answer. Only when the caller is done or asks for it.",
    "transfer": "Put the caller through to somebody else, after what you say now has been heard. "
    "Tell the caller so in the same answer. You will learn if nobody could be reached.",
    "send_digits": "Press keys on the phone's keypad, for a machine at the other end that asks for "
    "them, after what you say now has been heard.",
}


def tools(names: tuple[ActionName, ...], transfer: Transfer) -> dict[str, dict[str, object]]:
    """The tools by their names; to transfer is one only where there is somebody to transfer to."""
    offered: dict[str, dict[str, object]] = {}
    for name in dict.fromkeys(names):
        properties = _properties(name, transfer)
        if name == "transfer" and not properties:
            continue
        required = list(properties) if len(properties) == 1 else []
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        parameters = {**schema, "required": required} if required else schema
        function = {"name": name, "description": _SAYS[name], "parameters": parameters}
        offered[name] = {"type": "function", "function": function}
    return offered


def _properties(name: ActionName, transfer: Transfer) -> dict[str, object]:
    if name == "send_digits":
        says = "The keys: 0-9, *, #, A-D; w is a pause of half a second."
        return {"digits": {"type": "string", "description": says}}
    properties: dict[str, object] = {}
    if name == "transfer" and transfer.destinations:
        whom = list(transfer.destinations)
        properties["destination"] = {"type": "string", "enum": whom, "description": "Whom."}
    if name == "transfer" and transfer.numbers:
        says = "Instead of a destination: a phone number, as +15550100."
        properties["number"] = {"type": "string", "description": says}
    return properties


@dataclass(slots=True)
class _Call:
    name: str = ""
    arguments: str = ""


class ToolCalls:
    """Puts together the tool calls of a streamed answer: their arguments come in pieces."""

    def __init__(self) -> None:
        self._calls: dict[object, _Call] = {}

    def add(self, pieces: list[Any]) -> None:
        """Take the `tool_calls` of a chunk.

        Raises:
            AttributeError, TypeError: they are none.
        """
        for piece in pieces:
            function = piece.get("function") or {}
            # Some services number no calls, and send each whole: the id tells them apart.
            place = piece.get("index", piece.get("id", len(self._calls)))
            if place not in self._calls and len(self._calls) >= _MOST_CALLS:
                continue
            call = self._calls.setdefault(place, _Call())
            call.name = call.name or text_of(function.get("name"))
            if len(call.arguments) <= _MOST_ARGUMENTS:
                call.arguments += text_of(function.get("arguments"))[: _MOST_ARGUMENTS + 1]

    def actions(self, offered: Container[str]) -> Iterator[Action]:
        """What the model wants done, each thing once; a tool that was not offered is a problem."""
        wanted = []
        for call in self._calls.values():
            action = _action(call, offered)
            if action not in wanted or action.name == "send_digits":
                wanted.append(action)
        yield from wanted


def _action(call: _Call, offered: Container[str]) -> Action:
    if call.name not in offered:
        return Action(call.name, problem=f"the model called no tool of ours: {call.name[:40]!r}")
    said = call.arguments.strip() or "{}"
    problem = f"the model called {call.name} with what is no JSON object of texts: {said[:80]!r}"
    try:
        arguments = json.loads(said) if len(said) <= _MOST_ARGUMENTS else None
    except (ValueError, RecursionError):
        return Action(call.name, problem=problem)
    if not isinstance(arguments, dict):
        return Action(call.name, problem=problem)
    if any(not isinstance(value, str | int | None) for value in arguments.values()):
        return Action(call.name, problem=problem)
    if call.name == "hangup":
        return Action("hangup")
    given = {name: str(value) for name, value in arguments.items() if value not in (None, "")}
    return Action(call.name, given)


def text_of(value: object) -> str:
    """A text of the answer, empty where there is none.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str | None):
        raise TypeError(value)
    return value or ""
