"""The peer's INVITEs: what they, their ACKs and CANCELs do (RFC 3261 sections 9, 13.3, 14.2)."""

from __future__ import annotations

from typing import Final

from ingress_sip.signalling.dialog import Dialog, DialogId, contact_of
from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.events import (
    AckReceived,
    AckTimedOut,
    InviteCancelled,
    InviteReceived,
    ReinviteReceived,
)
from ingress_sip.signalling.inspection import SDP, sdp_of, size_of
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parameters import Parameters
from ingress_sip.signalling.policy import Policy
from ingress_sip.signalling.reliable import Reliability
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase, Session, Unacknowledged
from ingress_sip.signalling.session_timer import answering
from ingress_sip.signalling.sessions import HeaderItems, Sessions
from ingress_sip.signalling.transaction import Origin, Timer, TransactionKey, first_value

# 16.6 timer C: proxies give up on an unanswered INVITE after three minutes, and so do we.
ANSWER_WITHIN: Final = 180.0
RETRY_AFTER: Final = ("Retry-After", "5")
# A lost ACK or two may be overtaken by re-INVITEs (RFC 5407 3.1.4); more of them are a storm, each
# of whose 2xx would be resent for 32 s.
MOST_UNACKNOWLEDGED: Final = 4


class Incoming:
    """INVITEs from outside. They come in checked; refusals go out as SipError."""

    def __init__(
        self,
        sessions: Sessions,
        policy: Policy,
        reliability: Reliability,
    ) -> None:
        self.draining = False
        self._sessions = sessions
        self._transactions = sessions.transactions
        self._surroundings = sessions.surroundings
        self._policy = policy
        self._reliability = reliability
        self._pending: dict[TransactionKey, Session] = {}  # INVITEs not finally answered
        self._unacknowledged: dict[Origin, Unacknowledged] = {}
        sessions.on_close(self._close)

    def check_open(self) -> None:
        """Raises SipError(503) when a new call would be refused."""
        if self.draining or self._transactions.full:
            raise SipError(503, "Service Unavailable", [RETRY_AFTER])

    # What the peer does

    def on_invite(self, request: Request, source: Hop, now: float) -> None:
        """An initial INVITE (13.3) or, with a To tag, a re-INVITE (14.2)."""
        if request.to.tag is not None:
            self._on_reinvite(request, source, now)
            return
        if self._transactions.is_merged(request):
            raise SipError(482, "Loop Detected")  # 8.2.2.2
        self.check_open()
        admitted = self._policy.screen(request, source, now)
        self._check_presence(request, source, admitted)
        answering(request, self._sessions.timers)  # 422 before anybody rings
        replaces = self._replaced(request)
        identity = self._sessions.identity
        dialog = Dialog.from_invite(
            request, source, identity.tokens(), identity.contact_for(source)
        )
        session = Session(dialog.id, dialog, self._take_invite(request, source, now))
        session.learn(request)
        self._sessions.add(session)
        self._await_answer(session, request, now)
        offer = sdp_of(request)
        self._sessions.tell(
            InviteReceived(session.name, request, source, offer, replaces, admitted)
        )

    def _check_presence(self, request: Request, source: Hop, admitted: object) -> None:
        """Raises SipError(503); its ACK shows that the source is there, and opens the way."""
        if source.transport.is_reliable or self._policy.trusts(source, admitted):
            return
        if not self._transactions.presence.may_begin(source.host, size_of(request)):
            raise SipError(503, "Service Unavailable", [RETRY_AFTER])

    def _replaced(self, request: Request) -> DialogId | None:
        """The call that this one is to take the place of (RFC 3891 section 3)."""
        values = request.headers.get_all("Replaces")
        if not values:
            return None
        if len(values) > 1:
            raise SipError(400, "Repeated Replaces")
        call_id, _, rest = values[0].partition(";")
        tags = Parameters.parse(rest)
        to_tag, from_tag = tags.get("to-tag"), tags.get("from-tag")
        if not to_tag or from_tag is None:
            raise SipError(400, "Bad Replaces")
        session = self._sessions.named(call_id.strip(), to_tag, from_tag)
        if session is None or session.phase is Phase.EARLY:
            # Nobody takes over what only rings: section 3 forbids it where the peer calls.
            raise SipError(481, "Call/Transaction Does Not Exist")
        if session.is_over:
            raise SipError(603, "Decline")
        if "early-only" in tags:
            raise SipError(486, "Busy Here")
        return session.name

    def _on_reinvite(self, request: Request, source: Hop, now: float) -> None:
        session = self._sessions.live(request)
        if self._transactions.full:
            raise SipError(503, "Service Unavailable", [RETRY_AFTER])
        busy = session.invite is not None or session.update is not None
        if busy or len(session.unacknowledged) >= MOST_UNACKNOWLEDGED:
            # 14.2: a second INVITE before the first is answered; try again in 0 to 10 s.
            wait = self._sessions.identity.below(11)
            raise SipError(500, "Request Pending", [("Retry-After", str(wait))])
        if session.outward is not None or session.offers(request.from_.tag or ""):
            raise SipError(491, "Request Pending")  # 14.2: our own INVITE or offer is out
        if self._transactions.is_merged(request):
            # 12.2.1.1: numbers go up. An ACK would not say which of the two it is for.
            raise SipError(500, "CSeq Out of Order")
        answering(request, self._sessions.timers)
        session.dialog.receive(request, source)
        session.learn(request)
        session.invite = self._take_invite(request, source, now)
        self._await_answer(session, request, now)
        self._sessions.tell(ReinviteReceived(session.name, request, sdp_of(request)))

    def _take_invite(self, request: Request, source: Hop, now: float) -> InviteServer:
        contact_of(request)  # 8.1.1.8: without one there is nothing to refresh the target with
        destination = response_destination(request.via, source)
        return self._transactions.accept_invite(request, destination, now)

    def _await_answer(self, session: Session, request: Request, now: float) -> None:
        assert session.invite is not None
        self._pending[session.invite.key] = session
        # 13.3.1: the invitation expires, with 487, when the peer says so or proxies would.
        expires = (request.headers.get("Expires") or "").strip()
        is_number = expires.isascii() and expires.isdigit() and len(expires) < 9
        seconds = int(expires) if is_number else ANSWER_WITHIN
        due = now + min(seconds, ANSWER_WITHIN)
        self._surroundings.timers.set((session.invite.key, Timer.EXPIRES), due)

    def on_ack(self, request: Request, source: Hop, now: float) -> None:
        """An ACK for a 2xx. By Call-ID, From tag and CSeq: pyVoIP makes up a To tag."""
        origin = Origin.of(request)
        waiting = self._unacknowledged.get(origin)
        if waiting is None:
            return
        session = waiting.session
        self._stop_resending(origin)
        is_proven = request.to.tag == session.dialog.id.local_tag
        if is_proven:
            session.dialog.vouched = True
            self._transactions.presence.show(source.host)
        if session.phase is Phase.ANSWERED:
            session.phase = Phase.CONFIRMED
        if session.held_bye is None:
            body = sdp_of(request) if waiting.offered else b""
            self._sessions.tell(AckReceived(session.name, body, is_proven))
        elif not session.unacknowledged:
            self._sessions.hang_up(session, session.held_bye, now)

    def on_cancel(self, request: Request, invite: InviteServer, now: float) -> None:
        """9.2. It has no effect on an INVITE that has its final answer."""
        session = self._pending.get(invite.key)
        if session is not None:
            self.give_up(session, request.headers.get("Reason") or "cancelled", now)

    # What time does

    def on_expired(self, key: TransactionKey, now: float) -> None:
        """Nobody answered the INVITE (13.3.1)."""
        self.give_up(self._pending[key], "expired", now)

    def give_up(self, session: Session, reason: str, now: float, status: int = 487) -> None:
        """Refuse what waits; if that is the call itself, it is over."""
        initial = session.phase is Phase.EARLY
        self.refuse_pending(session, status, now)
        if initial:
            self._sessions.forget(session, now)
            self._sessions.tell(InviteCancelled(session.name, reason))

    def on_resend(self, origin: Origin, now: float) -> None:
        """13.3.1.4: the 2xx again, at T1, 2*T1, ... up to T2."""
        waiting = self._unacknowledged[origin]
        waiting.invite.repeat_success(now)
        waiting.pause = min(2 * waiting.pause, self._surroundings.timing.t2)
        self._surroundings.timers.set((origin, Timer.RESEND_2XX), now + waiting.pause)

    def on_ack_timeout(self, origin: Origin, now: float) -> None:
        """13.3.1.4: 64*T1 without an ACK: the dialog is confirmed, but the session ends."""
        session = self._unacknowledged[origin].session
        self._sessions.tell(AckTimedOut(session.name))
        self._sessions.hang_up(session, (("Reason", 'SIP;cause=408;text="No ACK"'),), now)

    # What the user does

    def ring(self, session: Session, status: int, body: bytes, now: float) -> bool:
        if not 101 <= status <= 199:
            raise LocalProtocolError(f"{status} is not a provisional status")
        invite = session.invite
        if invite is None:
            return False
        if self._reliability.defer(session, lambda at: self.ring(session, status, body, at)):
            return True
        offered = bool(sdp_of(invite.request))
        # 13.2.1: our offer is for what arrives for certain: the 200.
        said = body if offered else b""
        if not self._reliability.wanted(invite.request, said):
            self._answer(session, invite, status, said, now)
        elif offered:
            fields = self._fields(session, invite)
            self._reliability.ring(session, fields, status, said, now)
        return True

    def accept(self, session: Session, body: bytes, now: float) -> bool:
        if not body:
            raise LocalProtocolError("a 2xx to an INVITE carries an answer or an offer (13.3.1.4)")
        if session.invite is None:
            return False
        if self._reliability.holds_answer(session, lambda at: self.accept(session, body, at)):
            return True
        invite = session.invite
        refresh, timer_fields = answering(invite.request, self._sessions.timers)
        session.dialog.refresh_target(invite.request)
        self._close_pending(session, invite)
        session.description = body
        self._answer(session, invite, 200, body, now, extra=timer_fields)
        if session.phase is Phase.EARLY:
            session.phase = Phase.ANSWERED
        self._sessions.keep_alive(session, refresh, now)
        self._resend_until_ack(session, invite, now)
        return True

    def reject(
        self, session: Session, status: int, reason: str | None, headers: HeaderItems, now: float
    ) -> bool:
        if session.invite is None:
            return False
        self.refuse_pending(session, status, now, reason, headers)
        if session.phase is Phase.EARLY:
            self._sessions.forget(session, now)
        return True

    def hang_up(self, session: Session, extra: HeaderItems, now: float) -> bool:
        if session.held_bye is not None:
            return False
        if session.phase is Phase.EARLY:
            # 15: a callee ends an early dialog by refusing the INVITE; it may not send BYE.
            return self.reject(session, 480, None, (), now)
        self.refuse_pending(session, 487, now)
        if session.unacknowledged:
            # 15: no BYE from the callee before the ACK is here, or the wait for it is over.
            session.held_bye = extra
        else:
            self._sessions.hang_up(session, extra, now)
        return True

    # Shared steps

    def _fields(self, session: Session, invite: InviteServer) -> HeaderItems:
        """What each response that forms or changes the dialog carries (12.1.1, 13.3.1)."""
        return (
            *(("Record-Route", v) for v in invite.request.headers.get_all("Record-Route")),
            ("Contact", f"<{session.dialog.contact}>"),
            *self._sessions.identity.abilities,
            self._sessions.identity.server,
        )

    def _answer(
        self,
        session: Session,
        invite: InviteServer,
        status: int,
        body: bytes,
        now: float,
        *,
        extra: HeaderItems = (),
    ) -> None:
        content = (("Content-Type", SDP),) if body else ()
        headers = (*self._fields(session, invite), *extra, *content)
        tag = session.dialog.id.local_tag
        response = build_response(invite.request, status, to_tag=tag, headers=headers, body=body)
        invite.respond(response, now)

    def refuse_pending(
        self,
        session: Session,
        status: int,
        now: float,
        reason: str | None = None,
        headers: HeaderItems = (),
    ) -> None:
        """Answer the INVITE that waits, if one does, with a failure."""
        invite = session.invite
        if invite is None:
            return
        self._close_pending(session, invite)
        tag = session.dialog.id.local_tag
        response = build_response(
            invite.request, status, to_tag=tag, reason=reason, headers=headers
        )
        invite.respond(response, now)

    def _close_pending(self, session: Session, invite: InviteServer) -> None:
        session.invite = None
        del self._pending[invite.key]
        self._surroundings.timers.cancel((invite.key, Timer.EXPIRES))
        self._reliability.settle(session)

    def _resend_until_ack(self, session: Session, invite: InviteServer, now: float) -> None:
        origin = Origin.of(invite.request)
        timing, timers = self._surroundings.timing, self._surroundings.timers
        waiting = Unacknowledged(
            session, invite, pause=timing.t1, offered=not sdp_of(invite.request)
        )
        session.unacknowledged[origin] = self._unacknowledged[origin] = waiting
        # Over TCP too: the ACK and the 2xx may cross proxies that lose them (13.3.1.4).
        for timer in (Timer.RESEND_2XX, Timer.ACK_TIMEOUT):
            timers.set((origin, timer), now + first_value(timer, timing))

    def _stop_resending(self, origin: Origin) -> None:
        del self._unacknowledged.pop(origin).session.unacknowledged[origin]
        for timer in (Timer.RESEND_2XX, Timer.ACK_TIMEOUT):
            self._surroundings.timers.cancel((origin, timer))

    def _close(self, session: Session, now: float) -> None:
        """15.1.2: what waits is answered, and nothing of the session is resent any more."""
        self.refuse_pending(session, 487, now)
        for origin in tuple(session.unacknowledged):
            self._stop_resending(origin)
