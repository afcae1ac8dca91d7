"""What an agent asks for, checked: a model proposes, the agent's file decides.

Callers talk models into things, and a transfer costs money (toll fraud). So a model names a
destination of the file, or a number that the file's patterns allow, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from calls.agent import Agent
from calls.events import ActionName
from calls.transfer import parse_target

_DIALLED: Final = re.compile(r"\+?[0-9]{1,32}")
_DIGITS: Final = re.compile(r"[0-9*#A-Dw,]{1,64}")


class ActionError(ValueError):
    """The agent asked for something that it may not have, or that makes no sense."""


def accept(agent: Agent, name: str, asked: Mapping[str, str]) -> tuple[ActionName, dict[str, str]]:
    """Check what a responder asked for, and give it as the log has it (events.ActionRequested).

    Args:
        agent: whose responder it is.
        name: of the action.
        asked: for a transfer `destination`, a name in the agent's file, or `number`; for
            send_digits `digits`.

    Raises:
        ActionError: there is no such action, or the agent may not do this.
    """
    match name:
        case "hangup":
            return "hangup", {}
        case "transfer":
            return "transfer", _transfer(agent, asked)
        case "send_digits":
            return "send_digits", {"digits": parse_digits(asked.get("digits", ""))}
    raise ActionError(f"no such action: {name[:40]!r}")


def _transfer(agent: Agent, asked: Mapping[str, str]) -> dict[str, str]:
    if name := asked.get("destination", ""):
        destination = agent.transfer.destinations.get(name)
        if destination is None:
            raise ActionError(f"no destination of agent {agent.name!r} is called {name[:40]!r}")
        return {"target": destination.target, "mode": destination.mode, "destination": name}
    given = asked.get("number", "")
    try:
        number = parse_target(given)
    except ValueError as error:
        raise ActionError(f"no number to transfer to: {given[:40]!r}: {error}") from error
    if not _DIALLED.fullmatch(number) or not agent.transfer.allows(number):
        raise ActionError(
            f"agent {agent.name!r} may not transfer to {number[:40]!r}: transfer.numbers has no "
            "such pattern"
        )
    return {"target": number, "mode": "blind"}


def parse_digits(given: str) -> str:
    """Accept keys to send, as people may write them: letters in capitals but for the pause, `w`.

    Raises:
        ActionError: they are none, or more than 64.
    """
    digits = re.sub(r"[\s-]", "", given).upper().replace("W", "w")
    if not _DIGITS.fullmatch(digits) or not digits.strip("w,"):
        raise ActionError(f"no keys to send: {given[:80]!r}; they are 0-9 * # A-D, w pauses")
    return digits
