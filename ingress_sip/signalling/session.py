"""The INVITE usage of a dialog (RFC 5057): what a call is to the signalling.

EARLY --2xx--> ANSWERED --ACK--> CONFIRMED --our BYE--> ENDING --its answer--> gone
  '--CANCEL, failure, BYE--> gone    '---------the peer's BYE--> gone
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from ingress_sip.signalling.dialog import Dialog
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.transaction import Origin


class Phase(Enum):
    EARLY = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    ENDING = auto()


@dataclass
class Session:
    dialog: Dialog
    invite: InviteServer | None  # the INVITE or re-INVITE that waits for our final answer
    phase: Phase = Phase.EARLY
    unacknowledged: set[Origin] = field(default_factory=set)  # our 2xx whose ACK is not here yet
    held_bye: tuple[tuple[str, str], ...] | None = None  # header fields of a BYE that must wait


@dataclass
class Unacknowledged:
    """A 2xx that the core resends until its ACK (RFC 3261 13.3.1.4)."""

    session: Session
    invite: InviteServer
    pause: float  # seconds to the next resend
    offered: bool  # it carries our offer: the answer comes in its ACK (13.2.1)
