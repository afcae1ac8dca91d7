"""What webhooks ask of the server behind them: who is let in, and how a call stands.

A carrier's call is named by the carrier's own id (Twilio's CallSid) here; calls of ours that the
carrier does not know yet have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from calls.ending import Ending

#: unknown: never heard of; expected: admitted, its stream has not come; attached: its stream is
#: here; broken: its stream broke, or was put aside, and another is waited for; over.
Standing = Literal["unknown", "expected", "attached", "broken", "over"]

#: What the carrier is to do with a call that it asks for: connect it to a (new) stream, end it, or
#: be refused (403), for it cannot have had that to ask.
Next = Literal["connect", "hang_up", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A call that a carrier offers: what `call.started` needs to know of it."""

    carrier: Literal["twilio", "telnyx", "plivo", "vonage"]
    #: The carrier's ids of the call and of the account.
    call: str
    account: str
    #: Numbers, or what else they are called by: `sip:alice@example.com`, `client:alice`.
    caller: str
    called: str
    direction: Literal["inbound", "outbound"] = "inbound"
    #: Of the webhook URL's query, and `SipHeader_*`: what the stream is given to say too.
    parameters: Mapping[str, str] = field(default_factory=dict)
    #: An outbound call: our id of it, as `Carrier.place` was given it.
    placed_as: str = ""
    #: The address that the webhook came from, past our proxies.
    remote: str = ""

    @property
    def number(self) -> str:
        """What the agent is chosen by: the number called, or the user of its URI."""
        user = self.called.partition(":")[2] if ":" in self.called else self.called
        return user.partition("@")[0].partition(";")[0]


class Refused(NamedTuple):
    """A call that is not taken.

    no_agent: nobody answers this number; shortage: not now (lines, or a pool); draining: this
    ingress is about to stop, so another should be asked. `detail` is for the log.
    """

    why: Literal["no_agent", "shortage", "draining"]
    detail: str = ""


class StatusChange(NamedTuple):
    """The carrier tells how a call of its own stands."""

    call: str
    #: The carrier's word: queued, initiated, ringing, in-progress, completed, busy, ...
    status: str
    #: What that means once the call is over; None while it is not. For a call that was answered it
    #: is CALLER_HUNG_UP, unless it was us.
    ending: Ending | None
    direction: Literal["inbound", "outbound"]
    #: The SIP response that ended it, as far as the carrier tells.
    sip_status: int | None = None
    #: As `Offer.placed_as`: it may be told before `Carrier.place` has returned.
    placed_as: str = ""


class Dialled(NamedTuple):
    """How a transfer went, once it is over: `ok` is that somebody answered.

    `status` is as SIP has it (`Leg.action_done`), and `detail` the carrier's word for it.
    """

    ok: bool
    status: int
    detail: str


class Door(Protocol):
    """What the server behind the webhooks offers. Nothing here blocks but `admit`."""

    def standing(self, call: str) -> Standing:
        """How a carrier's call stands here.

        An outbound call that was placed is `expected` or `unknown` until its stream came.
        """
        ...

    async def admit(self, offer: Offer) -> Refused | None:
        """Take a call: from now on its stream is expected, for a minute; or say why not.

        Called once per call, unless it was refused; within 10 s, or it is cancelled and the
        carrier told to look elsewhere. For `offer.placed_as` it is that call, answered.
        """
        ...

    def stream_ended(self, call: str) -> Next:
        """The carrier says that the stream is over and the call is not: what now?

        It may know before our socket does. `connect` where the call is to go on; the call then
        stands as `broken` until its new stream comes.
        """
        ...

    def transfer_progressed(self, call: str, status: int, detail: str) -> None:
        """A step of a transfer: 180, it rings; 200, the caller speaks to whom it was put through
        to, and the call is over for us (`Leg.action_done`, Ending.TRANSFERRED). `detail` is the
        carrier's word. It may come late, and in any order.
        """
        ...

    def dialled(self, call: str, outcome: Dialled) -> Next:
        """A transfer is over: nobody answered, or they have spoken. `hang_up` where it went well,
        `connect` to have the caller back; `refuse` where none is, or was, under way.

        Where the caller hung up too, `status_changed` comes next, whatever this says.
        """
        ...

    def status_changed(self, change: StatusChange) -> None:
        """Take note of how a call stands; of one that is not here, or is over, none.

        It may be told twice, and late.
        """
        ...
