"""The INVITE client transaction: RFC 3261 17.1.1, with the Accepted state of RFC 6026 7.2.

                   INVITE: send, start A and B
                            |
          A: again          v
              .---------- CALLING --------.-----------.
                    1xx |     | 2xx        | 300-699   | B
                        v     |            |           |
                   PROCEEDING |            v           |
                     |   '----|-------> COMPLETED      |
                     '-2xx----|            | D         |
                              v            |           |
                          ACCEPTED         |           |
                              | M          v           v
                              '-------> TERMINATED <---'

In PROCEEDING timer C, begun anew with each 1xx, leads to TERMINATED too: the RFC lets a UAC wait
for ever, but whoever rang may be gone, and its final answer lost.

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

_ACCEPTED: tuple[State, tuple[Action, ...]] = (
    State.ACCEPTED,
    (Stop(Timer.A), Stop(Timer.B), Stop(Timer.C), Start(Timer.M)),
)
_FAILED: tuple[State, tuple[Action, ...]] = (
    State.COMPLETED,
    (Stop(Timer.A), Stop(Timer.B), Stop(Timer.C), SEND, Start(Timer.D)),
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
        (State.PROCEEDING, Timer.C): (State.TERMINATED, ()),
        (State.PROCEEDING, Input.SUCCESS): _ACCEPTED,
        (State.PROCEEDING, Input.FAILURE): _FAILED,
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
        return self.state not in (State.CALLING, State.PROCEEDING)

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
