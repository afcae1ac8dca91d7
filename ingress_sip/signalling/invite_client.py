"""The INVITE client transaction: RFC 3261 17.1.1, with the Accepted state of RFC 6026 7.2.

                      INVITE: send, start A and B
                                  |
     A: send it again             v
                 .------------ CALLING ------------.
             1xx |             |     |             | B
                 v         2xx |     | 300-699     |
            PROCEEDING --------+     +---.         |
          CANCEL |             |     |   |         |
                 v             |     |   |         |
            CANCELLED ---------+     +---'         |
                 | B           v     v             |
                 |       ACCEPTED   COMPLETED      |
                 |           | M         | D       |
                 '---------> TERMINATED <----------'

In each of the three on the left a 2xx leads to ACCEPTED, another final response to COMPLETED. An
INVITE that rings is waited for as long as there is news of it (timer C, 16.6), and for 64*T1 once
it is cancelled (9.1).

The ACK for a failure is the transaction's, and is sent again for each copy of it. The one for a 2xx
goes end to end and is the core's: every 2xx is handed to it, for it may be a fork's.
"""

from __future__ import annotations

from typing import ClassVar

from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.transaction import (
    SEND,
    Action,
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

_WAITS = (Timer.A, Timer.B, Timer.C)
_ACCEPTED: tuple[State, tuple[Action, ...]] = (
    State.ACCEPTED,
    (*(Stop(timer) for timer in _WAITS), Start(Timer.M)),
)
_FAILED: tuple[State, tuple[Action, ...]] = (
    State.COMPLETED,
    (*(Stop(timer) for timer in _WAITS), SEND, Start(Timer.D)),
)


class InviteClient(Transaction):
    """One INVITE that we sent."""

    table: ClassVar[Table] = {
        (State.CALLING, Timer.A): (State.CALLING, (SEND, Double(Timer.A))),
        (State.CALLING, Timer.B): (State.TERMINATED, (Stop(Timer.A),)),
        (State.CALLING, Input.PROVISIONAL): (
            State.PROCEEDING,
            (Stop(Timer.A), Stop(Timer.B), Start(Timer.C)),
        ),
        (State.CALLING, Input.SUCCESS): _ACCEPTED,
        (State.CALLING, Input.FAILURE): _FAILED,
        (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Start(Timer.C),)),
        (State.PROCEEDING, Timer.C): (State.PROCEEDING, ()),  # 16.8: the core cancels it
        (State.PROCEEDING, Input.CANCEL): (State.CANCELLED, (Stop(Timer.C), Start(Timer.B))),
        (State.PROCEEDING, Input.SUCCESS): _ACCEPTED,
        (State.PROCEEDING, Input.FAILURE): _FAILED,
        (State.CANCELLED, Input.PROVISIONAL): (State.CANCELLED, ()),
        (State.CANCELLED, Timer.B): (State.TERMINATED, ()),
        (State.CANCELLED, Input.SUCCESS): _ACCEPTED,
        (State.CANCELLED, Input.FAILURE): _FAILED,
        (State.COMPLETED, Input.FAILURE): (State.COMPLETED, (SEND,)),
        (State.COMPLETED, Timer.D): (State.TERMINATED, ()),
        (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, ()),
        (State.ACCEPTED, Timer.M): (State.TERMINATED, ()),
    }

    def __init__(
        self,
        key: TransactionKey,
        request: Request,
        destination: Hop,
        surroundings: Surroundings,
        now: float,
    ) -> None:
        super().__init__(key, destination, surroundings, State.CALLING)
        self.request = request
        self._message = request.encode()
        for action in (SEND, Start(Timer.A), Start(Timer.B)):
            self._perform(action, now)

    @property
    def answered(self) -> bool:
        """A final response has come."""
        return self.state not in (State.CALLING, State.PROCEEDING, State.CANCELLED)

    def received(self, response: Response, now: float) -> bool:
        """Take a response; True when the core is to hear of it."""
        happened = status_input(response.status)
        message = None
        first = not self.answered
        if happened is Input.FAILURE and first:
            message = ack_for_failure(self.request, response).encode()
        stepped = self.step(happened, now, message)
        return stepped and (first or happened is Input.SUCCESS)


def ack_for_failure(invite: Request, response: Response) -> Request:
    """17.1.1.3: the ACK of the same transaction."""
    return _alike(invite, "ACK", to=response.headers.get("To"))


def cancel_of(invite: Request) -> Request:
    """9.1: the CANCEL of an INVITE, which is found by the INVITE's branch."""
    return _alike(invite, "CANCEL", to=None)


def _alike(invite: Request, method: str, *, to: str | None) -> Request:
    headers = invite.headers
    return Request(
        method,
        invite.uri,
        headers=Headers(
            (
                ("Via", str(invite.via)),
                ("Max-Forwards", "70"),
                *(("Route", route) for route in headers.get_all("Route")),
                ("From", headers.get("From") or ""),
                ("To", to or headers.get("To") or ""),
                ("Call-ID", invite.call_id),
                ("CSeq", f"{invite.cseq.number} {method}"),
            )
        ),
    )
