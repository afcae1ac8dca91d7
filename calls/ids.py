"""How calls, turns and replies are named.

A call id sorts by its start and cannot be guessed. A turn is numbered by the worker that hears it;
turn 0 is the agent's greeting. A reply is named by the turn it answers and by its revision, so that
two workers that answer the same turn after a take-over write the same names. An aside is what the
agent says beside the answer, as a filler: it is named by the turn it comes after.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NewType

CallId = NewType("CallId", str)
ReplyId = NewType("ReplyId", str)

GREETING_TURN = 0

#: What ids look like on the wire: nothing else may become part of a key, a path or a fold.
CALL_ID_PATTERN = r"[a-z0-9][a-z0-9-]{7,63}"
REPLY_ID_PATTERN = r"(0|[1-9][0-9]{0,8})\.a?(0|[1-9][0-9]{0,8})"

_CALL_ID = re.compile(CALL_ID_PATTERN)
_REPLY_ID = re.compile(REPLY_ID_PATTERN)


def new_call_id(now_ms: float, token: str) -> CallId:
    """Name a call that starts at `now_ms` (Unix epoch, ms).

    `token` is random: 8 or more hex digits.
    """
    started = datetime.fromtimestamp(now_ms / 1000, UTC)
    return CallId(f"{started:%Y%m%dt%H%M%S}-{token}")


def parse_call_id(text: str) -> CallId:
    """Accept a call id from outside.

    Raises:
        ValueError: it could not be a call id, so it must not become part of a key or a path.
    """
    if not _CALL_ID.fullmatch(text):
        raise ValueError(f"not a call id: {text[:80]!r}")
    return CallId(text)


def reply_id(turn: int, revision: int = 0) -> ReplyId:
    """Name the reply to a turn."""
    return ReplyId(f"{turn}.{revision}")


def aside_id(turn: int, number: int) -> ReplyId:
    """Name what is said beside the answer to a turn."""
    return ReplyId(f"{turn}.a{number}")


def is_aside(reply: ReplyId) -> bool:
    """Is this said beside the answer?"""
    return ".a" in reply


def parse_reply_id(text: str) -> ReplyId:
    """Accept a reply id from outside.

    Raises:
        ValueError: it names no turn and revision.
    """
    if not _REPLY_ID.fullmatch(text):
        raise ValueError(f"not a reply id: {text[:80]!r}")
    return ReplyId(text)


def revision_of(reply: ReplyId) -> int:
    """Tell which revision of the turn's answer a reply is, or which aside.

    Raises:
        ValueError: not a reply id.
    """
    return int(reply.partition(".")[2].removeprefix("a"))


def turn_of(reply: ReplyId) -> int:
    """Tell which turn a reply answers.

    Raises:
        ValueError: not a reply id.
    """
    return int(reply.partition(".")[0])
