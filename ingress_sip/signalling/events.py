"""What the core tells its user. Every event names its dialog; the call it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.routing import Hop


@dataclass(frozen=True, slots=True)
class InviteReceived:
    """Somebody calls. 100 Trying is sent; answer with `ring`, then `accept` or `reject`."""

    dialog: DialogId
    request: Request
    source: Hop
    offer: bytes  # SDP; empty when the caller leaves the offer to us (then it goes in the 200)


@dataclass(frozen=True, slots=True)
class InviteCancelled:
    """The call was never answered and is over; 487 is sent."""

    dialog: DialogId
    reason: str  # the CANCEL's Reason (RFC 3326), "cancelled", or "expired" when we took too long


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The caller knows that we answered: the dialog is confirmed. Once per 2xx."""

    dialog: DialogId
    body: bytes  # the SDP answer, when the offer was ours; else empty, whatever the ACK held


@dataclass(frozen=True, slots=True)
class ReinviteReceived:
    """The peer wants to change the session (hold, a new address). `accept` or `reject` it.

    Apply the new session only when `accept` returned True; `reject` leaves the old one in force.
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


Event = (
    InviteReceived
    | InviteCancelled
    | AckReceived
    | ReinviteReceived
    | ByeReceived
    | AckTimedOut
    | ByeAnswered
)
