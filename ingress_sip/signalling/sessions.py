"""All sessions of one core, and what everybody does with them: find, ask in the dialog, end."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ingress_sip.signalling.clients import Asked, Clients, Heard, Try
from ingress_sip.signalling.dialog import Dialog, DialogId
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.events import ByeAnswered, Event, SessionLost
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase, Session
from ingress_sip.signalling.session_timer import Refresh, TimerPolicy
from ingress_sip.signalling.transaction import Outgoing, Surroundings, Timer
from ingress_sip.signalling.transactions import Transactions
from ingress_sip.signalling.uri import SipUri

HeaderItems = tuple[tuple[str, str], ...]

ALLOW: Final = (
    "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK", "REFER", "NOTIFY",
)  # fmt: skip
SUPPORTED: Final = ("100rel", "replaces", "timer")
#: 12.2.1.2: what a call does not survive, as the answer to what is about the call itself: a NOTIFY
#: or a REFER that fails so ends no more than its subscription (RFC 5057 section 5.1).
GONE: Final = frozenset({408, 481})
_VITAL: Final = frozenset({"INVITE", "UPDATE", "INFO"})
#: What is still heard of when the call is over: a 2xx needs its ACK, and the end its answer.
_TO_THE_END: Final = frozenset({"INVITE", "BYE"})
_TIMERS: Final = (
    Timer.RESEND_1XX, Timer.PRACK_TIMEOUT, Timer.REFRESH, Timer.SESSION_EXPIRES, Timer.RETRY,
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """Who we are in what we send."""

    product: str
    contact_for: Callable[[Hop], SipUri]
    tokens: Callable[[], str]

    @property
    def abilities(self) -> HeaderItems:
        """On each message that forms or changes a dialog (13.2.1, 13.3.1.4)."""
        return (("Allow", ", ".join(ALLOW)), ("Supported", ", ".join(SUPPORTED)))

    @property
    def server(self) -> tuple[str, str]:
        return "Server", self.product

    @property
    def user_agent(self) -> tuple[str, str]:
        return "User-Agent", self.product

    def below(self, limit: int) -> int:
        """A random number from 0 to `limit` - 1."""
        digest = hashlib.blake2s(self.tokens().encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % limit


class Sessions:
    """The calls of one core."""

    def __init__(
        self,
        transactions: Transactions,
        clients: Clients,
        surroundings: Surroundings,
        events: deque[Event],
        *,
        identity: Identity,
        timers: TimerPolicy,
    ) -> None:
        self.transactions = transactions
        self.clients = clients
        self.surroundings = surroundings
        self.identity = identity
        self.timers = timers
        self._events = events
        self._sessions: dict[tuple[str, str], Session] = {}  # by Call-ID and our tag
        self._closers: list[Callable[[Session, float], None]] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def get(self, name: DialogId) -> Session | None:
        return self._sessions.get(name[:2])

    def add(self, session: Session) -> None:
        self._sessions[session.name[:2]] = session

    def find(self, request: Request) -> Session | None:
        """The session in whose dialog the peer asks; None where there is none (12.2.2)."""
        session = self._sessions.get((request.call_id, request.to.tag or ""))
        if session is None or self.dialog_of(session, request) is None:
            return None
        return session

    def live(self, request: Request) -> Session:
        """The same, of a call that nobody has ended. Raises SipError(481)."""
        session = self.find(request)
        if session is None or session.is_over:
            raise SipError(481, "Call/Transaction Does Not Exist")
        return session

    def dialog_of(self, session: Session, request: Request) -> Dialog | None:
        """The session's own, or that of a fork that is not answered yet."""
        tag = request.from_.tag or ""
        if session.outward is not None:
            return session.forks.get(tag)
        return session.dialog if session.dialog.id.remote_tag == tag else None

    def receive(self, session: Session, request: Request, source: Hop) -> None:
        """12.2.2: note a request of `find`'s in its dialog. Raises SipError(500)."""
        dialog = self.dialog_of(session, request)
        assert dialog is not None
        dialog.receive(request, source)

    def take(  # what, from where, then the answer
        self,
        request: Request,
        source: Hop,
        status: int,
        now: float,
        headers: HeaderItems = (),
    ) -> None:
        """Answer what has an effect, so that its repetition has none."""
        destination = response_destination(request.via, source)
        transaction = self.transactions.accept_request(request, destination)
        tag = self.identity.tokens() if request.to.tag is None else None
        response = build_response(request, status, to_tag=tag, headers=headers)
        transaction.respond(response, now)

    def named(self, call_id: str, local_tag: str, remote_tag: str) -> Session | None:
        """The session that a Replaces means (RFC 3891 section 3)."""
        session = self._sessions.get((call_id, local_tag))
        if session is None or session.dialog.id.remote_tag != remote_tag:
            return None
        return session

    def tell(self, event: Event) -> None:
        self._events.append(event)

    def keep_alive(self, session: Session, refresh: Refresh | None, now: float) -> None:
        """RFC 4028 section 10: the session timer begins anew with each answer that agrees to it."""
        session.refresh = refresh
        if refresh is None:
            self.stop_timer(session, Timer.REFRESH)
            self.stop_timer(session, Timer.SESSION_EXPIRES)
            return
        self.set_timer(session, Timer.SESSION_EXPIRES, now + refresh.give_up_after)
        if refresh.ours:
            self.set_timer(session, Timer.REFRESH, now + refresh.refresh_after)
        else:
            self.stop_timer(session, Timer.REFRESH)

    def set_timer(self, session: Session, timer: Timer, due: float) -> None:
        self.surroundings.timers.set((session.name, timer), due)

    def stop_timer(self, session: Session, timer: Timer) -> None:
        self.surroundings.timers.cancel((session.name, timer))

    def on_close(self, close: Callable[[Session, float], None]) -> None:
        """Have `close(session, now)` called when a session ends, to let go of what waits for it."""
        self._closers.append(close)

    def forget(self, session: Session, now: float) -> None:
        """The session is gone; late answers to what we asked in it are heard of by nobody."""
        self._close(session, now)
        self._sessions.pop(session.name[:2], None)

    def _close(self, session: Session, now: float) -> None:
        if session.phase is Phase.ENDING:
            return
        session.phase = Phase.ENDING
        for timer in _TIMERS:
            self.stop_timer(session, timer)
        for close in self._closers:
            close(session, now)

    def ask(
        self,
        session: Session,
        method: str,
        now: float,
        *,
        answered: Heard | None = None,
        extra: HeaderItems = (),
        body: bytes = b"",
        dialog: Dialog | None = None,
    ) -> Asked:
        """Ask the peer something in the dialog. `answered` hears what keeps the dialog alive."""
        within = dialog or session.dialog
        fields = (self.identity.user_agent, *extra)

        def write(attempt: Try) -> Request:
            cseq = None if attempt.is_new else within.local_cseq
            return within.request(
                method, attempt.branch, fields, body=body, cseq=cseq, hop=attempt.hop
            )

        def heard(request: Request, response: Response, source: Hop, at: float) -> None:
            over = session.phase is Phase.ENDING
            if over and method not in _TO_THE_END:
                return
            if response.status in GONE and method in _VITAL and not over:
                self.lose(session, response.status, at)
            elif answered is not None:
                answered(request, response, source, at)

        return self.clients.send(write, [within.next_hop], heard, now, digest=session.digest)

    def send_ack(self, dialog: Dialog, invite: Request) -> bytes:
        """13.2.2.4: the ACK of a 2xx to our INVITE, with its credentials."""
        credentials = tuple(item for item in invite.headers if item[0].endswith("Authorization"))
        branch = self.clients.branch()
        ack = dialog.request("ACK", branch, credentials, cseq=invite.cseq.number).encode()
        self.resend(dialog, ack)
        return ack

    def resend(self, dialog: Dialog, message: bytes) -> None:
        self.surroundings.outbox.append(Outgoing(message, dialog.next_hop))

    def hang_up(self, session: Session, extra: HeaderItems, now: float) -> None:
        """15.1.1: BYE. The session is ENDING until it is answered; nothing else is waited for."""

        def answered(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            self.forget(session, at)
            self.tell(ByeAnswered(session.name, response.status))

        self._close(session, now)
        self.ask(session, "BYE", now, answered=answered, extra=extra)

    def lose(self, session: Session, status: int, now: float) -> None:
        """The other side does not know the dialog any more, or is not there (12.2.1.2)."""
        if session.phase is Phase.ENDING:
            return
        self.tell(SessionLost(session.name, status))
        # 12.2.1.2: a BYE all the same: it may be one proxy on the way that forgot.
        self.hang_up(session, (("Reason", f"SIP;cause={status}"),), now)
