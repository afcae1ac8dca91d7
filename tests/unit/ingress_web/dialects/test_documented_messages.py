"""What the carriers' documentation shows is read, and what we say has its shape."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ingress_web.dialects.messages import (
    Audio,
    Dialect,
    KeyPressed,
    MarkReached,
    Message,
    Stopped,
    Trouble,
)
from ingress_web.dialects.registry import DIALECTS
from tests.unit.ingress_web.dialects.documented import (
    MEDIA,
    PCM,
    PLIVO,
    PLIVO_MEDIA,
    PLIVO_START,
    STARTS,
    TELNYX,
    TELNYX_MEDIA,
    TELNYX_START,
    TWILIO,
    TWILIO_MEDIA,
    ULAW,
    VONAGE_START,
    Said,
    begun,
    changed,
    started,
)


def read(dialect: Dialect, said: Said) -> list[Message]:
    return list(dialect.read(json.dumps(said)))


def test_the_four_are_named_as_their_paths() -> None:
    assert {name: make().name for name, make in DIALECTS.items()} == {
        name: name for name in ("twilio", "telnyx", "plivo", "vonage")
    }


def test_twilio_begins() -> None:
    begins = started("twilio")
    assert begins[:4] == (
        TWILIO,
        "CA00000000000000000000000000000003",
        "AC00000000000000000000000000000002",
        "PCMU",
    )
    assert begins.parameters == {"FirstName": "Zoë", "RemoteParty": "Bob"}
    assert len(begins.decoder.decode(ULAW)) == 2 * len(ULAW)


def test_telnyx_begins() -> None:
    begins = started("telnyx")
    start = TELNYX_START["start"]
    assert begins[:4] == (TELNYX, start["call_control_id"], start["user_id"], "PCMU")
    assert begins.parameters == {"client_state": "c3RhdGU=", "customer_id": "customer_7"}
    assert (begins.caller, begins.called) == ("+13125550194", "+13125550156")


def test_plivo_begins() -> None:
    begins = started("plivo")
    start = PLIVO_START["start"]
    assert begins[:4] == (PLIVO, start["callId"], start["accountId"], "PCMU")
    assert begins.parameters == {"userId": "7", "sessionId": "abc-xyz"}


def test_vonage_begins() -> None:
    begins = started("vonage")
    assert begins[:4] == ("", VONAGE_START["uuid"], "", "L16/16000")
    assert begins.parameters == {"called": "447700900001"}


@pytest.mark.parametrize(
    ("carrier", "start", "codec", "payload"),
    [
        ("telnyx", changed(TELNYX_START, "start.media_format.encoding", "PCMA"), "PCMA", ULAW),
        ("telnyx", changed(TELNYX_START, "start.media_format.encoding", "G722"), "G722", ULAW),
        ("telnyx", changed(TELNYX_START, "start.media_format.encoding", "L16"), "L16/8000", PCM),
        (
            "telnyx",
            changed(
                TELNYX_START, "start.media_format", {"encoding": "L16", "sample_rate": "24000"}
            ),
            "L16/24000",
            PCM * 3,
        ),
        (
            "plivo",
            changed(PLIVO_START, "start.mediaFormat.encoding", "audio/x-l16"),
            "L16/8000",
            PCM,
        ),
        (
            "plivo",
            changed(
                PLIVO_START,
                "start.mediaFormat",
                {"encoding": "audio/x-l16", "sampleRate": 16000},
            ),
            "L16/16000",
            PCM * 2,
        ),
        (
            "vonage",
            changed(VONAGE_START, "content-type", "audio/l16;rate=8000"),
            "L16/8000",
            PCM,
        ),
        (
            "vonage",
            changed(VONAGE_START, "content-type", "Audio/L16; rate=24000"),
            "L16/24000",
            PCM * 3,
        ),
    ],
)
def test_other_formats_are_20_ms_all_the_same(
    carrier: str, start: str, codec: str, payload: bytes
) -> None:
    begins = started(carrier, start)
    assert begins.codec == codec
    assert begins.decoder.samples(payload) == 160
    assert len(begins.decoder.decode(payload)) == 320


def test_l16_has_the_order_of_its_carrier() -> None:
    big = started("telnyx", changed(TELNYX_START, "start.media_format.encoding", "L16"))
    little = started("plivo", changed(PLIVO_START, "start.mediaFormat.encoding", "audio/x-l16"))
    vonage = started("vonage", changed(VONAGE_START, "content-type", "audio/l16;rate=8000"))
    assert big.decoder.decode(b"\x01\x02") == b"\x02\x01"
    assert little.decoder.decode(b"\x01\x02") == b"\x01\x02"
    assert vonage.decoder.decode(b"\x01\x02") == b"\x01\x02"


@pytest.mark.parametrize(
    ("carrier", "said", "means"),
    [
        ("twilio", TWILIO_MEDIA, [Audio(1, 5, ULAW)]),
        (
            "twilio",
            {
                "event": "dtmf",
                "streamSid": TWILIO,
                "sequenceNumber": "5",
                "dtmf": {"track": "inbound_track", "digit": "1"},
            },
            [KeyPressed("1")],
        ),
        (
            "twilio",
            {
                "event": "mark",
                "sequenceNumber": "4",
                "streamSid": TWILIO,
                "mark": {"name": "my label"},
            },
            [MarkReached("my label")],
        ),
        (
            "twilio",
            {
                "event": "stop",
                "sequenceNumber": "5",
                "streamSid": TWILIO,
                "stop": {"accountSid": "AC2", "callSid": "CA3"},
            },
            [Stopped()],
        ),
        ("telnyx", TELNYX_MEDIA, [Audio(2, 5, ULAW)]),
        (
            "telnyx",
            {
                "event": "dtmf",
                "stream_id": TELNYX,
                "occurred_at": "2026-01-01T00:00:00.000000Z",
                "sequence_number": "5",
                "dtmf": {"digit": "#"},
            },
            [KeyPressed("#")],
        ),
        (
            "telnyx",
            {
                "event": "mark",
                "sequence_number": "5",
                "stream_id": TELNYX,
                "mark": {"name": "7"},
            },
            [MarkReached("7")],
        ),
        (
            "telnyx",
            {
                "event": "error",
                "stream_id": TELNYX,
                "payload": {"code": 100003, "title": "invalid_media", "detail": "No\r\nbase64."},
            },
            [Trouble("100003 invalid_media No??base64.")],
        ),
        (
            "telnyx",
            {
                "event": "stop",
                "sequence_number": "5",
                "stream_id": TELNYX,
                "stop": {"user_id": "2B", "call_control_id": "v2:0"},
            },
            [Stopped()],
        ),
        ("plivo", PLIVO_MEDIA, [Audio(41, 0, ULAW)]),
        (
            "plivo",
            {
                "event": "dtmf",
                "sequenceNumber": 50,
                "streamId": PLIVO,
                "dtmf": {"track": "inbound", "digit": "5", "timestamp": "1705312250000"},
            },
            [KeyPressed("5")],
        ),
        (
            "plivo",
            {"event": "playedStream", "sequenceNumber": 75, "streamId": PLIVO, "name": "7"},
            [MarkReached("7")],
        ),
        ("plivo", {"event": "clearedAudio", "sequenceNumber": 80, "streamId": PLIVO}, []),
        ("vonage", {"event": "websocket:dtmf", "digit": "5", "duration": 260}, [KeyPressed("5")]),
        (
            "vonage",
            {"event": "websocket:notify", "payload": {"name": "7"}},
            [MarkReached("7")],
        ),
        ("vonage", {"event": "websocket:cleared"}, []),
    ],
)
def test_what_is_said_in_a_stream(carrier: str, said: Said, means: list[Message]) -> None:
    assert read(begun(carrier), said) == means


@pytest.mark.parametrize(
    ("carrier", "said"),
    [
        ("twilio", {"event": "connected", "protocol": "Call", "version": "1.0.0"}),
        ("telnyx", {"event": "connected", "version": "1.0.0"}),
        *((carrier, {"event": "added some day", "x": 1}) for carrier in STARTS),
    ],
)
def test_what_says_nothing_to_us(carrier: str, said: Said) -> None:
    assert read(DIALECTS[carrier](), said) == []


@pytest.mark.parametrize("carrier", MEDIA)
def test_what_we_said_ourselves_and_empty_audio_are_nothing(carrier: str) -> None:
    dialect = begun(carrier)
    assert not dialect.read(changed(MEDIA[carrier], "media.track", "outbound"))
    assert not dialect.read(changed(MEDIA[carrier], "media.payload", ""))


SOUND = base64.b64encode(ULAW).decode()


@pytest.mark.parametrize(
    ("carrier", "audio", "mark", "clear"),
    [
        (
            "twilio",
            {"event": "media", "streamSid": TWILIO, "media": {"payload": SOUND}},
            {"event": "mark", "streamSid": TWILIO, "mark": {"name": 'a "7"'}},
            {"event": "clear", "streamSid": TWILIO},
        ),
        (
            "telnyx",
            {"event": "media", "media": {"payload": SOUND}},
            {"event": "mark", "mark": {"name": 'a "7"'}},
            {"event": "clear"},
        ),
        (
            "plivo",
            {
                "event": "playAudio",
                "media": {
                    "contentType": "audio/x-mulaw",
                    "sampleRate": 8000,
                    "payload": SOUND,
                },
            },
            {"event": "checkpoint", "streamId": PLIVO, "name": 'a "7"'},
            {"event": "clearAudio", "streamId": PLIVO},
        ),
        (
            "vonage",
            None,
            {"action": "notify", "payload": {"name": 'a "7"'}},
            {"action": "clear"},
        ),
    ],
)
def test_what_we_say(carrier: str, audio: Any, mark: Said, clear: Said) -> None:
    dialect = begun(carrier)
    if audio is not None:
        assert json.loads(dialect.audio(ULAW)) == audio
    assert json.loads(dialect.mark('a "7"')) == mark
    assert json.loads(dialect.clear()) == clear


@pytest.mark.parametrize(("rate", "size"), [(8000, 320), (16000, 640), (24000, 960)])
def test_vonage_is_sent_its_own_rate(rate: int, size: int) -> None:
    dialect = DIALECTS["vonage"]()
    dialect.read(changed(VONAGE_START, "content-type", f"audio/l16;rate={rate}"))
    sent = dialect.audio(ULAW)
    assert isinstance(sent, bytes)
    assert len(sent) == size


def test_vonage_audio_is_counted() -> None:
    dialect = begun("vonage")
    heard = [message for size in (640, 640, 320, 640) for message in dialect.read(bytes(size))]
    assert [(piece.number, piece.at_ms) for piece in heard if isinstance(piece, Audio)] == [
        (1, 0),
        (2, 20),
        (3, 40),
        (4, 50),
    ]
    assert not dialect.read(b"")


def test_plivo_tells_pauses_by_the_time_of_day_and_the_rest_by_samples() -> None:
    dialect = begun("plivo")
    at = []
    # Uneven by a few ms, once by a stall; then silent for a second; then the clock is set back.
    for chunk, time in enumerate((0, 23, 39, 160, 165, 1180, 1203, 400, 420)):
        copy = json.loads(json.dumps(PLIVO_MEDIA))
        copy["media"] |= {"timestamp": str(1705312200000 + time), "chunk": chunk}
        (piece,) = dialect.read(json.dumps(copy))
        assert isinstance(piece, Audio)
        at.append(piece.at_ms)
    assert at == [0, 20, 40, 60, 80, 1095, 1115, 1135, 1155]


@pytest.mark.parametrize(
    ("carrier", "cleared", "answer"),
    [
        (
            "plivo",
            {"event": "clearedAudio", "streamId": PLIVO},
            {"event": "playedStream", "streamId": PLIVO, "name": "1"},
        ),
        (
            "vonage",
            {"event": "websocket:cleared"},
            {"event": "websocket:notify", "payload": {"name": "1"}},
        ),
    ],
)
def test_a_clear_answers_the_marks_it_threw_away(carrier: str, cleared: Said, answer: Said) -> None:
    dialect = begun(carrier)
    for name in "123":
        dialect.mark(name)
    assert read(dialect, answer) == [MarkReached("1")]
    dialect.clear()
    dialect.mark("4")
    dialect.clear()
    dialect.mark("5")
    assert read(dialect, cleared) == [MarkReached("2"), MarkReached("3")]
    assert read(dialect, cleared) == [MarkReached("4")]
    assert read(dialect, cleared) == []


@pytest.mark.parametrize(
    ("said", "parameters"),
    [
        ("a=1,b=2", {"a": "1", "b": "2"}),
        (" a = 1 ; b=2=3;; =4;c", {"a": "1", "b": "2=3"}),
        ("", {}),
        (None, {}),
        ("{}", {}),
    ],
)
def test_plivo_headers(said: str | None, parameters: dict[str, str]) -> None:
    assert started("plivo", changed(PLIVO_START, "extra_headers", said)).parameters == parameters


@pytest.mark.parametrize("carrier", ["twilio", "telnyx"])
def test_parameters_that_cannot_be_kept_are_left_out(carrier: str) -> None:
    name = {"twilio": "start.customParameters", "telnyx": "start.custom_parameters"}[carrier]
    bad: Said = {
        "nul": "\0",
        "half": "\ud800",
        "long": "x" * 501,
        "x" * 501: "long",
        "number": 7,
        "object": {},
        "lines": "a\r\nb",
    }
    many = {f"p{number}": "x" for number in range(40)}
    begins = started(carrier, changed(STARTS[carrier], name, bad | many))
    assert not bad.keys() & begins.parameters.keys()
    assert len(begins.parameters) == 32
