"""The INVITE usage of a dialog (RFC 5057): what a call is to the signalling.

theirs  EARLY --2xx--> ANSWERED --ACK--> CONFIRMED --our BYE--> ENDING --its answer--> gone
          '--CANCEL, failure--> gone         '---------the peer's BYE--> gone
ours    EARLY --2xx, our ACK--> CONFIRMED, and so on
          '--failure--> gone
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from ingress_sip.signalling.clients import Asked, Authorizer
from ingress_sip.signalling.dialog import Dialog, DialogId
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Message
from ingress_sip.signalling.non_invite_server import NonInviteServer
from ingress_sip.signalling.session_timer import Refresh
from ingress_sip.signalling.transaction import Origin


class Phase(Enum):
    EARLY = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    ENDING = auto()  # or gone


@dataclass
class Outward:
    """A call of ours that was not answered yet."""

    asked: Asked
    #: The newest reliable provisional response of each fork (RFC 3262 section 4).
    rseq: dict[str, int] = field(default_factory=dict)
    cancelled: bool = False


@dataclass
class Reliable:
    """A provisional response that is sent until its PRACK (RFC 3262 section 3)."""

    rseq: int
    invite: InviteServer
    described: bool  # it carries our session description
    pause: float  # s to the next resend
    #: What is to be done when it is acknowledged, at the time given, and whether that answers.
    then: Callable[[float], object] | None = None
    answers: bool = False


@dataclass
class Unacknowledged:
    """A 2xx that the core resends until its ACK (RFC 3261 13.3.1.4)."""

    session: Session
    invite: InviteServer
    pause: float  # s to the next resend
    offered: bool  # it carries our offer: the answer comes in its ACK (13.2.1)


@dataclass
class Session:
    """One call. `name` is what its user calls it by, and never changes."""

    name: DialogId
    dialog: Dialog
    invite: InviteServer | None = None  # the peer's (re-)INVITE that waits for our final answer
    phase: Phase = Phase.EARLY
    unacknowledged: dict[Origin, Unacknowledged] = field(default_factory=dict)
    held_bye: tuple[tuple[str, str], ...] | None = None  # header fields of a BYE that must wait
    outward: Outward | None = None
    #: Early dialogs by the other side's tag: a proxy may have asked several phones at once.
    forks: dict[str, Dialog] = field(default_factory=dict)
    #: The newest, kept past the final response: its PRACK may come later.
    reliable: Reliable | None = None
    rseq: int = 0
    #: The tags of peers with whom an offer was answered before the call was (RFC 3262 section 5).
    agreed: set[str] = field(default_factory=set)
    #: The peer's UPDATE (or PRACK with an offer), and its REFER, that wait for our answer.
    update: NonInviteServer | None = None
    refer: NonInviteServer | None = None
    #: The re-INVITE of ours that is on its way.
    renewing: Asked | None = None
    #: Our ACKs for a call of ours by the other side's tag, for 2xx that come again.
    acks: dict[str, bytes] = field(default_factory=dict)
    #: Our newest session description, for refreshing the session without changing it.
    description: bytes = b""
    refresh: Refresh | None = None
    #: Methods and option tags that the peer says it knows.
    allows: frozenset[str] = frozenset()
    supports: frozenset[str] = frozenset()
    #: Answers challenges to our requests.
    digest: Authorizer | None = None
    #: We asked the peer to transfer the call: NOTIFYs are due.
    referring: bool = False
    #: The peer asked us to: how far we are is told in NOTIFYs about the REFER of this number.
    referred: int | None = None

    def learn(self, message: Message) -> None:
        """What the peer says that it can do; a message that says nothing changes nothing."""
        for name, known in (("Allow", "allows"), ("Supported", "supports")):
            if name in message.headers:
                with suppress(SipError):  # nor does one that cannot be read
                    setattr(self, known, frozenset(message.tokens(name)))

    @property
    def is_over(self) -> bool:
        """One side has hung up: nothing new begins."""
        return self.phase is Phase.ENDING or self.held_bye is not None

    def offers(self, tag: str) -> bool:
        """Does an offer of ours wait for the answer of the peer with this tag (RFC 3264 4)?"""
        early = self.outward is not None and tag not in self.agreed
        late = any(waiting.offered for waiting in self.unacknowledged.values())
        return early or late or self.renewing is not None

    def owes_answer(self, tag: str) -> bool:
        """Does an offer of the peer with this tag wait for our answer?"""
        if self.phase is Phase.EARLY and tag in self.agreed:
            return self.update is not None
        return self.update is not None or self.invite is not None
