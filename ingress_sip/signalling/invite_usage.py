"""Calls: what INVITE, ACK, CANCEL and BYE do to sessions (RFC 3261 sections 9, 13, 14, 15)."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from ingress_sip.signalling.dialog import Dialog, DialogId, contact_of
from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.events import (
    AckReceived,
    AckTimedOut,
    ByeAnswered,
    ByeReceived,
    Event,
    InviteCancelled,
    InviteReceived,
    ReinviteReceived,
)
from ingress_sip.signalling.fields import MAGIC_COOKIE
from ingress_sip.signalling.inspection import SDP, sdp_of
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Message, Request
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase, Session, Unacknowledged
from ingress_sip.signalling.transaction import (
    Origin,
    Surroundings,
    Timer,
    TransactionKey,
    first_value,
)
from ingress_sip.signalling.transactions import Transactions
from ingress_sip.signalling.uri import SipUri

HeaderItems = tuple[tuple[str, str], ...]

# 16.6 timer C: proxies give up on an unanswered INVITE after three minutes, and so do we.
ANSWER_WITHIN = 180.0
RETRY_AFTER = ("Retry-After", "5")
# A lost ACK or two may be overtaken by re-INVITEs (RFC 5407 3.1.4); more of them are a storm, each
# of whose 2xx would be resent for 32 s.
MOST_UNACKNOWLEDGED = 4


class InviteUsage:
    """All sessions of one core. Requests come in checked; refusals go out as SipError."""

    def __init__(
        self,
        transactions: Transactions,
        surroundings: Surroundings,
        events: deque[Event],
        *,
        contact_for: Callable[[Hop], SipUri],
        tokens: Callable[[], str],
        screen: Callable[[Request], None],
        identity: HeaderItems,
        product: str,
    ) -> None:
        self.draining = False
        self._transactions = transactions
        self._surroundings = surroundings
        self._events = events
        self._contact_for = contact_for
        self._tokens = tokens
        self._screen = screen
        self._identity = identity  # on each response that forms or changes a dialog
        self._user_agent = ("User-Agent", product)
        self._sessions: dict[DialogId, Session] = {}
        self._pending: dict[TransactionKey, Session] = {}  # INVITEs not finally answered
        self._unacknowledged: dict[Origin, Unacknowledged] = {}
        self._byes: dict[TransactionKey, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def has_dialog(self, request: Request) -> bool:
        return _dialog_id(request) in self._sessions

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
        self._screen(request)
        dialog = Dialog.from_invite(request, source, self._tokens(), self._contact_for(source))
        session = Session(dialog, self._take_invite(request, source, now))
        self._sessions[dialog.id] = session
        self._await_answer(session, request, now)
        self._events.append(InviteReceived(dialog.id, request, source, sdp_of(request)))

    def _on_reinvite(self, request: Request, source: Hop, now: float) -> None:
        session = self._sessions[_dialog_id(request)]
        if self._transactions.full:
            raise SipError(503, "Service Unavailable", [RETRY_AFTER])
        if session.phase is Phase.ENDING:
            raise SipError(481, "Call/Transaction Does Not Exist")
        if session.invite is not None or len(session.unacknowledged) >= MOST_UNACKNOWLEDGED:
            # 14.2: a second INVITE before the first is answered; try again in 0 to 10 s.
            wait = hashlib.blake2s(self._tokens().encode(), digest_size=1).digest()[0] % 11
            raise SipError(500, "Request Pending", [("Retry-After", str(wait))])
        if any(self._unacknowledged[origin].offered for origin in session.unacknowledged):
            raise SipError(491, "Request Pending")  # our own offer still waits for its answer
        if self._transactions.is_merged(request):
            # 12.2.1.1: numbers go up. An ACK would not say which of the two it is for.
            raise SipError(500, "CSeq Out of Order")
        session.dialog.receive(request, source)
        session.invite = self._take_invite(request, source, now)
        self._await_answer(session, request, now)
        self._events.append(ReinviteReceived(session.dialog.id, request, sdp_of(request)))

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

    def on_ack(self, request: Request, now: float) -> None:
        """An ACK for a 2xx. By Call-ID, From tag and CSeq: pyVoIP makes up a To tag."""
        waiting = self._unacknowledged.get(Origin.of(request))
        if waiting is None:
            return
        session = waiting.session
        self._stop_resending(Origin.of(request))
        if session.phase is Phase.ANSWERED:
            session.phase = Phase.CONFIRMED
        if session.held_bye is None:
            body = sdp_of(request) if waiting.offered else b""
            self._events.append(AckReceived(session.dialog.id, body))
        elif not session.unacknowledged:
            self._send_bye(session, session.held_bye, now)

    def on_cancel(self, request: Request, invite: InviteServer, now: float) -> str | None:
        """9.2. Returns the To tag for the CANCEL's own 200, None when any will do."""
        session = self._pending.get(invite.key)
        if session is None:
            return None
        initial = session.phase is Phase.EARLY
        self._refuse_pending(session, 487, now)
        if initial:
            self._forget(session)
            reason = request.headers.get("Reason") or "cancelled"
            self._events.append(InviteCancelled(session.dialog.id, reason))
        return session.dialog.id.local_tag

    def on_bye(self, request: Request, source: Hop, now: float) -> None:
        """15.1.2. Raises SipError(481) for a BYE of no dialog."""
        session = self._sessions.get(_dialog_id(request))
        if session is None:
            raise SipError(481, "Call/Transaction Does Not Exist")
        session.dialog.receive(request, source)
        destination = response_destination(request.via, source)
        transaction = self._transactions.accept_request(request, destination)
        transaction.respond(build_response(request, 200), now)
        if session.phase is Phase.ENDING:
            return  # both hung up at once; our own BYE ends it
        self._refuse_pending(session, 487, now)
        self._forget(session)
        self._events.append(ByeReceived(session.dialog.id, request.headers.get("Reason")))

    def on_bye_answered(self, key: TransactionKey, status: int) -> None:
        session = self._byes.pop(key)
        self._forget(session)
        self._events.append(ByeAnswered(session.dialog.id, status))

    # What time does

    def on_expired(self, key: TransactionKey, now: float) -> None:
        """Nobody answered the INVITE (13.3.1)."""
        session = self._pending[key]
        initial = session.phase is Phase.EARLY
        self._refuse_pending(session, 487, now)
        if initial:
            self._forget(session)
            self._events.append(InviteCancelled(session.dialog.id, "expired"))

    def on_resend(self, origin: Origin, now: float) -> None:
        """13.3.1.4: the 2xx again, at T1, 2*T1, ... up to T2."""
        waiting = self._unacknowledged[origin]
        waiting.invite.repeat_success(now)
        waiting.pause = min(2 * waiting.pause, self._surroundings.timing.t2)
        self._surroundings.timers.set((origin, Timer.RESEND_2XX), now + waiting.pause)

    def on_ack_timeout(self, origin: Origin, now: float) -> None:
        """13.3.1.4: 64*T1 without an ACK: the dialog is confirmed, but the session ends."""
        session = self._unacknowledged[origin].session
        self._events.append(AckTimedOut(session.dialog.id))
        self._refuse_pending(session, 487, now)
        self._send_bye(session, (("Reason", 'SIP;cause=408;text="No ACK"'),), now)

    # What the user does

    def ring(self, dialog: DialogId, status: int, body: bytes, now: float) -> bool:
        if not 101 <= status <= 199:
            raise LocalProtocolError(f"{status} is not a provisional status")
        session = self._sessions.get(dialog)
        if session is None or session.invite is None:
            return False
        self._answer(session, session.invite, status, body, now)
        return True

    def accept(self, dialog: DialogId, body: bytes, now: float) -> bool:
        if not body:
            raise LocalProtocolError("a 2xx to an INVITE carries an answer or an offer (13.3.1.4)")
        session = self._sessions.get(dialog)
        if session is None or session.invite is None:
            return False
        invite = session.invite
        session.dialog.remote_target = contact_of(invite.request)  # 12.2.2: target refresh
        self._close_pending(session, invite)
        self._answer(session, invite, 200, body, now)
        if session.phase is Phase.EARLY:
            session.phase = Phase.ANSWERED
        self._resend_until_ack(session, invite, now)
        return True

    def reject(
        self, dialog: DialogId, status: int, reason: str | None, headers: HeaderItems, now: float
    ) -> bool:
        if not 300 <= status <= 699:
            raise LocalProtocolError(f"{status} does not reject an INVITE")
        session = self._sessions.get(dialog)
        if session is None or session.invite is None:
            return False
        self._refuse_pending(session, status, now, reason, headers)
        if session.phase is Phase.EARLY:
            self._forget(session)
        return True

    def hang_up(self, dialog: DialogId, reason: str | None, now: float) -> bool:
        session = self._sessions.get(dialog)
        if session is None or session.phase is Phase.ENDING or session.held_bye is not None:
            return False
        if session.phase is Phase.EARLY:
            # 15: a callee ends an early dialog by refusing the INVITE; it may not send BYE.
            return self.reject(dialog, 480, None, (), now)
        extra: HeaderItems = () if reason is None else (("Reason", reason),)
        self._refuse_pending(session, 487, now)
        if session.unacknowledged:
            # 15: no BYE from the callee before the ACK is here, or the wait for it is over.
            session.held_bye = extra
        else:
            self._send_bye(session, extra, now)
        return True

    # Shared steps

    def _answer(
        self, session: Session, invite: InviteServer, status: int, body: bytes, now: float
    ) -> None:
        content = (("Content-Type", SDP),) if body else ()
        headers = (
            *(("Record-Route", v) for v in invite.request.headers.get_all("Record-Route")),
            ("Contact", f"<{session.dialog.contact}>"),
            *self._identity,
            *content,
        )
        tag = session.dialog.id.local_tag
        response = build_response(invite.request, status, to_tag=tag, headers=headers, body=body)
        invite.respond(response, now)

    def _refuse_pending(
        self,
        session: Session,
        status: int,
        now: float,
        reason: str | None = None,
        headers: HeaderItems = (),
    ) -> None:
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

    def _resend_until_ack(self, session: Session, invite: InviteServer, now: float) -> None:
        origin = Origin.of(invite.request)
        timing, timers = self._surroundings.timing, self._surroundings.timers
        session.unacknowledged.add(origin)
        self._unacknowledged[origin] = Unacknowledged(
            session, invite, pause=timing.t1, offered=not sdp_of(invite.request)
        )
        for timer in (Timer.RESEND_2XX, Timer.ACK_TIMEOUT):
            timers.set((origin, timer), now + first_value(timer, timing))

    def _stop_resending(self, origin: Origin) -> None:
        self._unacknowledged.pop(origin).session.unacknowledged.discard(origin)
        for timer in (Timer.RESEND_2XX, Timer.ACK_TIMEOUT):
            self._surroundings.timers.cancel((origin, timer))

    def _send_bye(self, session: Session, extra: HeaderItems, now: float) -> None:
        for origin in tuple(session.unacknowledged):
            self._stop_resending(origin)
        session.phase = Phase.ENDING
        branch = MAGIC_COOKIE + self._tokens()
        bye, destination = session.dialog.request("BYE", branch, (self._user_agent, *extra))
        self._byes[self._transactions.send_request(bye, destination, now).key] = session

    def _forget(self, session: Session) -> None:
        for origin in tuple(session.unacknowledged):
            self._stop_resending(origin)
        self._sessions.pop(session.dialog.id, None)


def _dialog_id(request: Message) -> DialogId:
    return DialogId(request.call_id, request.to.tag or "", request.from_.tag or "")
