"""What the carriers' dialects share: their JSON read, and what stands in it taken out with limits.

Whatever is not as it must be is a DialectError that names it. Nothing of the peer's comes into one
as it is, for it ends up in a closing handshake and in a log: `shown` makes it harmless and short.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn, cast

from ingress_web.dialects.messages import (
    MAX_MESSAGE,
    MAX_PARAMETER,
    MAX_PARAMETERS,
    Audio,
    DialectError,
    KeyPressed,
)
from ingress_web.forms import is_plain
from media.frames import samples_in

#: Characters of an id: Telnyx's calls have 60 or so.
LONGEST_ID: Final = 128
#: Characters of a mark's name.
LONGEST_NAME: Final = 128
#: More than any stream's chunks or ms: eleven days of either.
MOST: Final = 10**9
#: Characters of the peer's in an error.
_SHOWN: Final = 60
#: Samples of ours in a message, where the carrier's documentation has no limit that is near.
LONGEST_AUDIO: Final = samples_in(1000)
#: Digits of a number, at most: a time of day in ms has thirteen.
_MOST_DIGITS: Final = 15
#: Half a pair of them, which JSON can say, has no UTF-8.
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_KEYS: Final = frozenset("0123456789*#ABCD")

Object = dict[str, Any]


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# NaN and Infinity, which Python reads, are none of RFC 8259's numbers.
_JSON: Final = json.JSONDecoder(parse_constant=_no_number)


def read_event(message: str | bytes, carrier: str) -> tuple[str, Object]:
    """A text message's JSON object, and its `event`. Raises DialectError: it is no such thing."""
    if not isinstance(message, str):
        raise DialectError(f"a binary message; {carrier}'s are text")
    if len(message) > MAX_MESSAGE:
        raise DialectError(f"a message of {len(message)} characters")
    try:
        said = _JSON.decode(message)
    except (ValueError, RecursionError) as error:
        raise DialectError(f"no JSON: {shown(str(error))}") from None
    if not isinstance(said, dict):
        raise DialectError("no JSON object")
    event = said.get("event")
    if not isinstance(event, str):
        raise DialectError("no event")
    return event, said


def shown(said: object) -> str:
    """What the peer wrote, for a message to people: ASCII, and not long."""
    text = said[:_SHOWN] if isinstance(said, str) else repr(said)[:_SHOWN]
    plain = "".join(sign if sign.isprintable() else "?" for sign in text)
    return plain.encode("ascii", "backslashreplace").decode("ascii")[:_SHOWN]


def belongs(said: Object, name: str, stream: str | None) -> None:
    """Raises DialectError for what comes before a start, or names another stream than it."""
    if stream is None:
        raise DialectError("nothing of a stream comes before its start")
    if said.get(name) != stream:
        raise DialectError(f"another {name} than the start's")


def object_in(said: Object, name: str) -> Object:
    """The object of that name. Raises DialectError."""
    found = said.get(name)
    if not isinstance(found, dict):
        raise DialectError(f"no {name}")
    return cast(Object, found)


def name_in(said: Object, name: str, longest: int = LONGEST_ID) -> str:
    """The id or name that stands there: printable, not empty. Raises DialectError."""
    found = said.get(name)
    if not isinstance(found, str) or not found or len(found) > longest or not found.isprintable():
        raise DialectError(f"no {name}")
    return found


def number_in(said: Object, name: str, most: int = MOST) -> int:
    """The whole number from 0 to `most` that stands there, in digits or a string of them.

    Raises DialectError.
    """
    found = said.get(name)
    if type(found) is str and found.isascii() and found.isdigit() and len(found) <= _MOST_DIGITS:
        found = int(found)
    # bool is an int for isinstance.
    if type(found) is not int or not 0 <= found <= most:
        raise DialectError(f"{name} is no number")
    return found


def payload_in(media: Object) -> bytes:
    """The `payload`, out of its base64. Raises DialectError."""
    payload = media.get("payload")
    if type(payload) is not str:
        raise DialectError("media without a payload")
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:  # binascii.Error, or characters beyond ASCII
        raise DialectError("a payload that is no base64") from None


def audio_in(said: Object) -> tuple[Audio, ...]:
    """The caller's `media`, with a chunk and a time of its own; nothing for what we said ourselves.

    Raises:
        DialectError
    """
    media = object_in(said, "media")
    if media.get("track", "inbound") != "inbound" or not (payload := payload_in(media)):
        return ()
    return (Audio(number_in(media, "chunk"), number_in(media, "timestamp"), payload),)


def base64_of(payload: bytes) -> str:
    """Audio as a message has it."""
    return binascii.b2a_base64(payload, newline=False).decode("ascii")


def key_in(said: Object) -> tuple[KeyPressed, ...]:
    """The `digit` that was pressed; nothing for what no keypad has, such as a hook flash.

    Raises:
        DialectError: it says none.
    """
    digit = said.get("digit")
    if not isinstance(digit, str):
        raise DialectError("a key that is none")
    return (KeyPressed(digit.upper()),) if digit.upper() in _KEYS else ()


def one_channel(form: Object, advice: str) -> None:
    """Raises DialectError, with that advice, unless a media format is mono."""
    channels = form.get("channels", 1)
    if channels not in (1, "1"):
        raise DialectError(f"{shown(channels)} channels: {advice}")


def text_in(said: Object, name: str) -> str:
    """The text that stands there; empty if there is none, or none that can be kept."""
    found = said.get(name)
    return found if isinstance(found, str) and _bearable(found) else ""


def parameters_of(said: Object | Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Those that are plain text, of bearable length, and not too many; others are left out."""
    found: dict[str, str] = {}
    for name, value in said.items() if isinstance(said, dict) else said:
        if len(found) == MAX_PARAMETERS:
            break
        if _bearable(name) and _bearable(value):
            found[name] = value
    return found


def _bearable(text: Any) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= MAX_PARAMETER
        and is_plain(text)
        and not _SURROGATES.search(text)
    )
