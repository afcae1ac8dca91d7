"""Twilio Media Streams, bidirectional.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from ingress_web.dialects.messages import (
    DialectError,
    MarkReached,
    Message,
    Started,
    Stopped,
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
)
from media.frames import SAMPLE_RATE, Codec
from media.g711 import G711Decoder


class TwilioDialect:
    """One connection (ingress_web.dialects.messages.Dialect)."""

    name = "twilio"
    longest = LONGEST_AUDIO
    closes = False

    def __init__(self) -> None:
        self._stream: str | None = None
        self._audio_head = self._mark_head = self._clear = ""
        self._events: Mapping[str, Callable[[Object], Sequence[Message]]] = {
            "media": self._media,
            "mark": self._mark,
            "dtmf": self._dtmf,
            "connected": self._connected,
            "start": self._start,
            "stop": self._stop,
        }

    def read(self, message: str | bytes) -> Sequence[Message]:
        """See `Dialect`."""
        event, said = read_event(message, "Twilio")
        handle = self._events.get(event)
        return () if handle is None else handle(said)  # what Twilio adds some day

    def audio(self, payload: bytes) -> str:
        """See `Dialect`."""
        return f'{self._audio_head}{base64_of(payload)}"}}}}'

    def mark(self, name: str) -> str:
        """See `Dialect`."""
        return f"{self._mark_head}{json.dumps(name)}}}}}"

    def clear(self) -> str:
        """See `Dialect`."""
        return self._clear

    def _connected(self, said: Object) -> Sequence[Message]:
        if said.get("protocol", "Call") != "Call":
            raise DialectError("a protocol that is not Call")
        return ()

    def _start(self, said: Object) -> Sequence[Message]:
        if self._stream is not None:
            raise DialectError("a second start")
        start = object_in(said, "start")
        stream = name_in(said if "streamSid" in said else start, "streamSid")
        form = object_in(start, "mediaFormat")
        if form.get("encoding") != "audio/x-mulaw" or number_in(form, "sampleRate") != SAMPLE_RATE:
            raise DialectError("audio that is not audio/x-mulaw at 8000 Hz: point a <Stream> here")
        one_channel(form, "stream the inbound track alone, by <Connect><Stream>")
        parameters = start.get("customParameters") or {}
        if not isinstance(parameters, dict):
            raise DialectError("customParameters are no object")
        started = Started(
            stream=stream,
            call=name_in(start, "callSid"),
            account=name_in(start, "accountSid"),
            codec="PCMU",
            decoder=G711Decoder(Codec.PCMU),
            parameters=parameters_of(parameters),
        )
        self._begin(stream)
        return (started,)

    def _begin(self, stream: str) -> None:
        # What we say often differs in its end alone.
        self._stream = stream
        head = f'"streamSid":{json.dumps(stream)}'
        self._audio_head = f'{{"event":"media",{head},"media":{{"payload":"'
        self._mark_head = f'{{"event":"mark",{head},"mark":{{"name":'
        self._clear = f'{{"event":"clear",{head}}}'

    def _media(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamSid", self._stream)
        return audio_in(said)

    def _mark(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamSid", self._stream)
        return (MarkReached(name_in(object_in(said, "mark"), "name", LONGEST_NAME)),)

    def _dtmf(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamSid", self._stream)
        return key_in(object_in(said, "dtmf"))

    def _stop(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamSid", self._stream)
        return (Stopped(),)
