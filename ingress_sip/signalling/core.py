"""The SIP user agent, without I/O: messages and time in, messages and events out.

A shell around it is five lines: give it what the sockets read (`receive`), send what it wants sent
(`messages_to_send`), tell it what could not be sent (`transport_failed`), wake it when it asks
(`next_timer`, `handle_timers`), and act on what it says (`next_event`, then `ring`, `accept`,
`reject`, `hang_up`, ...). After any of these, empty both queues and look at `next_timer` again. All
times are seconds on one monotonic clock.

Behind it, `reception` takes requests in and `clients` sends ours. What a call may do stands in
`incoming` (the peer calls), `calling` (we do), `renewal` (the session changes or is kept alive)
and `referral` (it is transferred); `sessions` holds the calls that they share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

from ingress_sip.signalling.asking import Ask, write_outside
from ingress_sip.signalling.calling import Calling
from ingress_sip.signalling.clients import Authorizer, Clients, Try
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.events import AskAnswered, Event
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.incoming import Incoming
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import MalformedRequestError, parse_datagram
from ingress_sip.signalling.policy import Anybody, Policy
from ingress_sip.signalling.reception import KEYS, Reception
from ingress_sip.signalling.referral import Referral
from ingress_sip.signalling.reliable import Reliability
from ingress_sip.signalling.renewal import Renewal
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.session import Phase, Session
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.signalling.sessions import HeaderItems, Identity, Sessions
from ingress_sip.signalling.timers import TimerQueue, Timing
from ingress_sip.signalling.transaction import (
    Origin,
    Outgoing,
    Surroundings,
    Timer,
    TimerName,
    TransactionKey,
)
from ingress_sip.signalling.transactions import Transactions
from ingress_sip.signalling.uri import SipUri

__all__ = ["KEYS", "RFC_TIMERS", "RFC_TIMING", "Anybody", "Policy", "SipCore"]

RFC_TIMING: Final = Timing()
RFC_TIMERS: Final = TimerPolicy()


class SipCore:
    """One user agent, on any number of sockets and connections.

    `contact_for` says by which URI the peer at a hop reaches us; `tokens` gives unguessable strings
    of token characters, for tags and branches; `user_agent` goes into Server and User-Agent. With
    `max_transactions` alive, new INVITEs get 503.
    """

    def __init__(
        self,
        *,
        contact_for: Callable[[Hop], SipUri],
        tokens: Callable[[], str],
        user_agent: str,
        policy: Policy | None = None,
        max_transactions: int = 10_000,
        timing: Timing = RFC_TIMING,
        timers: TimerPolicy = RFC_TIMERS,
    ) -> None:
        self._outbox: deque[Outgoing] = deque()
        self._events: deque[Event] = deque()
        self._timers: TimerQueue[TimerName] = TimerQueue()
        policy = policy or Anybody()
        tag_key = tokens().encode()[:32]
        surroundings = Surroundings(timing, self._timers, self._outbox)
        self._transactions = Transactions(surroundings, max_transactions)
        self._identity = Identity(user_agent, contact_for, tokens)
        self._clients = Clients(self._transactions, tokens)
        self._sessions = Sessions(
            self._transactions,
            self._clients,
            surroundings,
            self._events,
            identity=self._identity,
            timers=timers,
        )
        self._reliability = Reliability(self._sessions)
        self._incoming = Incoming(self._sessions, policy, self._reliability)
        self._calling = Calling(self._sessions)
        self._renewal = Renewal(self._sessions)
        self._referral = Referral(self._sessions)
        self._numbers = count(1)
        self._reception = Reception(
            self._sessions,
            policy,
            tag_key,
            incoming=self._incoming,
            calling=self._calling,
            reliability=self._reliability,
            renewal=self._renewal,
            referral=self._referral,
        )

    # Bytes and time in, bytes and events out

    def receive(self, data: bytes, source: Hop, now: float) -> None:
        """Take one message: a datagram, or what a stream's framing cut out. Never raises for it."""
        try:
            message = parse_datagram(data)
        except MalformedRequestError as error:
            self._reception.refuse_malformed(error, source, now)
        except SipError:
            pass  # nobody to answer, or nothing to say it to
        else:
            if isinstance(message, Request):
                self._reception.receive(message, source, now)
            elif isinstance(message, Response):
                self._clients.on_response(message, source, now)

    def messages_to_send(self) -> list[Outgoing]:
        """Everything to send now, in order; each is handed out once."""
        outgoing = list(self._outbox)
        self._outbox.clear()
        return outgoing

    def transport_failed(self, hop: Hop, now: float) -> None:
        """What was to go to `hop` could not be sent: its requests are tried elsewhere, or fail."""
        self._clients.on_transport_failure(hop, now)

    def next_event(self) -> Event | None:
        """The oldest event that was not handed out yet."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """When `handle_timers` is to be called; None: not before something else happens."""
        return self._timers.next()

    def handle_timers(self, now: float) -> None:
        """Do everything that is due by `now`. Early and late calls are harmless."""
        while (name := self._timers.pop_due(now)) is not None:
            key, timer = name
            if isinstance(key, DialogId):
                if (session := self._sessions.get(key)) is not None:
                    self._session_timer(session, timer, now)
            elif isinstance(key, Origin):
                if timer is Timer.RESEND_2XX:
                    self._incoming.on_resend(key, now)
                else:
                    self._incoming.on_ack_timeout(key, now)
            else:
                self._transaction_timer(key, timer, now)

    def _session_timer(self, session: Session, timer: Timer, now: float) -> None:
        match timer:
            case Timer.RESEND_1XX:
                self._reliability.on_resend(session, now)
            case Timer.PRACK_TIMEOUT:
                # RFC 3262 section 3: it was never acknowledged, so the INVITE is refused.
                self._incoming.give_up(session, "no PRACK", now, 504)
            case Timer.REFRESH:
                self._renewal.on_refresh(session, now)
            case Timer.RETRY:
                self._renewal.on_retry(session)
            case _:
                self._renewal.on_expired(session, now)

    def _transaction_timer(self, key: TransactionKey, timer: Timer, now: float) -> None:
        if timer is Timer.EXPIRES:
            self._incoming.on_expired(key, now)
            return
        ended = self._transactions.on_timer(key, timer, now)
        if timer is Timer.C:
            self._clients.on_too_long(key, now)
        if ended is None:
            return
        if timer in (Timer.B, Timer.F):
            self._clients.on_timeout(ended, now)
        self._clients.forget(key)

    # Calls. False: there is nothing to act on any more; an event has said or will say so.

    def call(self, ask: Ask, now: float) -> DialogId:
        """Call somebody: an INVITE whose body is our offer. CallAnswered or CallRefused follows.

        The dialog's id names the call from now on, though it says nothing of the other side yet.
        """
        return self._calling.call(ask, now)

    def ring(self, dialog: DialogId, now: float, status: int = 180, body: bytes = b"") -> bool:
        """Send a provisional response (101 to 199); `body` is SDP for early media: an answer.

        Where the caller asks for it, it is sent until it is acknowledged, and what is rung
        meanwhile waits for that (RFC 3262). Without an offer to answer `body` is left out.
        """
        session = self._sessions.get(dialog)
        return session is not None and self._incoming.ring(session, status, body, now)

    def accept(self, dialog: DialogId, sdp: bytes, now: float) -> bool:
        """Answer an INVITE or re-INVITE with 200, resent until its ACK; or an UPDATE.

        `sdp` is the answer, or our offer where the INVITE had none. Use the new session only
        when this returns True. The 200 waits where early SDP was not acknowledged yet.
        """
        session = self._sessions.get(dialog)
        if session is None:
            return False
        if session.update is not None:
            return self._renewal.accept(session, sdp, now)
        return self._incoming.accept(session, sdp, now)

    def reject(
        self,
        dialog: DialogId,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> bool:
        """Refuse an INVITE (the call is over), or a re-INVITE or UPDATE (all stays as it was)."""
        if not 300 <= status <= 699:
            raise LocalProtocolError(f"{status} does not reject an INVITE")
        session = self._sessions.get(dialog)
        if session is None:
            return False
        if session.update is not None:
            return self._renewal.reject(session, status, tuple(headers), now)
        return self._incoming.reject(session, status, reason, tuple(headers), now)

    def hang_up(self, dialog: DialogId, now: float, reason: str | None = None) -> bool:
        """End a call, whatever its state.

        An answered one gets BYE, held back until the ACK where that is still out; ByeAnswered
        follows, or ByeReceived when the peer was faster. A caller that was not answered yet gets
        480, and no event follows; a call of ours that was not answered is cancelled, and
        CallRefused follows. `reason` is a Reason value, e.g. `Q.850;cause=16` (RFC 3326).
        """
        session = self._sessions.get(dialog)
        if session is None or session.phase is Phase.ENDING:
            return False
        extra: HeaderItems = () if reason is None else (("Reason", reason),)
        if session.outward is not None:
            return self._calling.hang_up(session, extra, now)
        return self._incoming.hang_up(session, extra, now)

    def reoffer(self, dialog: DialogId, sdp: bytes, now: float) -> bool:
        """Change the session by a re-INVITE: hold, resume, a new address.

        ReofferAnswered, ReofferRefused or ReofferDue follows. False while another change is under
        way: try again later.
        """
        session = self._sessions.get(dialog)
        return session is not None and self._renewal.reoffer(session, sdp, now)

    def refer(self, dialog: DialogId, target: NameAddr, now: float) -> bool:
        """Ask the peer to call `target` instead of us; ReferAnswered and TransferNotified follow.

        With a Replaces among the target's URI headers it takes over a call that is there: an
        attended transfer (RFC 5589 section 7).
        """
        session = self._sessions.get(dialog)
        return session is not None and self._referral.refer(session, target, now)

    def answer_refer(self, dialog: DialogId, status: int, now: float) -> bool:
        """Answer ReferReceived: 202 to do it (then `notify` how it goes), or a failure."""
        session = self._sessions.get(dialog)
        return session is not None and self._referral.answer(session, status, now)

    def notify(self, dialog: DialogId, status: int, reason: str, now: float) -> bool:
        """Tell the peer how the call goes that it asked us to make; a final status ends it."""
        session = self._sessions.get(dialog)
        return session is not None and self._referral.notify(session, status, reason, now)

    def info(self, dialog: DialogId, content_type: str, body: bytes, now: float) -> bool:
        """Send an INFO."""
        session = self._sessions.get(dialog)
        if session is None or session.phase is not Phase.CONFIRMED or session.is_over:
            return False
        extra = (("Content-Type", content_type),)
        self._sessions.ask(session, "INFO", now, extra=extra, body=body)
        return True

    def use_credentials(self, dialog: DialogId, digest: Authorizer) -> None:
        """Answer challenges to what we ask in a call that the peer began."""
        if (session := self._sessions.get(dialog)) is not None:
            session.digest = digest

    def replaces_header(self, dialog: DialogId) -> str | None:
        """The Replaces value by which the peer of a call could be asked for it (RFC 3891)."""
        session = self._sessions.get(dialog)
        if session is None or session.phase is not Phase.CONFIRMED:
            return None
        name = session.dialog.id
        return f"{name.call_id};to-tag={name.remote_tag};from-tag={name.local_tag}"

    def target_of(self, dialog: DialogId) -> SipUri | None:
        """Where the peer of a call is reached: its Contact."""
        session = self._sessions.get(dialog)
        target = session.dialog.remote_target if session else None
        return target if isinstance(target, SipUri) else None

    def peer_of(self, dialog: DialogId) -> NameAddr | None:
        """Who the other side of a call is, by its own word: its From, or the To of ours."""
        session = self._sessions.get(dialog)
        return session.dialog.remote if session else None

    # Outside of calls

    def ask(self, ask: Ask, now: float) -> int:
        """Ask somebody something outside of dialogs; AskAnswered with this number follows."""
        number = next(self._numbers)
        identity = self._identity
        call_id = ask.call_id or f"{identity.tokens()}@{identity.contact_for(ask.hops[0]).host}"
        name = DialogId(call_id, identity.tokens(), "")
        cseq = (ask.cseq or 1) - 1

        def write(attempt: Try) -> Request:
            nonlocal cseq
            cseq += attempt.is_new
            return write_outside(ask, identity, name, attempt, cseq)

        def answered(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            self._events.append(AskAnswered(number, response))

        self._clients.send(write, ask.hops, answered, now, digest=ask.digest)
        return number

    def uses(self, flow: int) -> bool:
        """Does a call live on this connection?"""
        return any(session.dialog.source.flow == flow for session in self._sessions)

    @property
    def draining(self) -> bool:
        """While True, new calls get 503 with Retry-After; those that are here go on."""
        return self._incoming.draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._incoming.draining = value

    @property
    def live_dialogs(self) -> int:
        return len(self._sessions)

    @property
    def live_transactions(self) -> int:
        return len(self._transactions)
