"""What Twilio is told to do with a call: TwiML. Pure.

https://www.twilio.com/docs/voice/twiml
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from twilio.twiml.voice_response import Connect, Dial, VoiceResponse

from calls.transfer import parse_target
from ingress_web.proxies import stream_url

VOICE: Final = "/twilio/voice"
STATUS: Final = "/twilio/status"
CONNECTED: Final = "/twilio/connected"
DIALLED: Final = "/twilio/dialled"
MEDIA: Final = "/twilio/media"

#: The stream's parameter that holds its token. A name that begins so is ours.
RESERVED: Final = "trunkline_"
TOKEN: Final = f"{RESERVED}token"
#: In the webhook's query: our id of a call that we placed.
PLACED_AS: Final = f"{RESERVED}call"

#: A <Parameter>'s name and value together are shorter than this, characters
#: (docs/voice/twiml/stream, "Custom parameters").
MAX_PARAMETER: Final = 500
#: To a number: one of ours, or a client's; to a SIP address any word (docs/voice/twiml/sip).
_CALLER_ID: Final = re.compile(r"(?:client:)?[A-Za-z0-9+._-]{1,120}")
#: docs/voice/twiml/play, "digits"; A to D are not named there.
_DIGITS: Final = re.compile(r"[0-9*#w]{1,128}")


def connect(base: str, action: str, parameters: Mapping[str, str], token: str = "") -> str:
    """Connect the call to a stream of ours; when that ends, ask `action` what to do.

    Twilio goes on to the action once the stream was closed by us, or broke
    (docs/voice/twiml/connect, "action"; docs/api/errors/31921).

    Args:
        base: our public URL.
        action: a URL of `CONNECTED`.
        parameters: what the stream is given to say.
        token: what it shows that it is ours by; empty for an unsigned local one.
    """
    response = VoiceResponse()
    connection = Connect(action=action, method="POST")
    # A stream's URL may have no query (docs/api/errors/31920): everything goes into parameters.
    stream = connection.stream(
        url=stream_url(base, MEDIA), status_callback=base + STATUS, status_callback_method="POST"
    )
    if token:
        stream.parameter(name=TOKEN, value=token)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    response.append(connection)
    return str(response)


def reject(*, busy: bool) -> str:
    """Do not answer a call that comes in, which costs nothing (docs/voice/twiml/reject)."""
    response = VoiceResponse()
    response.reject(reason="busy" if busy else "rejected")
    return str(response)


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def dial(action: str, target: str, *, caller_id: str = "", timeout_s: float = 30) -> str:
    """Put the caller through, then ask `action`, a URL of `DIALLED`, what to do
    (docs/voice/twiml/dial, "action"). The action comes when the two have spoken; that somebody is
    called, and answers, is told to `STATUS` (docs/voice/twiml/number, "statusCallback").

    Raises:
        ValueError: the target or the caller's id is none.
    """
    if caller_id and not _CALLER_ID.fullmatch(caller_id):
        raise ValueError("a caller's id is a number, or a word of letters, digits and +._-")
    target = parse_target(target)
    response = VoiceResponse()
    dialling = Dial(
        action=action,
        method="POST",
        timeout=max(5, min(600, round(timeout_s))),
        caller_id=caller_id or None,
    )
    progress = {
        "status_callback": action.replace(DIALLED, STATUS),
        "status_callback_event": "ringing answered",
        "status_callback_method": "POST",
    }
    scheme, colon, rest = target.partition(":")
    if not colon:
        dialling.number(target, **progress)
    elif scheme == "tel":  # RFC 3966: parameters come after a semicolon
        dialling.number(parse_target(rest.partition(";")[0]), **progress)
    else:
        # <Sip> takes no sips: TLS is asked for by a parameter (docs/voice/twiml/sip, "Transport").
        tls = ";transport=tls" if scheme == "sips" else ""
        dialling.sip(f"sip:{rest}{tls}", **progress)
    response.append(dialling)
    return str(response)


def play_digits(action: str, digits: str) -> str:
    """Play keys to the other side, then ask `action`, a URL of `CONNECTED`, for a new stream.

    Raises:
        ValueError: there are others than 0-9 * #, `w` and `,`.
    """
    digits = digits.replace(",", "w").replace("W", "w")
    if not _DIGITS.fullmatch(digits):
        raise ValueError("Twilio plays 0-9, * and #, and pauses for w: at most 128 of them")
    response = VoiceResponse()
    response.play(digits=digits)
    response.redirect(action, method="POST")
    return str(response)


def placed_url(base: str, path: str, placed_as: str) -> str:
    """A webhook of a call that we place: `VOICE` or `STATUS`. Twilio may ask before we know what it
    calls the call.
    """
    return f"{base}{path}?{PLACED_AS}={quote(placed_as, safe='')}"
