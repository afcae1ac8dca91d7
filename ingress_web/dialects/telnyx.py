"""Telnyx media streaming over WebSockets, with `stream_bidirectional_mode` `rtp`.

https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket
https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming

The start tells what we are sent (`stream_codec`), not what we are to send: that is
`stream_bidirectional_codec`, which has to be PCMU, as it is by default. L16 is read as RTP has it,
big-endian, for the documentation speaks of RTP payloads and of no order of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from ingress_web.dialects.messages import (
    DialectError,
    MarkReached,
    Message,
    Started,
    Stopped,
    Trouble,
)
from ingress_web.dialects.reading import (
    LONGEST_AUDIO,
    LONGEST_NAME,
    Object,
    audio_in,
    base64_of,
    belongs,
    key_in,
    name_in,
    number_in,
    object_in,
    one_channel,
    parameters_of,
    read_event,
    shown,
    text_in,
)
from media.codec import Decoder
from media.encoding import Encoding
from media.frames import SAMPLE_RATE
from media.l16 import RATES, L16Decoder

_ADVICE: Final = "set stream_codec to PCMU and stream_track to inbound_track"


class TelnyxDialect:
    """One connection (ingress_web.dialects.messages.Dialect)."""

    name = "telnyx"
    longest = LONGEST_AUDIO
    closes = False

    def __init__(self) -> None:
        self._stream: str | None = None
        self._events: Mapping[str, Callable[[Object], Sequence[Message]]] = {
            "media": self._media,
            "mark": self._mark,
            "dtmf": self._dtmf,
            "start": self._start,
            "stop": self._stop,
            "error": self._error,
        }

    def read(self, message: str | bytes) -> Sequence[Message]:
        """See `Dialect`."""
        event, said = read_event(message, "Telnyx")
        handle = self._events.get(event)
        return () if handle is None else handle(said)  # connected, and what is added some day

    def audio(self, payload: bytes) -> str:
        """See `Dialect`."""
        return f'{{"event":"media","media":{{"payload":"{base64_of(payload)}"}}}}'

    def mark(self, name: str) -> str:
        """See `Dialect`."""
        return f'{{"event":"mark","mark":{{"name":{json.dumps(name)}}}}}'

    def clear(self) -> str:
        """See `Dialect`. Telnyx answers the marks that it throws away."""
        return '{"event":"clear"}'

    def _start(self, said: Object) -> Sequence[Message]:
        if self._stream is not None:
            raise DialectError("a second start")
        stream = name_in(said, "stream_id")
        start = object_in(said, "start")
        format_ = _format(object_in(start, "media_format"))
        parameters = start.get("custom_parameters") or {}
        if not isinstance(parameters, dict):
            raise DialectError("custom_parameters are no object")
        if state := text_in(start, "client_state"):
            parameters = {"client_state": state} | parameters
        started = Started(
            stream=stream,
            call=name_in(start, "call_control_id"),
            account=name_in(start, "user_id"),
            codec=format_.name,
            decoder=format_.decoder,
            parameters=parameters_of(parameters),
            caller=text_in(start, "from"),
            called=text_in(start, "to"),
        )
        self._stream = stream
        return (started,)

    def _media(self, said: Object) -> Sequence[Message]:
        belongs(said, "stream_id", self._stream)
        return audio_in(said)

    def _mark(self, said: Object) -> Sequence[Message]:
        belongs(said, "stream_id", self._stream)
        return (MarkReached(name_in(object_in(said, "mark"), "name", LONGEST_NAME)),)

    def _dtmf(self, said: Object) -> Sequence[Message]:
        belongs(said, "stream_id", self._stream)
        return key_in(object_in(said, "dtmf"))

    def _stop(self, said: Object) -> Sequence[Message]:
        belongs(said, "stream_id", self._stream)
        return (Stopped(),)

    def _error(self, said: Object) -> Sequence[Message]:
        # Of what we sent, so the stream it names is not looked at.
        payload = object_in(said, "payload")
        what = (payload.get(name) for name in ("code", "title", "detail"))
        return (Trouble(" ".join(shown(part) for part in what if part is not None)),)


class _Format(NamedTuple):
    name: str
    decoder: Decoder


def _format(form: Object) -> _Format:
    """What the payloads are. Raises DialectError."""
    encoding, rate = form.get("encoding"), number_in(form, "sample_rate")
    one_channel(form, _ADVICE)
    match encoding:
        case "PCMU" | "PCMA" if rate == SAMPLE_RATE:
            return _Format(encoding, Encoding(encoding).decoder())
        case "G722":  # the codec has one rate, and a clock of half that: either may be told
            return _Format(encoding, Encoding.G722.decoder())
        case "L16" if rate in RATES:
            return _Format(f"L16/{rate}", L16Decoder(rate, "big"))
    raise DialectError(f"{shown(encoding)} at {rate} Hz: {_ADVICE}")
