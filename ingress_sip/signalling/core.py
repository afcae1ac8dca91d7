"""The SIP user agent, without I/O: messages and time in, messages and events out.

A shell around it is four lines: give it what the sockets read (`receive`), send what it
wants sent (`messages_to_send`), wake it when it asks (`next_timer`, `handle_timers`), and act on
what it says (`next_event`, then `ring`, `accept`, `reject`, `hang_up`). After any of these, empty
both queues and look at `next_timer` again. All times are seconds on one monotonic clock.

What needs no memory is answered without any (RFC 3261 8.2.7): OPTIONS and every refusal of a
request that has begun nothing, with a To tag derived from the request, so that a repetition gets
the same answer. A flood of them costs no transaction.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.events import Event
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.inspection import SDP, inspect
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.invite_usage import InviteUsage
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import MalformedRequestError, parse_datagram
from ingress_sip.signalling.replies import (
    build_malformed_response,
    build_response,
    note_source,
)
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.timers import TimerQueue, Timing
from ingress_sip.signalling.transaction import (
    Input,
    Origin,
    Outgoing,
    Surroundings,
    Timer,
    TimerName,
    key_of,
    status_input,
)
from ingress_sip.signalling.transactions import Transactions
from ingress_sip.signalling.uri import SipUri

ALLOW = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS")
SUPPORTED: tuple[str, ...] = ()  # option tags; their absence is said with an empty field

RFC_TIMING = Timing()


class SipCore:
    """One user agent, on any number of sockets and connections.

    `contact_for` says by which URI the peer at an address reaches us; `tokens` gives unguessable
    strings of token characters, for tags and branches; `user_agent` goes into Server and
    User-Agent. `screen(invite)` raises SipError for an INVITE outside dialogs that is to be refused
    at once, without a trace. With `max_transactions` alive, new INVITEs get 503.
    """

    def __init__(
        self,
        *,
        contact_for: Callable[[Hop], SipUri],
        tokens: Callable[[], str],
        user_agent: str,
        screen: Callable[[Request], None] = lambda _: None,
        max_transactions: int = 10_000,
        timing: Timing = RFC_TIMING,
    ) -> None:
        self._outbox: deque[Outgoing] = deque()
        self._events: deque[Event] = deque()
        self._timers: TimerQueue[TimerName] = TimerQueue()
        self._tag_key = tokens().encode()[:32]
        surroundings = Surroundings(timing, self._timers, self._outbox)
        self._transactions = Transactions(surroundings, max_transactions)
        self._server = ("Server", user_agent)
        self._invites = InviteUsage(
            self._transactions,
            surroundings,
            self._events,
            contact_for=contact_for,
            tokens=tokens,
            screen=screen,
            identity=(("Allow", ", ".join(ALLOW)), self._server),
            product=user_agent,
        )
        self._handlers: dict[str, Callable[[Request, Hop, float], None]] = {
            "INVITE": self._invites.on_invite,
            "BYE": self._invites.on_bye,
            "CANCEL": self._cancel,
            "OPTIONS": self._options,
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
                self._receive_response(message, now)

    def messages_to_send(self) -> list[Outgoing]:
        """Everything to send now, in order; each is handed out once."""
        outgoing = list(self._outbox)
        self._outbox.clear()
        return outgoing

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
            if isinstance(key, Origin):
                if timer is Timer.RESEND_2XX:
                    self._invites.on_resend(key, now)
                else:
                    self._invites.on_ack_timeout(key, now)
            elif timer is Timer.EXPIRES:
                self._invites.on_expired(key, now)
            elif self._transactions.on_timer(key, timer, now) is not None:
                self._invites.on_bye_answered(key, 408)  # 8.1.3.1: a timeout is taken for a 408

    # Actions. False: there is nothing to act on any more; an event has said or will say so.

    def ring(self, dialog: DialogId, now: float, status: int = 180, body: bytes = b"") -> bool:
        """Send a provisional response (101 to 199); `body` is SDP for early media."""
        return self._invites.ring(dialog, status, body, now)

    def accept(self, dialog: DialogId, sdp: bytes, now: float) -> bool:
        """Answer an INVITE or re-INVITE with 200, resent until its ACK.

        `sdp` is the answer, or our offer where the INVITE had none. Use the new session only
        when this returns True.
        """
        return self._invites.accept(dialog, sdp, now)

    def reject(
        self,
        dialog: DialogId,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> bool:
        """Refuse an INVITE (the call is over) or a re-INVITE (the session stays as it was)."""
        return self._invites.reject(dialog, status, reason, tuple(headers), now)

    def hang_up(self, dialog: DialogId, now: float, reason: str | None = None) -> bool:
        """End a call, whatever its state.

        An accepted one gets BYE, held back until the ACK where that is still out; ByeAnswered
        follows, or ByeReceived when the peer was faster. One that was not accepted yet is refused
        with 480, and no event follows. `reason` is the BYE's Reason value, e.g. `Q.850;cause=16`
        (RFC 3326).
        """
        return self._invites.hang_up(dialog, reason, now)

    @property
    def draining(self) -> bool:
        """While True, new calls get 503 with Retry-After; those that are here go on."""
        return self._invites.draining

    @draining.setter
    def draining(self, value: bool) -> None:
        self._invites.draining = value

    @property
    def live_dialogs(self) -> int:
        return len(self._invites)

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
            inspect(request, ALLOW, SUPPORTED)
            self._handle(request, source, now)
        except SipError as error:
            self._reply(request, source, error.status, error.headers, reason=error.reason)

    def _receive_ack(self, request: Request, now: float) -> None:
        invite = self._transactions.server(key_of(request, "INVITE"))
        if invite is not None and invite.step(Input.ACK, now):
            return  # 17.2.1: it was for a failure
        if request.to.tag != self._stateless_tag(request.headers):  # nor for a stateless one
            self._invites.on_ack(request, now)

    def _handle(self, request: Request, source: Hop, now: float) -> None:
        in_dialog = request.to.tag is not None and request.method != "CANCEL"
        if in_dialog and not self._invites.has_dialog(request):
            raise SipError(481, "Call/Transaction Does Not Exist")  # 12.2.2
        self._handlers[request.method](request, source, now)

    def _options(self, request: Request, source: Hop, now: float) -> None:  # noqa: ARG002
        if request.to.tag is None:
            self._invites.check_open()  # 11.2: the status that an INVITE would get
        self._reply(request, source, 200, self._abilities())

    def _cancel(self, request: Request, source: Hop, now: float) -> None:
        invite = self._transactions.server(key_of(request, "INVITE"))
        if not isinstance(invite, InviteServer):
            raise SipError(481, "Call/Transaction Does Not Exist")  # 9.2
        to_tag = self._invites.on_cancel(request, invite, now)
        self._reply(request, source, 200, to_tag=to_tag)

    def _abilities(self) -> tuple[tuple[str, str], ...]:
        """11.2: what an OPTIONS wants to know."""
        return (
            ("Allow", ", ".join(ALLOW)),
            ("Accept", SDP),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en"),
            ("Supported", ", ".join(SUPPORTED)),
            self._server,
        )

    def _receive_response(self, response: Response, now: float) -> None:
        client = self._transactions.client_for(response)
        if client is None:
            return  # an answer to nothing we asked, or a late one
        unanswered = not client.answered
        client.step(status_input(response.status), now)
        if unanswered and client.answered:
            self._invites.on_bye_answered(client.key, response.status)

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
