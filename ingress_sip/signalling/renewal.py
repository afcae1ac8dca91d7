"""Changes in a call: our re-INVITEs, the peer's UPDATEs, and the session timer that needs them.

RFC 3261 section 14, RFC 3311 (UPDATE), RFC 4028 section 10 (refreshes).
"""

from __future__ import annotations

from typing import Final

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.events import (
    ReinviteReceived,
    ReofferAnswered,
    ReofferDue,
    ReofferRefused,
)
from ingress_sip.signalling.inspection import SDP, sdp_of
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.non_invite_server import NonInviteServer
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase, Session
from ingress_sip.signalling.session_timer import answered, answering, asking, least_asked
from ingress_sip.signalling.sessions import HeaderItems, Sessions
from ingress_sip.signalling.transaction import Timer

#: A refresh that has to wait is tried again after so long, s.
_REFRESH_AGAIN_S: Final = 4.0
#: What says of UPDATE that it is not known there, whatever Allow said.
_UNKNOWN: Final = frozenset({405, 501})


class Renewal:
    """Renews the sessions of one core."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        sessions.on_close(self._close)

    # Ours

    def reoffer(self, session: Session, body: bytes, now: float) -> bool:
        """Send a re-INVITE with an offer; False while something else is under way."""
        if not self._is_quiet(session):
            return False
        self._reinvite(session, body, now, least=0, refreshing=False)
        return True

    def _is_quiet(self, session: Session) -> bool:
        busy = session.invite or session.update or session.renewing or session.unacknowledged
        return session.phase is Phase.CONFIRMED and not busy and not session.is_over

    def _reinvite(
        self, session: Session, body: bytes, now: float, *, least: int, refreshing: bool
    ) -> None:
        ack = b""

        def heard(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            nonlocal ack
            if response.status < 300:
                if ack:  # it was lost
                    self._sessions.resend(session.dialog, ack)
                    return
                session.dialog.refresh_target(response)
                ack = self._sessions.send_ack(session.dialog, request)
                self._taken(session, request, response, at)
                return
            session.renewing = None
            if session.phase is Phase.ENDING:
                return
            wanted = least_asked(response) if response.status == 422 and not least else 0
            if wanted and self._is_quiet(session):
                self._reinvite(session, body, at, least=wanted, refreshing=refreshing)
            elif response.status == 491:
                timer = Timer.REFRESH if refreshing else Timer.RETRY
                self._sessions.set_timer(session, timer, at + self._glare(session))
            elif refreshing:
                self._sessions.set_timer(session, Timer.REFRESH, at + _REFRESH_AGAIN_S)
            else:
                self._sessions.tell(ReofferRefused(session.name, response.status))

        extra = (*self._fields(session, least), ("Content-Type", SDP))
        session.renewing = self._sessions.ask(
            session, "INVITE", now, answered=heard, extra=extra, body=body
        )

    def _taken(self, session: Session, request: Request, response: Response, now: float) -> None:
        session.renewing = None
        if session.phase is Phase.ENDING:
            return
        session.description = request.body
        session.learn(response)
        self._sessions.keep_alive(session, answered(response), now)
        self._sessions.tell(ReofferAnswered(session.name, sdp_of(response)))

    def _glare(self, session: Session) -> float:
        """14.1: how long to wait after a 491, so that not both begin again at once, s."""
        below = self._sessions.identity.below
        return (210 + below(191)) / 100 if session.dialog.ours else below(201) / 100

    def on_retry(self, session: Session) -> None:
        self._sessions.tell(ReofferDue(session.name))

    def _fields(self, session: Session, least: int = 0) -> HeaderItems:
        timer = asking(self._sessions.timers, session.refresh, least)
        return (
            ("Contact", f"<{session.dialog.contact}>"),
            *self._sessions.identity.abilities,
            *timer,
        )

    # The session timer

    def on_refresh(self, session: Session, now: float) -> None:
        """It is on us to say that the session is alive."""
        if not self._is_quiet(session):
            self._sessions.set_timer(session, Timer.REFRESH, now + _REFRESH_AGAIN_S)
        elif "UPDATE" in session.allows:
            self._update(session, now, least=0)
        else:
            self._reinvite(session, session.description, now, least=0, refreshing=True)

    def _update(self, session: Session, now: float, *, least: int) -> None:
        def heard(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            if response.status < 300:
                session.dialog.refresh_target(response)
                self._sessions.keep_alive(session, answered(response), at)
            elif response.status == 422 and not least and least_asked(response):
                self._update(session, at, least=least_asked(response))
            elif response.status in _UNKNOWN:
                session.allows -= {"UPDATE"}
                self.on_refresh(session, at)
            else:
                self._sessions.set_timer(session, Timer.REFRESH, at + _REFRESH_AGAIN_S)

        extra = self._fields(session, least)
        self._sessions.ask(session, "UPDATE", now, answered=heard, extra=extra)

    def on_expired(self, session: Session, now: float) -> None:
        """Nobody said so in time (RFC 4028 section 10)."""
        self._sessions.lose(session, 408, now)

    # The peer's UPDATE

    def on_update(self, request: Request, source: Hop, now: float) -> None:
        """RFC 3311 section 5.2. Raises SipError."""
        session = self._sessions.live(request)
        offer, tag = sdp_of(request), request.from_.tag or ""
        if offer and session.owes_answer(tag):
            wait = self._sessions.identity.below(11)
            raise SipError(500, "Request Pending", [("Retry-After", str(wait))])
        if offer and session.offers(tag):
            raise SipError(491, "Request Pending")
        answering(request, self._sessions.timers)
        self._sessions.receive(session, request, source)
        session.learn(request)
        if offer:
            self.take_offer(session, request, source)
        else:
            self._agree(session, self._accept(request, source), b"", now)

    def take_offer(self, session: Session, request: Request, source: Hop) -> None:
        """An offer that is to be answered at once: of an UPDATE, or of a PRACK (RFC 3262 5)."""
        session.update = self._accept(request, source)
        self._sessions.tell(ReinviteReceived(session.name, request, sdp_of(request)))

    def _accept(self, request: Request, source: Hop) -> NonInviteServer:
        destination = response_destination(request.via, source)
        return self._sessions.transactions.accept_request(request, destination)

    def accept(self, session: Session, body: bytes, now: float) -> bool:
        """Answer the UPDATE with 200."""
        update, session.update = session.update, None
        assert update is not None
        self._agree(session, update, body, now)
        return True

    def _agree(self, session: Session, update: NonInviteServer, body: bytes, now: float) -> None:
        dialog = self._sessions.dialog_of(session, update.request) or session.dialog
        dialog.refresh_target(update.request)
        if body:
            session.description = body
        said: HeaderItems = ()
        if session.phase is not Phase.EARLY:  # before that the INVITE's 2xx settles it
            refresh, said = answering(update.request, self._sessions.timers)
            self._sessions.keep_alive(session, refresh, now)
        headers = (
            ("Contact", f"<{dialog.contact}>"),
            *self._sessions.identity.abilities,
            self._sessions.identity.server,
            *said,
            *((("Content-Type", SDP),) if body else ()),
        )
        update.respond(build_response(update.request, 200, headers=headers, body=body), now)

    def reject(self, session: Session, status: int, headers: HeaderItems, now: float) -> bool:
        """Refuse the UPDATE: the session stays as it was."""
        update, session.update = session.update, None
        assert update is not None
        update.respond(build_response(update.request, status, headers=headers), now)
        return True

    def _close(self, session: Session, now: float) -> None:
        """15.1.2: who asked is answered; and what we asked is asked no more."""
        if session.update is not None:
            self.reject(session, 487, (), now)
        if session.renewing is not None:
            session.renewing.cancel((), now)
