"""What the core tells its user. Events of a call name its dialog, as the first of them did."""

from __future__ import annotations

from dataclasses import dataclass

from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.routing import Hop


@dataclass(frozen=True, slots=True)
class InviteReceived:
    """Somebody calls. 100 Trying is sent; answer with `ring`, then `accept` or `reject`."""

    dialog: DialogId
    request: Request
    source: Hop
    offer: bytes  # SDP; empty when the caller leaves the offer to us (then it goes in the 200)
    replaces: DialogId | None = None  # a call of ours that it takes the place of (RFC 3891)
    admitted: object = None  # what the policy's `screen` made of it


@dataclass(frozen=True, slots=True)
class InviteCancelled:
    """The call was never answered and is over; 487 is sent, or 504 for "no PRACK".

    It may come after `accept`, if the answer had to wait for a PRACK (RFC 3262 section 3).
    """

    dialog: DialogId
    #: The CANCEL's Reason (RFC 3326), "cancelled", "expired" when we took too long, or "no PRACK".
    reason: str


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The caller knows that we answered: the dialog is confirmed. Once per 2xx."""

    dialog: DialogId
    body: bytes  # the SDP answer, when the offer was ours; else empty, whatever the ACK held
    #: It names our tag. If not, whoever forged the INVITE may have forged it too: send no media
    #: before some comes.
    is_proven: bool = True


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """The peer wants to change the session (hold, a new address), by re-INVITE, UPDATE or PRACK.

    `accept` or `reject` it, anything but a re-INVITE at once. Apply the new session only when
    `accept` returned True; `reject` leaves the old one in force.
    """

    dialog: DialogId
    request: Request
    offer: bytes  # empty when the peer asks for a fresh offer of ours


@dataclass(frozen=True, slots=True)
class ByeReceived:
    """The peer hung up; 200 is sent. The call is over."""

    dialog: DialogId
    reason: str | None  # the Reason header field's value (RFC 3326)


@dataclass(frozen=True, slots=True)
class AckTimedOut:
    """Our 2xx was never acknowledged; a BYE is sent (13.3.1.4). The call is over."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class ByeAnswered:
    """Our BYE is done with; nothing more comes for this dialog."""

    dialog: DialogId
    status: int  # 408 when nobody answered (8.1.3.1)


@dataclass(frozen=True, slots=True)
class CallProgress:
    """The callee's phone rings (180), or plays to us already (183 with SDP: early media)."""

    dialog: DialogId
    status: int  # 101 to 199
    reason: str
    body: bytes  # the answer to our offer, if it is here already


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """The callee answered our call; ACK is sent. `body` is the answer to our offer.

    It is empty where an earlier response had it.
    """

    dialog: DialogId
    body: bytes
    source: Hop


@dataclass(frozen=True, slots=True)
class CallRefused:
    """Our call was not answered, and is over: busy, cancelled (487), nobody there (408).

    ByeAnswered follows where it was answered all the same: the answer crossed our CANCEL, or came
    by routes that cannot be read.
    """

    dialog: DialogId
    status: int  # 300 to 699
    reason: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """The peer took our re-INVITE, or one that refreshes the session; `body` is its answer."""

    dialog: DialogId
    body: bytes


@dataclass(frozen=True, slots=True)
class ReofferRefused:
    """The peer refused our re-INVITE: the session stays as it was."""

    dialog: DialogId
    status: int


@dataclass(frozen=True, slots=True)
class ReofferDue:
    """Both sides offered at once (491); the wait is over: `reoffer` again if it is still wanted."""

    dialog: DialogId


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The peer knows nothing of the call any more (481), or answers nothing (408); BYE is sent.

    Its session timer ran out (RFC 4028 section 10), or a request in the dialog failed so
    (12.2.1.2). The call is over.
    """

    dialog: DialogId
    status: int


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO of a kind that we know; 200 is sent (RFC 6086)."""

    dialog: DialogId
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """The peer wants us to call somebody in its place (RFC 3515). `answer_refer` at once."""

    dialog: DialogId
    target: NameAddr
    request: Request


@dataclass(frozen=True, slots=True)
class ReferAnswered:
    """The peer's answer to our REFER: 202 means that it tries, and tells how it goes."""

    dialog: DialogId
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class TransferNotified:
    """How far the peer is with the call that we asked it to make (RFC 3515 section 2.4.5)."""

    dialog: DialogId
    status: int
    reason: str
    ended: bool  # nothing more will be told


@dataclass(frozen=True, slots=True)
class AskAnswered:
    """A request outside of calls is done with: `ask` gave its number. 408: nobody answered."""

    number: int
    response: Response


Event = (
    InviteReceived
    | InviteCancelled
    | AckReceived
    | ReinviteReceived
    | ByeReceived
    | AckTimedOut
    | ByeAnswered
    | CallProgress
    | CallAnswered
    | CallRefused
    | ReofferAnswered
    | ReofferRefused
    | ReofferDue
    | SessionLost
    | InfoReceived
    | ReferReceived
    | ReferAnswered
    | TransferNotified
    | AskAnswered
)
