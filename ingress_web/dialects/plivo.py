"""Plivo Audio Streams, with `bidirectional` true.

https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference

What we play is mu-law, whatever we are sent: `playAudio` says so in each message. A `clearAudio`
leaves its checkpoints without an answer, so `clearedAudio` answers them. The documentation tells no
order of bytes for audio/x-l16; it is read as little-endian, and mu-law has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ingress_web.dialects.marks import Marks
from ingress_web.dialects.messages import Audio, DialectError, Message, Started, Stopped
from ingress_web.dialects.reading import (
    LONGEST_AUDIO,
    LONGEST_NAME,
    Object,
    base64_of,
    belongs,
    key_in,
    name_in,
    number_in,
    object_in,
    one_channel,
    parameters_of,
    payload_in,
    read_event,
    shown,
)
from media.codec import Decoder
from media.frames import SAMPLE_BYTES, SAMPLE_RATE, Codec
from media.g711 import G711Decoder
from media.l16 import L16Decoder

_ADVICE: Final = 'set the <Stream>\'s contentType to "audio/x-mulaw;rate=8000"'
_L16_RATES: Final = (8000, 16000)
#: Unix time in ms, with room for some centuries.
_MOST_TIME: Final = 10**14
#: A piece that was sent so much later than the one before ended comes after a pause.
_PAUSE_MS: Final = 200


class PlivoDialect:
    """One connection (ingress_web.dialects.messages.Dialect)."""

    name = "plivo"
    longest = LONGEST_AUDIO
    closes = True

    def __init__(self) -> None:
        self._stream: str | None = None
        self._marks = Marks()
        self._bytes_s = SAMPLE_RATE
        #: Of the audio that came, in the bytes of its format, with the pauses in it.
        self._bytes = 0
        #: When the last piece ended, by Plivo's clock.
        self._end_ms: int | None = None
        self._mark_head = self._clear = ""
        self._events: Mapping[str, Callable[[Object], Sequence[Message]]] = {
            "media": self._media,
            "playedStream": self._played,
            "clearedAudio": self._cleared,
            "dtmf": self._dtmf,
            "start": self._start,
            "stop": self._stop,
        }

    def read(self, message: str | bytes) -> Sequence[Message]:
        """See `Dialect`."""
        event, said = read_event(message, "Plivo")
        handle = self._events.get(event)
        return () if handle is None else handle(said)  # what Plivo adds some day

    def audio(self, payload: bytes) -> str:
        """See `Dialect`."""
        return (
            '{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":8000,'
            f'"payload":"{base64_of(payload)}"}}}}'
        )

    def mark(self, name: str) -> str:
        """See `Dialect`."""
        self._marks.sent(name)
        return f"{self._mark_head}{json.dumps(name)}}}"

    def clear(self) -> str:
        """See `Dialect`."""
        self._marks.clear()
        return self._clear

    def _start(self, said: Object) -> Sequence[Message]:
        if self._stream is not None:
            raise DialectError("a second start")
        start = object_in(said, "start")
        format_ = _format(object_in(start, "mediaFormat"))
        stream = name_in(start, "streamId")
        started = Started(
            stream=stream,
            call=name_in(start, "callId"),
            account=name_in(start, "accountId"),
            codec=format_.name,
            decoder=format_.decoder,
            parameters=parameters_of(_headers(said.get("extra_headers"))),
        )
        self._stream = stream
        self._bytes_s = format_.bytes_s
        head = f'"streamId":{json.dumps(stream)}'
        self._mark_head = f'{{"event":"checkpoint",{head},"name":'
        self._clear = f'{{"event":"clearAudio",{head}}}'
        return (started,)

    def _media(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamId", self._stream)
        media = object_in(said, "media")
        if media.get("track", "inbound") != "inbound":
            return ()  # what we said ourselves
        audio = payload_in(media)
        if not audio:
            return ()
        at_ms = self._place(number_in(media, "timestamp", _MOST_TIME), len(audio))
        return (Audio(number_in(media, "chunk"), at_ms, audio),)

    def _place(self, sent_ms: int, size: int) -> int:
        """When a piece's first sample sounds.

        Its timestamp is the time of day, which is not as even as samples are: it tells of pauses,
        and the samples tell the rest.
        """
        if self._end_ms is not None and (pause_ms := sent_ms - self._end_ms) > _PAUSE_MS:
            self._bytes += pause_ms * self._bytes_s // 1000
        at_ms = self._bytes * 1000 // self._bytes_s
        self._bytes += size
        self._end_ms = sent_ms + size * 1000 // self._bytes_s
        return at_ms

    def _played(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamId", self._stream)
        return (self._marks.reached(name_in(said, "name", LONGEST_NAME)),)

    def _cleared(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamId", self._stream)
        return self._marks.cleared()

    def _dtmf(self, said: Object) -> Sequence[Message]:
        belongs(said, "streamId", self._stream)
        return key_in(object_in(said, "dtmf"))

    def _stop(self, said: Object) -> Sequence[Message]:
        # The reference knows none: Plivo closes the connection. Whoever says it means that.
        belongs(said, "streamId", self._stream)
        return (Stopped(),)


class _Format(NamedTuple):
    name: str
    decoder: Decoder
    #: Bytes a second.
    bytes_s: int


def _format(form: Object) -> _Format:
    """What the payloads are. Raises DialectError."""
    encoding, rate = form.get("encoding"), number_in(form, "sampleRate")
    one_channel(form, _ADVICE)
    match encoding:
        case "audio/x-mulaw" if rate == SAMPLE_RATE:
            return _Format("PCMU", G711Decoder(Codec.PCMU), rate)
        case "audio/x-l16" if rate in _L16_RATES:
            return _Format(f"L16/{rate}", L16Decoder(rate, "little"), rate * SAMPLE_BYTES)
    raise DialectError(f"{shown(encoding)} at {rate} Hz: {_ADVICE}")


def _headers(said: Any) -> Iterator[tuple[str, str]]:
    """The names and values of `extra_headers`: `a=1;b=2`, as it is documented; or `a=1,b=2`, as it
    stands in the XML. Raises DialectError.
    """
    if said is None:
        return
    if not isinstance(said, str):
        raise DialectError("extra_headers are no text")
    for pair in said.replace(",", ";").split(";"):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            yield name.strip(), value.strip()
