"""The carriers' messages as their documentation shows them: its shapes, our ids and audio."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from ingress_web.dialects.messages import Dialect, Started
from ingress_web.dialects.registry import DIALECTS

Said = dict[str, Any]

ULAW: Final = bytes(range(160))
#: 20 ms of L16 at 8000 Hz, whichever end comes first.
PCM: Final = bytes(320)
PAYLOAD: Final = base64.b64encode(ULAW).decode()

TWILIO: Final = "MZ00000000000000000000000000000001"
TELNYX: Final = "7A1B0C55-1234-4321-9ABC-00000000F00D"
PLIVO: Final = "11111111-2222-3333-4444-555555555555"

TWILIO_START: Final[Said] = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC00000000000000000000000000000002",
        "streamSid": TWILIO,
        "callSid": "CA00000000000000000000000000000003",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"FirstName": "Zoë", "RemoteParty": "Bob"},
    },
    "streamSid": TWILIO,
}
TWILIO_MEDIA: Final[Said] = {
    "event": "media",
    "sequenceNumber": "3",
    "media": {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": PAYLOAD},
    "streamSid": TWILIO,
}
TELNYX_START: Final[Said] = {
    "event": "start",
    "sequence_number": "1",
    "stream_id": TELNYX,
    "start": {
        "user_id": "2B2B2B2B-85F7-4705-9741-000000000001",
        "call_control_id": "v2:0000000000000000000000000000000000000000000000000000-Q",
        "call_session_id": "00000000-6f5d-11ef-9692-000000000002",
        "from": "+13125550194",
        "to": "+13125550156",
        "tags": ["one", "two"],
        "client_state": "c3RhdGU=",
        "custom_parameters": {"customer_id": "customer_7"},
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
}
TELNYX_MEDIA: Final[Said] = {
    "event": "media",
    "sequence_number": "4",
    "stream_id": TELNYX,
    "media": {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": PAYLOAD},
}
PLIVO_START: Final[Said] = {
    "event": "start",
    "sequenceNumber": 1,
    "start": {
        "callId": "99999999-8888-7777-6666-555555555555",
        "streamId": PLIVO,
        "accountId": "MA000000000000000001",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
    },
    "extra_headers": "userId=7;sessionId=abc-xyz",
}
PLIVO_MEDIA: Final[Said] = {
    "event": "media",
    "sequenceNumber": 42,
    "streamId": PLIVO,
    "media": {"track": "inbound", "timestamp": "1705312200000", "chunk": 41, "payload": PAYLOAD},
    "extra_headers": "userId=7;sessionId=abc-xyz",
}
VONAGE_START: Final[Said] = {
    "event": "websocket:connected",
    "content-type": "audio/l16;rate=16000",
    "uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    "called": "447700900001",
}

STARTS: Final = {
    "twilio": TWILIO_START,
    "telnyx": TELNYX_START,
    "plivo": PLIVO_START,
    "vonage": VONAGE_START,
}
MEDIA: Final = {"twilio": TWILIO_MEDIA, "telnyx": TELNYX_MEDIA, "plivo": PLIVO_MEDIA}


def begun(carrier: str) -> Dialect:
    """A dialect whose stream has begun."""
    dialect = DIALECTS[carrier]()
    dialect.read(json.dumps(STARTS[carrier]))
    return dialect


def started(carrier: str, start: str | None = None) -> Started:
    """What a dialect makes of this start, or of the documented one."""
    (message,) = DIALECTS[carrier]().read(start or json.dumps(STARTS[carrier]))
    assert isinstance(message, Started)
    return message


def changed(said: Said, path: str, value: Any) -> str:
    """The message with another value there (`media.chunk`); with none, if it is `...`."""
    copy: Said = json.loads(json.dumps(said))
    *outer, last = path.split(".")
    place = copy
    for name in outer:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(copy)
