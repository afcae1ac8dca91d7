"""Provisional responses that arrive: 100rel and PRACK, as the callee (RFC 3262 section 3)."""

from __future__ import annotations

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.inspection import SDP, sdp_of
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.session import Reliable, Session
from ingress_sip.signalling.sessions import HeaderItems, Sessions
from ingress_sip.signalling.transaction import Input, Timer, first_value

OPTION = "100rel"


class Reliability:
    """The reliable provisional responses of one core; each session has at most one under way."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def wanted(self, invite: Request, body: bytes) -> bool:
        """Must it be acknowledged? Where that is required, or offered and SDP could be lost."""
        required = OPTION in invite.tokens("Require")
        return required or (bool(body) and OPTION in invite.tokens("Supported"))

    def ring(
        self, session: Session, headers: HeaderItems, status: int, body: bytes, now: float
    ) -> None:
        """Send one, and again until its PRACK; none while the one before it waits for that.

        13.2.1: an INVITE without an offer gets ours in the first reliable response. Without `body`
        nothing is sent then: the 200 will have it.
        """
        invite = session.invite
        assert invite is not None
        offered = bool(sdp_of(invite.request))
        if session.reliable is not None or not (offered or body):
            return
        session.rseq += 1
        fields = (
            *headers,
            ("Require", OPTION),
            ("RSeq", str(session.rseq)),
            *((("Content-Type", SDP),) if body else ()),
        )
        tag = session.dialog.id.local_tag
        response = build_response(invite.request, status, to_tag=tag, headers=fields, body=body)
        invite.respond(response, now)
        timing = self._sessions.surroundings.timing
        session.reliable = Reliable(session.rseq, invite, timing.t1)
        for timer in (Timer.RESEND_1XX, Timer.PRACK_TIMEOUT):
            self._sessions.set_timer(session, timer, now + first_value(timer, timing))

    def on_resend(self, session: Session, now: float) -> None:
        """Section 3: at T1, and then twice as long each time."""
        reliable = session.reliable
        if reliable is not None:
            reliable.invite.step(Input.REQUEST, now)  # as if the INVITE had come again
            reliable.pause *= 2
            self._sessions.set_timer(session, Timer.RESEND_1XX, now + reliable.pause)

    def on_prack(self, session: Session, request: Request) -> None:
        """A PRACK. Raises SipError(481) for what is none of the response under way."""
        reliable = session.reliable
        parts = (request.headers.get("RAck") or "").split()
        expected = None
        if reliable is not None:
            cseq = reliable.invite.request.cseq
            expected = [str(reliable.rseq), str(cseq.number), cseq.method]
        if len(parts) != 3:
            raise SipError(400, "Bad RAck")
        if parts != expected:
            raise SipError(481, "Call/Transaction Does Not Exist")
        self.stop(session)

    def stop(self, session: Session) -> None:
        """It has arrived, or a final response says more."""
        session.reliable = None
        for timer in (Timer.RESEND_1XX, Timer.PRACK_TIMEOUT):
            self._sessions.stop_timer(session, timer)
