"""What is none of a carrier's protocol: each is told in words, and nothing but told."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_web.dialects.messages import MAX_MESSAGE, DialectError, KeyPressed
from ingress_web.dialects.registry import DIALECTS
from tests.unit.ingress_web.dialects.documented import (
    MEDIA,
    PLIVO,
    PLIVO_START,
    STARTS,
    TELNYX,
    TELNYX_START,
    TWILIO,
    TWILIO_START,
    VONAGE_START,
    begun,
    changed,
)

CARRIERS = sorted(STARTS)
#: What each calls the number and the time of a piece of audio, which must be numbers.
NUMBERS = ["chunk", "timestamp"]
ELSEWHERE = {"twilio": "streamSid", "telnyx": "stream_id", "plivo": "streamId"}


def refusal(carrier: str, message: str | bytes, *, begin: bool = True) -> str:
    dialect = begun(carrier) if begin else DIALECTS[carrier]()
    with pytest.raises(DialectError) as refused:
        dialect.read(message)
    words = str(refused.value)
    assert words.isascii()
    assert words.isprintable()
    assert len(words) < 200
    return words


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "no JSON: Expecting value"),
        ("hello", "no JSON: Expecting value"),
        ("\ufeff{}", "no JSON: Expecting value"),
        ('{"event":"start"', "no JSON: Expecting"),
        ('{"event":"start"} {}', "no JSON: Extra data"),
        ('{"event":"a\0b"}', "no JSON: Invalid control character"),
        ("[" * 10_000, "no JSON: maximum recursion depth"),
        ('{"a":' * 5_000, "no JSON: maximum recursion depth"),
        ('{"event":NaN}', "no JSON: NaN is no JSON"),
        ('{"event":"x","n":-Infinity}', "no JSON: -Infinity is no JSON"),
        ('{"event":' + "9" * 5000 + "}", "no JSON: Exceeds the limit"),
        ('["event"]', "no JSON object"),
        ("null", "no JSON object"),
        ('"start"', "no JSON object"),
        ("{}", "no event"),
        ('{"event":null}', "no event"),
        ('{"event":["start"]}', "no event"),
        (" " * (MAX_MESSAGE + 1), f"a message of {MAX_MESSAGE + 1} characters"),
    ],
)
def test_text_that_is_none(carrier: str, message: str, words: str) -> None:
    assert refusal(carrier, message, begin=False).startswith(words)
    assert refusal(carrier, message).startswith(words)


@pytest.mark.parametrize("carrier", MEDIA)
@pytest.mark.parametrize("message", [b"", b"\x80abc", b'{"event":"start"}', bytearray(3)])
def test_bytes_where_text_is_spoken(carrier: str, message: bytes) -> None:
    words = f"a binary message; {carrier.title()}'s are text"
    assert refusal(carrier, message) == refusal(carrier, message, begin=False) == words


@pytest.mark.parametrize("carrier", MEDIA)
def test_audio_before_its_start(carrier: str) -> None:
    words = refusal(carrier, json.dumps(MEDIA[carrier]), begin=False)
    assert words == "nothing of a stream comes before its start"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_second_start(carrier: str) -> None:
    expected = "a second websocket:connected" if carrier == "vonage" else "a second start"
    assert refusal(carrier, json.dumps(STARTS[carrier])) == expected


@pytest.mark.parametrize("carrier", MEDIA)
@pytest.mark.parametrize("other", [..., None, "", "other", 7, "\ud800"])
def test_another_stream(carrier: str, other: Any) -> None:
    name = ELSEWHERE[carrier]
    words = refusal(carrier, changed(MEDIA[carrier], name, other))
    assert words == f"another {name} than the start's"


@pytest.mark.parametrize("carrier", MEDIA)
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("media", ..., "no media"),
        ("media", [], "no media"),
        ("media.payload", ..., "media without a payload"),
        ("media.payload", 7, "media without a payload"),
        ("media.payload", "????", "a payload that is no base64"),
        ("media.payload", "AAA", "a payload that is no base64"),
        ("media.payload", "AA==AA==", "a payload that is no base64"),
        ("media.payload", "A A A A ", "a payload that is no base64"),
        ("media.payload", "AAAA\n", "a payload that is no base64"),
        ("media.payload", "é" * 4, "a payload that is no base64"),
        ("media.payload", "\ud800AAA", "a payload that is no base64"),
        ("media.payload", "AAA\0", "a payload that is no base64"),
    ],
)
def test_media(carrier: str, path: str, value: Any, words: str) -> None:
    assert refusal(carrier, changed(MEDIA[carrier], path, value)) == words


@pytest.mark.parametrize("carrier", MEDIA)
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [
        *(..., None, "", "one", "-1", -1, "+1", " 1", "1.0", 1.5, 1e300, 10**30, "9" * 30),
        *("\u0663", True, [], "1\0"),
    ],
)
def test_numbers(carrier: str, name: str, value: Any) -> None:
    words = refusal(carrier, changed(MEDIA[carrier], f"media.{name}", value))
    assert words == f"{name} is no number"


TELNYX_ADVICE = "set stream_codec to PCMU and stream_track to inbound_track"
PLIVO_ADVICE = 'set the <Stream>\'s contentType to "audio/x-mulaw;rate=8000"'
VONAGE_ADVICE = 'set the endpoint\'s content-type to "audio/l16;rate=8000" in the NCCO'


@pytest.mark.parametrize(
    ("carrier", "path", "value", "words"),
    [
        ("twilio", "start", ..., "no start"),
        ("twilio", "start", "x", "no start"),
        ("twilio", "streamSid", 7, "no streamSid"),
        ("twilio", "streamSid", "", "no streamSid"),
        ("twilio", "streamSid", "x" * 129, "no streamSid"),
        ("twilio", "streamSid", "MZ\0", "no streamSid"),
        ("twilio", "start.callSid", ..., "no callSid"),
        ("twilio", "start.callSid", "\ud800", "no callSid"),
        ("twilio", "start.accountSid", None, "no accountSid"),
        ("twilio", "start.customParameters", "x", "customParameters are no object"),
        ("twilio", "start.mediaFormat", ..., "no mediaFormat"),
        (
            "twilio",
            "start.mediaFormat.encoding",
            "audio/x-l16",
            "audio that is not audio/x-mulaw at 8000 Hz: point a <Stream> here",
        ),
        (
            "twilio",
            "start.mediaFormat.sampleRate",
            16000,
            "audio that is not audio/x-mulaw at 8000 Hz: point a <Stream> here",
        ),
        ("twilio", "start.mediaFormat.sampleRate", -8000, "sampleRate is no number"),
        (
            "twilio",
            "start.mediaFormat.channels",
            2,
            "2 channels: stream the inbound track alone, by <Connect><Stream>",
        ),
        ("telnyx", "stream_id", ..., "no stream_id"),
        ("telnyx", "stream_id", "x\n", "no stream_id"),
        ("telnyx", "start", None, "no start"),
        ("telnyx", "start.call_control_id", "x" * 129, "no call_control_id"),
        ("telnyx", "start.user_id", ..., "no user_id"),
        ("telnyx", "start.custom_parameters", [1], "custom_parameters are no object"),
        ("telnyx", "start.media_format", ..., "no media_format"),
        ("telnyx", "start.media_format.encoding", ..., f"None at 8000 Hz: {TELNYX_ADVICE}"),
        ("telnyx", "start.media_format.encoding", "AMR-WB", f"AMR-WB at 8000 Hz: {TELNYX_ADVICE}"),
        ("telnyx", "start.media_format.encoding", "OPUS", f"OPUS at 8000 Hz: {TELNYX_ADVICE}"),
        ("telnyx", "start.media_format.encoding", "\ud800", f"? at 8000 Hz: {TELNYX_ADVICE}"),
        ("telnyx", "start.media_format.sample_rate", 16000, f"PCMU at 16000 Hz: {TELNYX_ADVICE}"),
        (
            "telnyx",
            "start.media_format",
            {"encoding": "L16", "sample_rate": 22050},
            f"L16 at 22050 Hz: {TELNYX_ADVICE}",
        ),
        ("telnyx", "start.media_format.sample_rate", "8k", "sample_rate is no number"),
        ("telnyx", "start.media_format.channels", 2, f"2 channels: {TELNYX_ADVICE}"),
        ("plivo", "start", 1, "no start"),
        ("plivo", "start.streamId", ..., "no streamId"),
        ("plivo", "start.callId", 7, "no callId"),
        ("plivo", "start.accountId", "\0", "no accountId"),
        ("plivo", "extra_headers", 7, "extra_headers are no text"),
        ("plivo", "start.mediaFormat", "x", "no mediaFormat"),
        (
            "plivo",
            "start.mediaFormat.encoding",
            "audio/opus",
            f"audio/opus at 8000 Hz: {PLIVO_ADVICE}",
        ),
        (
            "plivo",
            "start.mediaFormat",
            {"encoding": "audio/x-l16", "sampleRate": 24000},
            f"audio/x-l16 at 24000 Hz: {PLIVO_ADVICE}",
        ),
        ("plivo", "start.mediaFormat.sampleRate", 1e9, "sampleRate is no number"),
        (
            "vonage",
            "uuid",
            ...,
            "no uuid: give the NCCO's endpoint \"headers\" with the call's uuid",
        ),
        ("vonage", "uuid", 7, "no uuid"),
        ("vonage", "uuid", "a\0", "no uuid"),
        ("vonage", "content-type", ..., f"None: {VONAGE_ADVICE}"),
        ("vonage", "content-type", 16000, f"16000: {VONAGE_ADVICE}"),
        ("vonage", "content-type", "audio/l16", f"audio/l16: {VONAGE_ADVICE}"),
        (
            "vonage",
            "content-type",
            "audio/l16;rate=44100",
            f"audio/l16;rate=44100: {VONAGE_ADVICE}",
        ),
        (
            "vonage",
            "content-type",
            "audio/opus;rate=8000",
            f"audio/opus;rate=8000: {VONAGE_ADVICE}",
        ),
        ("vonage", "content-type", "\ud800" * 99, "?" * 60 + f": {VONAGE_ADVICE}"),
    ],
)
def test_starts(carrier: str, path: str, value: Any, words: str) -> None:
    assert refusal(carrier, changed(STARTS[carrier], path, value), begin=False) == words


def test_a_start_that_was_refused_begins_nothing() -> None:
    for carrier, path in (
        ("twilio", "start.callSid"),
        ("telnyx", "start.user_id"),
        ("plivo", "start.callId"),
        ("vonage", "uuid"),
    ):
        dialect = DIALECTS[carrier]()
        with pytest.raises(DialectError):
            dialect.read(changed(STARTS[carrier], path, None))
        assert dialect.read(json.dumps(STARTS[carrier]))


@pytest.mark.parametrize(
    ("carrier", "said", "words"),
    [
        ("twilio", {"event": "connected", "protocol": "Video"}, "a protocol that is not Call"),
        ("twilio", {"event": "mark", "streamSid": TWILIO}, "no mark"),
        ("twilio", {"event": "mark", "streamSid": TWILIO, "mark": {"name": 7}}, "no name"),
        ("twilio", {"event": "mark", "streamSid": TWILIO, "mark": {"name": "\0"}}, "no name"),
        ("twilio", {"event": "dtmf", "streamSid": TWILIO, "dtmf": "5"}, "no dtmf"),
        (
            "twilio",
            {"event": "dtmf", "streamSid": TWILIO, "dtmf": {"digit": ["5"]}},
            "a key that is none",
        ),
        ("twilio", {"event": "stop", "streamSid": "x"}, "another streamSid than the start's"),
        ("telnyx", {"event": "mark", "stream_id": TELNYX, "mark": []}, "no mark"),
        (
            "telnyx",
            {"event": "dtmf", "stream_id": TELNYX, "dtmf": {"digit": 5}},
            "a key that is none",
        ),
        ("telnyx", {"event": "error", "payload": "x"}, "no payload"),
        ("telnyx", {"event": "stop"}, "another stream_id than the start's"),
        ("plivo", {"event": "playedStream", "streamId": PLIVO}, "no name"),
        (
            "plivo",
            {"event": "dtmf", "streamId": PLIVO, "dtmf": {"digit": None}},
            "a key that is none",
        ),
        ("plivo", {"event": "clearedAudio"}, "another streamId than the start's"),
        ("vonage", {"event": "websocket:dtmf"}, "a key that is none"),
        ("vonage", {"event": "websocket:notify"}, "no payload"),
        ("vonage", {"event": "websocket:notify", "payload": {}}, "no name"),
    ],
)
def test_what_is_said_in_a_stream(carrier: str, said: Any, words: str) -> None:
    assert refusal(carrier, json.dumps(said)) == words


@pytest.mark.parametrize("digit", ["55", "flash", "", "E", "\ud800"])
def test_what_no_keypad_has_ends_no_call(digit: str) -> None:
    said = {"event": "dtmf", "streamSid": TWILIO, "dtmf": {"digit": digit}}
    assert begun("twilio").read(json.dumps(said)) == ()
    [key] = begun("twilio").read(json.dumps(said | {"dtmf": {"digit": "a"}}))
    assert key == KeyPressed("A")


@pytest.mark.parametrize(
    "message",
    [
        b"\0" * 320,
        b"",
        '{"event":"websocket:dtmf","digit":"5"}',
        '{"event":"websocket:notify","payload":{"name":"1"}}',
        '{"event":"websocket:cleared"}',
    ],
)
def test_vonage_says_nothing_before_it_is_connected(message: str | bytes) -> None:
    words = refusal("vonage", message, begin=False)
    assert words == "nothing of a stream comes before websocket:connected"


def test_vonage_audio_is_not_endless() -> None:
    words = refusal("vonage", bytes(MAX_MESSAGE + 1))
    assert words == f"a message of {MAX_MESSAGE + 1} bytes"


def test_vonage_is_sent_nothing_before_it_is_connected() -> None:
    with pytest.raises(DialectError, match="nothing can be sent before websocket:connected"):
        DIALECTS["vonage"]().audio(bytes(160))


_WORDS = st.sampled_from(
    [
        *("event", "media", "start", "stop", "mark", "dtmf", "error", "payload", "name", "digit"),
        *("playedStream", "clearedAudio", "websocket:connected", "websocket:notify", "uuid"),
        *("websocket:dtmf", "content-type", "chunk", "timestamp", "AAAA", TWILIO, TELNYX, PLIVO),
        *("streamSid", "stream_id", "streamId", "mediaFormat", "media_format", "encoding"),
        *("audio/x-l16", "L16", "sampleRate", "sample_rate", "audio/l16;rate=8000"),
    ]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _WORDS
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(_WORDS | st.text(), inner),
    max_leaves=12,
)
#: A message of the carrier's, with something else in one place.
_PLACES = st.tuples(
    st.sampled_from([TWILIO_START, TELNYX_START, PLIVO_START, VONAGE_START, *MEDIA.values()]),
    st.integers(0, 30),
    _JSON,
)


def _elsewhere(place: tuple[dict[str, Any], int, Any]) -> str:
    said, which, value = place
    paths = [name for name in said if name != "event"]
    paths += [
        f"{name}.{inner}" for name in paths if type(said[name]) is dict for inner in said[name]
    ]
    return changed(said, paths[which % len(paths)], value)


@pytest.mark.parametrize("carrier", CARRIERS)
@given(
    messages=st.lists(
        st.text() | st.binary() | _JSON.map(json.dumps) | _PLACES.map(_elsewhere), max_size=4
    ),
    begin=st.booleans(),
)
def test_nothing_but_a_dialect_error(
    carrier: str, messages: list[str | bytes], begin: bool
) -> None:
    dialect = begun(carrier) if begin else DIALECTS[carrier]()
    for message in messages:
        with suppress(DialectError):
            dialect.read(message)
