"""Twilio Media Streams, bidirectional.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from ingress_web.dialects.messages import (
    MAX_MESSAGE,
    MAX_PARAMETER,
    MAX_PARAMETERS,
    Audio,
    DialectError,
    KeyPressed,
    MarkReached,
    Message,
    Started,
    Stopped,
)
from media.frames import Codec
from media.g711 import G711Decoder

_KEYS: Final = frozenset("0123456789*#ABCD")
_LONGEST_ID: Final = 64
_LONGEST_NAME: Final = 128
_MOST_MS: Final = 10**9


class TwilioDialect:
    """One connection (ingress_web.dialects.messages.Dialect)."""

    name = "twilio"

    def __init__(self) -> None:
        self._stream: str | None = None
        self._over = False
        self._audio_head = self._mark_head = ""
        self._events: Mapping[str, Callable[[dict[str, Any]], Sequence[Message]]] = {
            "media": self._media,
            "mark": self._mark,
            "dtmf": self._dtmf,
            "connected": self._connected,
            "start": self._start,
            "stop": self._stop,
        }

    def read(self, message: str | bytes) -> Sequence[Message]:
        """See `Dialect`."""
        if not isinstance(message, str):
            raise DialectError("a binary message; Twilio's are text")
        if len(message) > MAX_MESSAGE:
            raise DialectError(f"a message of {len(message)} characters")
        try:
            said = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise DialectError(f"no JSON: {error!s:.60}") from None
        if not isinstance(said, dict):
            raise DialectError("no JSON object")
        event = said.get("event")
        if not isinstance(event, str):
            raise DialectError("no event")
        handle = self._events.get(event)
        if handle is None:
            return ()  # what Twilio adds some day
        return handle(said)

    def audio(self, payload: bytes) -> str:
        """See `Dialect`."""
        return f'{self._audio_head}{base64.b64encode(payload).decode("ascii")}"}}}}'

    def mark(self, name: str) -> str:
        """See `Dialect`."""
        return f"{self._mark_head}{json.dumps(name)}}}}}"

    def clear(self) -> str:
        """See `Dialect`."""
        return json.dumps({"event": "clear", "streamSid": self._stream})

    def _connected(self, said: dict[str, Any]) -> Sequence[Message]:
        if said.get("protocol", "Call") != "Call":
            raise DialectError("a protocol that is not Call")
        return ()

    def _start(self, said: dict[str, Any]) -> Sequence[Message]:
        if self._stream is not None:
            raise DialectError("a second start")
        start = _object(said, "start")
        stream = _name(said if "streamSid" in said else start, "streamSid", _LONGEST_ID)
        form = _object(start, "mediaFormat")
        if form.get("encoding") != "audio/x-mulaw" or _number(form, "sampleRate", 10**6) != 8000:
            raise DialectError("audio that is not audio/x-mulaw at 8000 Hz")
        if (channels := form.get("channels", 1)) not in (1, "1"):
            raise DialectError(f"{channels!r:.20} channels: stream the inbound track alone")
        self._stream = stream
        head = f'"streamSid":{json.dumps(stream)}'
        self._audio_head = f'{{"event":"media",{head},"media":{{"payload":"'
        self._mark_head = f'{{"event":"mark",{head},"mark":{{"name":'
        return (
            Started(
                stream=stream,
                call=_name(start, "callSid", _LONGEST_ID),
                account=_name(start, "accountSid", _LONGEST_ID),
                codec="PCMU",
                decoder=G711Decoder(Codec.PCMU),
                parameters=_parameters(start.get("customParameters") or {}),
            ),
        )

    def _media(self, said: dict[str, Any]) -> Sequence[Message]:
        self._belongs(said)
        media = _object(said, "media")
        if media.get("track", "inbound") != "inbound":
            return ()  # what we said ourselves
        payload = media.get("payload")
        if not isinstance(payload, str):
            raise DialectError("media without a payload")
        try:
            audio = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise DialectError("a payload that is no base64") from None
        if not audio:
            return ()
        return (
            Audio(_number(media, "chunk", _MOST_MS), _number(media, "timestamp", _MOST_MS), audio),
        )

    def _mark(self, said: dict[str, Any]) -> Sequence[Message]:
        self._belongs(said)
        return (MarkReached(_name(_object(said, "mark"), "name", _LONGEST_NAME)),)

    def _dtmf(self, said: dict[str, Any]) -> Sequence[Message]:
        self._belongs(said)
        digit = _object(said, "dtmf").get("digit")
        if not isinstance(digit, str) or digit not in _KEYS:
            raise DialectError("a key that is none")
        return (KeyPressed(digit),)

    def _stop(self, said: dict[str, Any]) -> Sequence[Message]:
        self._belongs(said)
        return (Stopped(),)

    def _belongs(self, said: dict[str, Any]) -> None:
        """Raises DialectError for what comes before a start, or names another stream."""
        if self._stream is None:
            raise DialectError("nothing of a stream comes before its start")
        if said.get("streamSid") != self._stream:
            raise DialectError("another streamSid than the start's")


def _object(said: dict[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name)
    if not isinstance(found, dict):
        raise DialectError(f"no {name}")
    return cast(dict[str, Any], found)


def _name(said: dict[str, Any], name: str, longest: int) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found or len(found) > longest or not found.isprintable():
        raise DialectError(f"no {name}")
    return found


def _number(said: dict[str, Any], name: str, most: int) -> int:
    """A whole number, which Twilio writes as a string in most places."""
    found = said.get(name)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 12:
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
        raise DialectError(f"{name} is no number")
    return found


def _parameters(said: Any) -> dict[str, str]:
    if not isinstance(said, dict):
        raise DialectError("customParameters are no object")
    plain = (
        (name, value)
        for name, value in said.items()
        if isinstance(value, str) and len(name) <= MAX_PARAMETER and len(value) <= MAX_PARAMETER
    )
    return {name: value for (name, value), _ in zip(plain, range(MAX_PARAMETERS), strict=False)}
