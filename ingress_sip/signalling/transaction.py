"""What every transaction is: a state table, the messages it holds, and its timers.

RFC 3261 section 17 draws each transaction as a state machine. Here each is one module that holds
that drawing as a table `{(state, input): (next state, actions)}`; this module runs the tables.
An input that a state has no row for is ignored: that is how late and repeated messages die.

Transactions touch the outside only through `Surroundings`: an outbox and a timer queue, both
plain data that the core empties.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final, NamedTuple

from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.message import Message, Request
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.timers import TimerQueue, Timing


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send."""

    data: bytes
    destination: Hop


class TransactionKey(NamedTuple):
    """What a retransmission shares with its request (RFC 3261 17.1.3, 17.2.3).

    The RFC trusts the branch alone. Call-ID and CSeq are equal in every retransmission, ACK and
    CANCEL too, and tell apart what pyVoIP sends: one branch for all requests of a call.
    """

    branch: str
    sent_by: str
    call_id: str
    cseq: int
    method: str


class Origin(NamedTuple):
    """One request of one peer, by whichever path it came (RFC 3261 8.2.2.2)."""

    call_id: str
    from_tag: str
    cseq: int

    @classmethod
    def of(cls, request: Request) -> Origin:
        return cls(request.call_id, request.from_.tag or "", request.cseq.number)


def key_of(message: Message, method: str | None = None) -> TransactionKey:
    """The key of the transaction that `message` belongs to, by its top Via.

    ACK and CANCEL pass `method="INVITE"` to find the INVITE they are about.
    """
    via, cseq = message.via, message.cseq
    # 17.2.3: without the magic cookie, RFC 2543 rules; what the key holds besides will do. The
    # To tag is left out, as an ACK has one where its INVITE has none.
    branch = via.branch or ""
    sent_by = f"{via.host}:{via.port or 5060}".lower()
    return TransactionKey(branch, sent_by, message.call_id, cseq.number, method or cseq.method)


class Timer(Enum):
    """Timers of RFC 3261 table 4 and RFC 6026, and those that the core keeps beside them."""

    A = auto()  # INVITE: resend
    B = auto()  # INVITE: give up
    C = auto()  # INVITE: it rings for too long (16.6)
    D = auto()  # INVITE: absorb repeated failures
    E = auto()  # non-INVITE request: resend
    F = auto()  # non-INVITE request: give up
    G = auto()  # INVITE failure: resend
    H = auto()  # INVITE failure: give up waiting for the ACK
    I = auto()  # INVITE failure: absorb repeated ACKs  # noqa: E741
    J = auto()  # non-INVITE response: answer repeated requests
    K = auto()  # non-INVITE request: absorb repeated responses
    L = auto()  # INVITE success: absorb repeated INVITEs (RFC 6026)
    M = auto()  # INVITE: take the successes of other forks, and repeated ones (RFC 6026)
    # Those of the core: an INVITE of the peer's ...
    RESEND_2XX = auto()  # 13.3.1.4
    ACK_TIMEOUT = auto()  # 13.3.1.4
    EXPIRES = auto()  # 13.3.1
    # ... and a call.
    RESEND_1XX = auto()  # RFC 3262 section 3
    PRACK_TIMEOUT = auto()  # RFC 3262 section 3
    REFRESH = auto()  # RFC 4028 section 10
    SESSION_EXPIRES = auto()  # RFC 4028 section 10
    RETRY = auto()  # 14.1: after a 491


TimerName = tuple[TransactionKey | Origin | DialogId, Timer]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What transactions act on; shared by all of one core."""

    timing: Timing
    timers: TimerQueue[TimerName]
    outbox: deque[Outgoing]


# Over TCP and TLS nothing is resent, and no copy of a message comes late (17.1.1.2, 17.2.1).
_RESENDS = frozenset({Timer.A, Timer.E, Timer.G})
_LINGERS = frozenset({Timer.D, Timer.I, Timer.J, Timer.K})


#: So often a client repeats a request at most (17.1.2.2). More are a flood, perhaps in another's
#: name: a repetition need hold no more than its key, and is answered with all that came at first.
MOST_REPEATS: Final = 10


class State(Enum):
    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    CANCELLED = auto()  # INVITE: cancelled, but not answered yet (9.1)
    ACCEPTED = auto()  # RFC 6026
    COMPLETED = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


class Input(Enum):
    """What happens to a transaction, besides its timers."""

    REQUEST = auto()  # server side: the request once more
    ACK = auto()
    CANCEL = auto()  # client side: a CANCEL of ours went after it
    PROVISIONAL = auto()  # 1xx, from the core on the server side, from the peer on the client side
    SUCCESS = auto()  # 2xx
    FAILURE = auto()  # 3xx to 6xx


class Send(NamedTuple):
    """Send the newest message: a new one, or the same again."""


class Start(NamedTuple):
    """Start a timer at its first value."""

    timer: Timer


class Double(NamedTuple):
    """Start a resend timer again with twice its pause: at most T2, but for timer A (17.1.1.2)."""

    timer: Timer


class Slow(NamedTuple):
    """Start a resend timer again with T2."""

    timer: Timer


class Stop(NamedTuple):
    timer: Timer


Action = Send | Start | Double | Slow | Stop
Table = Mapping[tuple[State, Input | Timer], tuple[State, tuple[Action, ...]]]

SEND = Send()


def status_input(status: int) -> Input:
    """The input that a response of this status is."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE


class Transaction:
    """Runs one table. Subclasses bring the table and say which state it starts in."""

    table: ClassVar[Table]

    def __init__(
        self,
        key: TransactionKey,
        destination: Hop,
        surroundings: Surroundings,
        state: State,
    ) -> None:
        self.key = key
        self.state = state
        self._destination = destination
        self._reliable = destination.transport.is_reliable
        self._surroundings = surroundings
        self._message = b""
        self._repeats = 0
        self._pause = surroundings.timing.t1

    @property
    def terminated(self) -> bool:
        return self.state is State.TERMINATED

    @property
    def host(self) -> str:
        """Where the other side is: that of the datagram or connection, whatever the Via says."""
        return self._destination.host

    def step(self, happened: Input | Timer, now: float, message: bytes | None = None) -> bool:
        """Feed one input; `message` is what SEND sends from now on. False when it was ignored."""
        row = self.table.get((self.state, happened))
        if row is None:
            return False
        if happened is Input.REQUEST:
            self._repeats += 1
            if self._repeats > MOST_REPEATS:
                return False
        if message is not None:
            self._message = message
        self.state, actions = row
        for action in actions:
            self._perform(action, now)
        return True

    def _perform(self, action: Action, now: float) -> None:
        timing, timers = self._surroundings.timing, self._surroundings.timers
        match action:
            case Send():
                if self._message:
                    self._surroundings.outbox.append(Outgoing(self._message, self._destination))
            case Start(timer):
                if not (self._reliable and timer in _RESENDS):
                    wait = (
                        0.0 if self._reliable and timer in _LINGERS else first_value(timer, timing)
                    )
                    timers.set((self.key, timer), now + wait)
            case Double(timer):
                longest = timing.give_up if timer is Timer.A else timing.t2
                self._pause = min(2 * self._pause, longest)
                timers.set((self.key, timer), now + self._pause)
            case Slow(timer):
                timers.set((self.key, timer), now + timing.t2)
            case Stop(timer):
                timers.cancel((self.key, timer))


def first_value(timer: Timer, timing: Timing) -> float:
    """RFC 3261 table 4, over an unreliable transport; seconds."""
    match timer:
        case Timer.A | Timer.E | Timer.G | Timer.RESEND_1XX | Timer.RESEND_2XX:
            return timing.t1
        case Timer.I | Timer.K:
            return timing.t4
        case Timer.C:
            return timing.ring
        case _:
            return timing.give_up
