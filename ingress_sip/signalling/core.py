"""The SIP user agent, without I/O: messages and time in, messages and events out.

A shell around it is five lines: give it what the sockets read (`receive`), send what it wants sent
(`messages_to_send`), tell it what could not be sent (`transport_failed`), wake it when it asks
(`next_timer`, `handle_timers`), and act on what it says (`next_event`, then `ring`, `accept`,
`reject`, `hang_up`, ...). After any of these, empty both queues and look at `next_timer` again. All
times are seconds on one monotonic clock.

What needs no memory is answered without any (RFC 3261 8.2.7): OPTIONS and every refusal of a
request that has begun nothing, with a To tag derived from the request, so that a repetition gets
the same answer. A flood of them costs no transaction.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from typing import Protocol

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.calling import Calling
from ingress_sip.signalling.clients import Authorizer, Clients, Try
from ingress_sip.signalling.dialog import DialogId, via_of
from ingress_sip.signalling.errors import IgnoredError, LocalProtocolError, SipError
from ingress_sip.signalling.events import AskAnswered, ByeReceived, Event, InfoReceived
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.incoming import Incoming
from ingress_sip.signalling.inspection import SDP, inspect
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import MalformedRequestError, parse_datagram
from ingress_sip.signalling.referral import EVENT, Referral
from ingress_sip.signalling.reliable import Reliability
from ingress_sip.signalling.renewal import Renewal
from ingress_sip.signalling.replies import (
    build_malformed_response,
    build_response,
    note_source,
)
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase, Session
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.signalling.sessions import ALLOW, SUPPORTED, HeaderItems, Identity, Sessions
from ingress_sip.signalling.timers import TimerQueue, Timing
from ingress_sip.signalling.transaction import (
    Input,
    Origin,
    Outgoing,
    Surroundings,
    Timer,
    TimerName,
    TransactionKey,
    key_of,
)
from ingress_sip.signalling.transactions import Transactions
from ingress_sip.signalling.uri import SipUri

RFC_TIMING = Timing()
RFC_TIMERS = TimerPolicy()
#: What an INFO may carry: keys, as Cisco's phones began to send them.
KEYS = ("application/dtmf-relay", "application/dtmf")


class Policy(Protocol):
    """Who may ask what outside of dialogs; asked before anything is kept of the request."""

    def admit(self, request: Request, source: Hop, now: float) -> None:
        """Raises SipError with the refusal (401, 403, ...), IgnoredError for no answer at all."""
        ...

    def screen(self, invite: Request, source: Hop, now: float) -> object:
        """Take an admitted INVITE, or raise SipError where it cannot become a call.

        What is returned comes with the event, as `admitted`.
        """
        ...

    def register(self, request: Request, source: Hop, now: float) -> HeaderItems | None:
        """The header fields of the 200 to an admitted REGISTER; None: there is no registrar here.

        Raises SipError.
        """
        ...


class Anybody:
    """Everybody may call, and nobody registers."""

    def admit(self, request: Request, source: Hop, now: float) -> None:
        """Let it in."""

    def screen(self, invite: Request, source: Hop, now: float) -> object:
        """Take it."""

    def register(self, request: Request, source: Hop, now: float) -> HeaderItems | None:  # noqa: ARG002
        return None


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
        self._tag_key = tokens().encode()[:32]
        self._policy: Policy = policy or Anybody()
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
        self._incoming = Incoming(self._sessions, self._policy.screen, self._reliability)
        self._calling = Calling(self._sessions)
        self._renewal = Renewal(self._sessions)
        self._referral = Referral(self._sessions)
        self._numbers = count(1)
        self._handlers: dict[str, Callable[[Request, Hop, float], None]] = {
            "INVITE": self._incoming.on_invite,
            "BYE": self._bye,
            "CANCEL": self._cancel,
            "OPTIONS": self._options,
            "REGISTER": self._register,
            "INFO": self._info,
            "PRACK": self._prack,
            "UPDATE": self._renewal.on_update,
            "REFER": self._referral.on_refer,
            "NOTIFY": self._referral.on_notify,
        }

    # Bytes and time in, bytes and events out

    def receive(self, data: bytes, source: Hop, now: float) -> None:
        """Take one message: a datagram, or what a stream's framing cut out. Never raises for it."""
        try:
            message = parse_datagram(data)
        except MalformedRequestError as error:
            self._refuse_malformed(error, source)
        except SipError:
            pass  # nobody to answer, or nothing to say it to
        else:
            if isinstance(message, Request):
                self._receive_request(message, source, now)
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
            case Timer.CANCELLED:
                self._calling.on_cancelled(session)
            case Timer.REFRESH:
                self._renewal.on_refresh(session, now)
            case Timer.RETRY:
                self._renewal.on_retry(session)
            case _:
                self._incoming.stop_all(session)
                self._renewal.on_expired(session, now)

    def _transaction_timer(self, key: TransactionKey, timer: Timer, now: float) -> None:
        if timer is Timer.EXPIRES:
            self._incoming.on_expired(key, now)
            return
        ended = self._transactions.on_timer(key, timer, now)
        if ended is None:
            return
        if timer in (Timer.B, Timer.C, Timer.F):
            self._clients.on_timeout(ended, now)
        self._clients.forget(key)

    # Calls. False: there is nothing to act on any more; an event has said or will say so.

    def call(self, ask: Ask, now: float) -> DialogId:
        """Call somebody: an INVITE whose body is our offer. CallAnswered or CallRefused follows.

        The dialog's id names the call from now on, though it says nothing of the other side yet.
        """
        return self._calling.call(ask, now)

    def ring(self, dialog: DialogId, now: float, status: int = 180, body: bytes = b"") -> bool:
        """Send a provisional response (101 to 199); `body` is SDP for early media.

        Where the caller asks for it, it is sent until it is acknowledged (RFC 3262).
        """
        session = self._sessions.get(dialog)
        return session is not None and self._incoming.ring(session, status, body, now)

    def accept(self, dialog: DialogId, sdp: bytes, now: float) -> bool:
        """Answer an INVITE or re-INVITE with 200, resent until its ACK; or an UPDATE.

        `sdp` is the answer, or our offer where the INVITE had none. Use the new session only
        when this returns True.
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
        if session is None or session.phase is not Phase.CONFIRMED:
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
        tag = identity.tokens()
        contact = identity.contact_for(ask.hops[0])
        call_id = ask.call_id or f"{identity.tokens()}@{contact.host}"
        cseqs = count(ask.cseq or 1)
        names_contact = any(name.lower() in ("contact", "m") for name, _ in ask.headers)

        def write(attempt: Try) -> Request:
            reach = identity.contact_for(attempt.hop)
            fields = (
                ("Via", via_of(reach, attempt.hop.transport, attempt.branch)),
                ("Max-Forwards", "70"),
                ("From", str(ask.from_.tagged(tag))),
                ("To", str(ask.to)),
                ("Call-ID", call_id),
                ("CSeq", f"{next(cseqs)} {ask.method}"),
                *(() if names_contact else (("Contact", f"<{reach}>"),)),
                identity.user_agent,
                *ask.headers,
            )
            return Request(ask.method, ask.uri, headers=Headers(fields), body=ask.body)

        def answered(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            self._events.append(AskAnswered(number, response))

        self._clients.send(write, ask.hops, answered, now, digest=ask.digest)
        return number

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

    # Dispatch

    def _receive_request(self, request: Request, source: Hop, now: float) -> None:
        request = replace(request, headers=note_source(request.headers, source))
        if request.method == "ACK":
            self._receive_ack(request, now)
            return
        transaction = self._transactions.server(key_of(request))
        if transaction is not None:
            transaction.step(Input.REQUEST, now)
            return
        try:
            if request.to.tag is None and request.method != "CANCEL":
                self._policy.admit(request, source, now)
            inspect(request, ALLOW, SUPPORTED, taken=("REGISTER",))
            self._handle(request, source, now)
        except IgnoredError:
            pass
        except SipError as error:
            self._reply(request, source, error.status, error.headers, reason=error.reason)

    def _receive_ack(self, request: Request, now: float) -> None:
        invite = self._transactions.server(key_of(request, "INVITE"))
        if invite is not None and invite.step(Input.ACK, now):
            return  # 17.2.1: it was for a failure
        if request.to.tag != self._stateless_tag(request.headers):  # nor for a stateless one
            self._incoming.on_ack(request, now)

    def _handle(self, request: Request, source: Hop, now: float) -> None:
        in_dialog = request.to.tag is not None and request.method != "CANCEL"
        if in_dialog and self._sessions.find(request) is None:
            raise SipError(481, "Call/Transaction Does Not Exist")  # 12.2.2
        self._handlers[request.method](request, source, now)

    def _options(self, request: Request, source: Hop, now: float) -> None:  # noqa: ARG002
        if request.to.tag is None:
            self._incoming.check_open()  # 11.2: the status that an INVITE would get
        self._reply(request, source, 200, self._abilities())

    def _register(self, request: Request, source: Hop, now: float) -> None:
        fields = self._policy.register(request, source, now)
        if fields is None:
            raise SipError(405, "Method Not Allowed", [("Allow", ", ".join(ALLOW))])
        self._reply(request, source, 200, (*fields, self._identity.server))

    def _cancel(self, request: Request, source: Hop, now: float) -> None:
        invite = self._transactions.server(key_of(request, "INVITE"))
        if not isinstance(invite, InviteServer):
            raise SipError(481, "Call/Transaction Does Not Exist")  # 9.2
        to_tag = self._incoming.on_cancel(request, invite, now)
        self._reply(request, source, 200, to_tag=to_tag)

    def _bye(self, request: Request, source: Hop, now: float) -> None:
        """15.1.2. Raises SipError(481) for a BYE of no dialog."""
        session = self._in_call(request, source)
        self._take(request, source, 200, now)
        if session.phase is Phase.ENDING:
            return  # both hung up at once; our own BYE ends it
        self._incoming.refuse_pending(session, 487, now)
        self._incoming.forget(session)
        self._events.append(ByeReceived(session.name, request.headers.get("Reason")))

    def _info(self, request: Request, source: Hop, now: float) -> None:
        """RFC 6086 section 4.2.2: packages are refused by name, old-style bodies by their type."""
        if "Info-Package" in request.headers:
            raise SipError(469, "Bad Info Package", [("Recv-Info", "")])
        kind = request.content_type or ""
        if request.body and kind not in KEYS:
            raise SipError(415, "Unsupported Media Type", [("Accept", ", ".join(KEYS))])
        session = self._in_call(request, source)
        self._take(request, source, 200, now)
        if request.body:
            self._events.append(InfoReceived(session.name, kind, request.body))

    def _prack(self, request: Request, source: Hop, now: float) -> None:
        """RFC 3262 section 3."""
        session = self._in_call(request, source)
        self._reliability.on_prack(session, request)
        self._take(request, source, 200, now)

    def _in_call(self, request: Request, source: Hop) -> Session:
        session = self._sessions.find(request)
        if session is None:
            raise SipError(481, "Call/Transaction Does Not Exist")
        dialog = self._sessions.dialog_of(session, request)
        assert dialog is not None
        dialog.receive(request, source)
        return session

    def _take(self, request: Request, source: Hop, status: int, now: float) -> None:
        """Answer what has an effect, so that its repetition has none."""
        destination = response_destination(request.via, source)
        transaction = self._transactions.accept_request(request, destination)
        transaction.respond(build_response(request, status), now)

    def _abilities(self) -> HeaderItems:
        """11.2: what an OPTIONS wants to know."""
        return (
            ("Allow", ", ".join(ALLOW)),
            ("Accept", ", ".join((SDP, *KEYS))),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en"),
            ("Supported", ", ".join(SUPPORTED)),
            ("Allow-Events", EVENT),
            self._identity.server,
        )

    # Stateless answers

    def _reply(
        self,
        request: Request,
        source: Hop,
        status: int,
        headers: Iterable[tuple[str, str]] = (),
        *,
        reason: str | None = None,
        to_tag: str | None = None,
    ) -> None:
        tag = to_tag or self._stateless_tag(request.headers)
        response = build_response(request, status, to_tag=tag, reason=reason, headers=headers)
        destination = response_destination(request.via, source)
        self._outbox.append(Outgoing(response.encode(), destination))

    def _refuse_malformed(self, error: MalformedRequestError, source: Hop) -> None:
        tag = self._stateless_tag(error.request_headers)
        try:
            response = build_malformed_response(error, error.request_headers, source, tag)
        except SipError:
            return  # not even the way back can be read
        destination = response_destination(response.via, source)
        self._outbox.append(Outgoing(response.encode(), destination))

    def _stateless_tag(self, headers: Headers) -> str:
        number = (headers.get("CSeq") or "").partition(" ")[0]  # an ACK has its INVITE's
        named = "\0".join((headers.get("From") or "", headers.get("Call-ID") or "", number))
        text = named.encode("utf-8", "surrogateescape")
        return hashlib.blake2s(text, key=self._tag_key, digest_size=8).hexdigest()
