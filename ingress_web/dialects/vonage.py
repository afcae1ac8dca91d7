"""Vonage Voice API WebSockets: binary messages are audio, text is JSON.

https://developer.vonage.com/en/voice/voice-api/concepts/websockets

The first message has the audio's format and, beside it, whatever `headers` the NCCO's endpoint was
given, and nothing else that would tell the call: so the NCCO has to give the call's `uuid` there.
Audio is 16-bit linear PCM, little-endian, in messages of 20 ms, both ways. The end of a stream is
the end of its connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ingress_web.dialects.marks import Marks
from ingress_web.dialects.messages import MAX_MESSAGE, Audio, DialectError, Message, Started
from ingress_web.dialects.reading import (
    LONGEST_NAME,
    Object,
    key_in,
    name_in,
    object_in,
    parameters_of,
    read_event,
    shown,
)
from media.frames import FRAME_SAMPLES, SAMPLE_BYTES
from media.g711 import ulaw_to_pcm
from media.l16 import RATES, L16Decoder, L16Encoder

_FORMAT: Final = re.compile(r"audio/l16; ?rate=(\d{1,6})", re.ASCII | re.IGNORECASE)
_ADVICE: Final = 'set the endpoint\'s content-type to "audio/l16;rate=8000" in the NCCO'
_NO_CALL: Final = "no uuid: give the NCCO's endpoint \"headers\" with the call's uuid"


class VonageDialect:
    """One connection (ingress_web.dialects.messages.Dialect)."""

    name = "vonage"
    longest = FRAME_SAMPLES
    closes = True

    def __init__(self) -> None:
        self._encoder: L16Encoder | None = None
        self._bytes_s = 0
        self._pieces = 0
        self._bytes = 0
        self._marks = Marks()
        self._events: Mapping[str, Callable[[Object], Sequence[Message]]] = {
            "websocket:connected": self._connected,
            "websocket:dtmf": self._dtmf,
            "websocket:notify": self._notify,
            "websocket:cleared": self._cleared,
        }

    def read(self, message: str | bytes) -> Sequence[Message]:
        """See `Dialect`."""
        if not isinstance(message, str):
            return self._audio(message)
        event, said = read_event(message, "Vonage")
        handle = self._events.get(event)
        return () if handle is None else handle(said)  # what Vonage adds some day

    def audio(self, payload: bytes) -> bytes:
        """See `Dialect`. Raises DialectError: the format is not known yet."""
        if self._encoder is None:
            raise DialectError("nothing can be sent before websocket:connected")
        return self._encoder.encode(ulaw_to_pcm(payload))

    def mark(self, name: str) -> str:
        """See `Dialect`."""
        self._marks.sent(name)
        return json.dumps({"action": "notify", "payload": {"name": name}})

    def clear(self) -> str:
        """See `Dialect`."""
        self._marks.clear()
        return '{"action":"clear"}'

    def _connected(self, said: Object) -> Sequence[Message]:
        if self._encoder is not None:
            raise DialectError("a second websocket:connected")
        rate = _rate(said.get("content-type"))
        if "uuid" not in said:
            raise DialectError(_NO_CALL)
        started = Started(
            stream="",
            call=name_in(said, "uuid"),
            account="",
            codec=f"L16/{rate}",
            decoder=L16Decoder(rate, "little"),
            parameters=parameters_of(
                (name, value)
                for name, value in said.items()
                if name not in ("event", "content-type", "uuid")
            ),
        )
        self._encoder = L16Encoder(rate, "little")
        self._bytes_s = rate * SAMPLE_BYTES
        return (started,)

    def _audio(self, message: bytes) -> Sequence[Message]:
        if self._encoder is None:
            raise DialectError("nothing of a stream comes before websocket:connected")
        if len(message) > MAX_MESSAGE:
            raise DialectError(f"a message of {len(message)} bytes")
        if not message:
            return ()
        # It has no number and no time: what comes by TCP is all there is.
        self._pieces += 1
        at_ms = self._bytes * 1000 // self._bytes_s
        self._bytes += len(message)
        return (Audio(self._pieces, at_ms, message),)

    def _dtmf(self, said: Object) -> Sequence[Message]:
        self._belongs()
        return key_in(said)

    def _notify(self, said: Object) -> Sequence[Message]:
        self._belongs()
        return (self._marks.reached(name_in(object_in(said, "payload"), "name", LONGEST_NAME)),)

    def _cleared(self, _said: Object) -> Sequence[Message]:
        # Whether notifications that were asked for still come is not documented.
        self._belongs()
        return self._marks.cleared()

    def _belongs(self) -> None:
        if self._encoder is None:
            raise DialectError("nothing of a stream comes before websocket:connected")


def _rate(content_type: object) -> int:
    """Samples a second. Raises DialectError: it is none that we speak."""
    found = _FORMAT.fullmatch(content_type) if isinstance(content_type, str) else None
    rate = int(found[1]) if found is not None else 0
    if rate not in RATES:
        raise DialectError(f"{shown(content_type)}: {_ADVICE}")
    return rate
