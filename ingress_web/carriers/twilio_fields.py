"""What the fields of Twilio's webhooks say, in our words. Pure.

https://www.twilio.com/docs/voice/twiml#request-parameters
https://www.twilio.com/docs/voice/api/call-resource#statuscallback
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from calls.ending import Ending
from ingress_web.carriers.twiml import MAX_PARAMETER, PLACED_AS, RESERVED
from ingress_web.dialects.messages import MAX_PARAMETERS
from ingress_web.door import Dialled, Offer, StatusChange
from ingress_web.forms import FormError, is_plain, read_form
from ingress_web.proxies import Url

_CALL: Final = re.compile(r"CA[0-9a-fA-F]{32}")
_WORD: Final = r"[a-z-]{4,20}"
_ACCOUNT: Final = re.compile(r"AC[0-9a-fA-F]{32}")
#: The longest number or address that is carried on, characters: a SIP URI's (docs/voice/twiml/sip).
_LONGEST: Final = 255
#: Of headers that the caller's side put into its INVITE.
_SIP_HEADER: Final = "SipHeader_"

#: docs/voice/api/call-resource, "Call Status Values": the call is over.
_ENDINGS: Final[Mapping[str, Ending]] = {
    "completed": Ending.CALLER_HUNG_UP,
    "busy": Ending.BUSY,
    "no-answer": Ending.NO_ANSWER,
    "canceled": Ending.CANCELLED,
    "failed": Ending.UNREACHABLE,
}
#: docs/voice/twiml/dial, "DialCallStatus": as SIP would have said it.
_DIALLED: Final[Mapping[str, int]] = {
    "completed": 200,
    "answered": 200,
    "busy": 486,
    "no-answer": 480,
    "canceled": 487,
    "failed": 404,
}
#: What a callee or its network says that will not have the call (RFC 3261 21.4.4, 21.6.2).
_UNWANTED: Final = frozenset({401, 403, 407, 603, 607, 608})


class Call(NamedTuple):
    """Which call a request is about."""

    call: str
    account: str


def read_call(form: Mapping[str, str]) -> Call:
    """The ids that each of Twilio's requests has.

    Raises:
        FormError: they are none.
    """
    call, account = form.get("CallSid", ""), form.get("AccountSid", "")
    if not _CALL.fullmatch(call) or not _ACCOUNT.fullmatch(account):
        raise FormError(400, "CallSid or AccountSid is none")
    return Call(call, account)


def read_offer(form: Mapping[str, str], url: Url, remote: str) -> tuple[Offer, list[str]]:
    """The call that a webhook is about, and the names of parameters that were left out: of more
    than there may be, too long, or with control characters.

    Raises:
        FormError: a field that must be there is none.
    """
    call, account = read_call(form)
    caller, called = form.get("From", ""), form.get("To", "")
    if not (
        is_plain(caller) and is_plain(called) and called and len(caller + called) < 2 * _LONGEST
    ):
        raise FormError(400, "From or To is none")
    query = read_form(url.query.encode("ascii"))
    headers = ((name, value) for name, value in form.items() if name.startswith(_SIP_HEADER))
    parameters, left_out = _parameters([*query.items(), *headers])
    offer = Offer(
        carrier="twilio",
        call=call,
        account=account,
        caller=caller,
        called=called,
        direction=_direction(form),
        parameters=parameters,
        placed_as=query.get(PLACED_AS, ""),
        remote=remote,
    )
    return offer, left_out


def read_status(form: Mapping[str, str]) -> StatusChange:
    """How a call stands.

    Raises:
        FormError: a field that must be there is none.
    """
    call = read_call(form).call
    status = form.get("CallStatus", "")
    if not re.fullmatch(_WORD, status):
        raise FormError(400, "CallStatus is none")
    sip_status = _sip_status(form.get("SipResponseCode", ""))
    return StatusChange(
        call, status, ending_of(status, sip_status), _direction(form), sip_status=sip_status
    )


def read_progress(form: Mapping[str, str]) -> tuple[Call, int, str] | None:
    """A step of a <Dial>, told by the leg that it made: whose it is, and the step as SIP has it.

    None where the form is about a call of its own. A leg that fails is told of by the <Dial>.

    Raises:
        FormError: a field that must be there is none.
    """
    parent = form.get("ParentCallSid", "")
    if not parent:
        return None
    call = read_call({"CallSid": parent, "AccountSid": form.get("AccountSid", "")})
    status = read_status(form).status
    return call, {"ringing": 180, "in-progress": 200, "answered": 200}.get(status, 100), status


def read_dialled(form: Mapping[str, str]) -> Dialled:
    """How a <Dial> went.

    Raises:
        FormError: it does not say.
    """
    word = form.get("DialCallStatus", "")
    if not re.fullmatch(_WORD, word):
        raise FormError(400, "DialCallStatus is none")
    status = _DIALLED.get(word, 480)  # with a word that is new to us the caller comes back
    if status == 200:
        return Dialled(ok=True, status=200, detail=word)
    told = _sip_status(form.get("DialSipResponseCode", ""))
    return Dialled(ok=False, status=told if told and told >= 300 else status, detail=word)


def ending_of(status: str, sip_status: int | None = None) -> Ending | None:
    """What a call's status means, once it is over; None while it is not, or for no word of Twilio's
    that we know: what is new there must not end a live call.
    """
    ending = _ENDINGS.get(status)
    if ending in (Ending.UNREACHABLE, Ending.NO_ANSWER) and sip_status in _UNWANTED:
        return Ending.REJECTED
    return ending


def _direction(form: Mapping[str, str]) -> Literal["inbound", "outbound"]:
    # outbound-api is ours; outbound-dial is the other leg of a <Dial>.
    return "outbound" if form.get("Direction", "").startswith("outbound") else "inbound"


def _sip_status(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-6][0-9]{2}", text, re.ASCII) else None


def _parameters(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    taken: dict[str, str] = {}
    left_out: list[str] = []
    for name, value in pairs:
        if name.startswith(RESERVED):
            if name != PLACED_AS:
                left_out.append(name[:40])
            continue
        short = len(name) > 0 and len(name) + len(value) < MAX_PARAMETER
        fits = len(taken) < MAX_PARAMETERS - 1 and name not in taken  # the token is one too
        if short and fits and is_plain(name) and is_plain(value):
            taken[name] = value
        else:
            left_out.append(name[:40])
    return taken, left_out
