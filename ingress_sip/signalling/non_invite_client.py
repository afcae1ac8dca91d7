"""The non-INVITE client transaction: RFC 3261 17.1.2.

    TRYING --1xx--> PROCEEDING --final--> COMPLETED --K--> TERMINATED
     |  '---------------final----------------^                ^
     '--F-------------------F (from PROCEEDING too)-----------'

In TRYING, timer E resends at T1, 2*T1, ... up to T2; in PROCEEDING every T2. COMPLETED absorbs
repeated responses: only the first final one is handed to the core.
"""

from __future__ import annotations

from typing import ClassVar

from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.transaction import (
    SEND,
    Action,
    Double,
    Input,
    Slow,
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

_DONE: tuple[State, tuple[Action, ...]] = (
    State.COMPLETED,
    (Stop(Timer.E), Stop(Timer.F), Start(Timer.K)),
)
_TIMED_OUT: tuple[State, tuple[Action, ...]] = (State.TERMINATED, (Stop(Timer.E),))


class NonInviteClient(Transaction):
    """One request, not an INVITE, that we sent."""

    table: ClassVar[Table] = {
        (State.TRYING, Timer.E): (State.TRYING, (SEND, Double(Timer.E))),
        (State.TRYING, Timer.F): _TIMED_OUT,
        (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, ()),
        (State.TRYING, Input.SUCCESS): _DONE,
        (State.TRYING, Input.FAILURE): _DONE,
        (State.PROCEEDING, Timer.E): (State.PROCEEDING, (SEND, Slow(Timer.E))),
        (State.PROCEEDING, Timer.F): _TIMED_OUT,
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, ()),
        (State.PROCEEDING, Input.SUCCESS): _DONE,
        (State.PROCEEDING, Input.FAILURE): _DONE,
        (State.COMPLETED, Timer.K): (State.TERMINATED, ()),
    }

    def __init__(
        self,
        key: TransactionKey,
        request: Request,
        destination: Hop,
        surroundings: Surroundings,
        now: float,
    ) -> None:
        super().__init__(key, destination, surroundings, State.TRYING)
        self._message = request.encode()
        for action in (SEND, Start(Timer.E), Start(Timer.F)):
            self._perform(action, now)

    @property
    def answered(self) -> bool:
        """A final response has come."""
        return self.state is State.COMPLETED

    def received(self, response: Response, now: float) -> bool:
        """Take a response; True when the core is to hear of it."""
        first = not self.answered
        return self.step(status_input(response.status), now) and first
