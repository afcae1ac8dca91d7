"""The INVITE server transaction: RFC 3261 17.2.1, with the Accepted state of RFC 6026 7.1.

                         INVITE: 100 at once
                                 |
                                 v   INVITE, 1xx: send
                            PROCEEDING
                        2xx /         \\ 300-699
                           v           v
     INVITE: absorb    ACCEPTED     COMPLETED   INVITE, G: send it again
                           |        |        \\ ACK
                           | L      | H       v
                           |        |      CONFIRMED
                           v        v         | I
                            TERMINATED  <-----'

A failure is resent by the transaction until its ACK. A 2xx is not: its ACK comes end to end, so
the core resends it (13.3.1.4) and the transaction lives on only to absorb repeated INVITEs.
"""

from __future__ import annotations

from typing import ClassVar

from ingress_sip.signalling.errors import LocalProtocolError
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.transaction import (
    SEND,
    Double,
    Input,
    Start,
    State,
    Stop,
    Surroundings,
    Table,
    Timer,
    Transaction,
    TransactionKey,
    status_input,
)


class InviteServer(Transaction):
    """One INVITE that we answer."""

    table: ClassVar[Table] = {
        (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (SEND,)),
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (SEND,)),
        (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (SEND, Start(Timer.L))),
        (State.PROCEEDING, Input.FAILURE): (
            State.COMPLETED,
            (SEND, Start(Timer.G), Start(Timer.H)),
        ),
        (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (SEND,)),
        (State.ACCEPTED, Timer.L): (State.TERMINATED, ()),
        (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (SEND,)),
        (State.COMPLETED, Timer.G): (State.COMPLETED, (SEND, Double(Timer.G))),
        (State.COMPLETED, Timer.H): (State.TERMINATED, (Stop(Timer.G),)),
        (State.COMPLETED, Input.ACK): (
            State.CONFIRMED,
            (Stop(Timer.G), Stop(Timer.H), Start(Timer.I)),
        ),
        (State.CONFIRMED, Timer.I): (State.TERMINATED, ()),
    }

    def __init__(
        self,
        key: TransactionKey,
        request: Request,
        destination: Hop,
        surroundings: Surroundings,
        now: float,
    ) -> None:
        super().__init__(key, destination, surroundings, State.PROCEEDING)
        self.request = request
        self.to_tag: str | None = None  # of what we answered last
        # 17.2.1 allows 200 ms for it; at once spares the peer its first resend, and pyVoIP hangs
        # without it.
        self.respond(build_response(request, 100), now)

    @property
    def answered(self) -> bool:
        """A final response has been given."""
        return self.state is not State.PROCEEDING

    def respond(self, response: Response, now: float) -> None:
        """Send a response. Raises LocalProtocolError after a final one (but a 2xx may repeat)."""
        if not self.step(status_input(response.status), now, response.encode()):
            raise LocalProtocolError(f"{response.status} to an INVITE that is {self.state.name}")
        self.to_tag = response.to.tag

    def repeat_success(self, now: float) -> None:
        """Send the 2xx again (RFC 6026 7.1: it passes through the transaction)."""
        self.step(Input.SUCCESS, now)
