"""The non-INVITE server transaction: RFC 3261 17.2.2.

    TRYING --1xx--> PROCEEDING --final--> COMPLETED --J--> TERMINATED
       '---------------final-----------------^

Only requests that change something need one (BYE): a repeated request gets the same answer
instead of a second effect. OPTIONS and refusals are answered statelessly (8.2.7).
"""

from __future__ import annotations

from typing import ClassVar

from ingress_sip.signalling.errors import LocalProtocolError
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.transaction import (
    SEND,
    Input,
    Start,
    State,
    Surroundings,
    Table,
    Timer,
    Transaction,
    TransactionKey,
    status_input,
)

_ANSWERED = (State.COMPLETED, (SEND, Start(Timer.J)))


class NonInviteServer(Transaction):
    """One request, not an INVITE, that we answer."""

    table: ClassVar[Table] = {
        (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, (SEND,)),
        (State.TRYING, Input.SUCCESS): _ANSWERED,
        (State.TRYING, Input.FAILURE): _ANSWERED,
        (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (SEND,)),
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (SEND,)),
        (State.PROCEEDING, Input.SUCCESS): _ANSWERED,
        (State.PROCEEDING, Input.FAILURE): _ANSWERED,
        (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (SEND,)),
        (State.COMPLETED, Timer.J): (State.TERMINATED, ()),
    }

    def __init__(
        self,
        key: TransactionKey,
        request: Request,
        destination: Hop,
        surroundings: Surroundings,
    ) -> None:
        super().__init__(key, destination, surroundings, State.TRYING)
        self.request = request

    def respond(self, response: Response, now: float) -> None:
        """Send a response. Raises LocalProtocolError after a final one."""
        if not self.step(status_input(response.status), now, response.encode()):
            raise LocalProtocolError(f"{response.status} to a request that was answered")
