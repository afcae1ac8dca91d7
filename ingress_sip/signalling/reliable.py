"""Provisional responses that arrive: 100rel and PRACK, as the callee (RFC 3262 section 3)."""

from __future__ import annotations

from collections.abc import Callable

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.inspection import SDP
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
        """Send one, and again until its PRACK."""
        invite = session.invite
        assert invite is not None
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
        session.reliable = Reliable(session.rseq, invite, bool(body), timing.t1)
        for timer in (Timer.RESEND_1XX, Timer.PRACK_TIMEOUT):
            self._sessions.set_timer(session, timer, now + first_value(timer, timing))

    def defer(self, session: Session, ring: Callable[[float], object]) -> bool:
        """Section 3: no other before the PRACK. True: `ring(now)` is done then, or what follows it.

        Unreliable ones wait too: their INVITE has one newest response, which is what is resent.
        """
        reliable = self._waiting(session)
        if reliable is not None and not reliable.answers:
            reliable.then = ring
        return reliable is not None

    def holds_answer(self, session: Session, accept: Callable[[float], object]) -> bool:
        """Section 3: no 2xx while SDP of ours may not have arrived. True: `accept(now)` follows."""
        reliable = self._waiting(session)
        if reliable is None or not reliable.described:
            return False
        reliable.then, reliable.answers = accept, True
        return True

    def on_resend(self, session: Session, now: float) -> None:
        """Section 3: at T1, and then twice as long each time."""
        reliable = session.reliable
        if reliable is not None:
            reliable.invite.step(Input.REQUEST, now)  # as if the INVITE had come again
            reliable.pause *= 2
            self._sessions.set_timer(session, Timer.RESEND_1XX, now + reliable.pause)

    def on_prack(self, session: Session, request: Request) -> Callable[[float], object] | None:
        """A PRACK; returns what waited for it. Raises SipError(481) for one of no response of ours.

        It may come after the final response, and is answered then too (section 3).
        """
        reliable = session.reliable
        said = (request.headers.get("RAck") or "").split()
        if len(said) != 3:
            raise SipError(400, "Bad RAck")
        if reliable is None or said != _rack_of(reliable):
            raise SipError(481, "Call/Transaction Does Not Exist")
        if reliable.described:
            session.agreed.add(session.dialog.id.remote_tag)
        self._stop_timers(session)
        session.reliable = None
        return reliable.then

    def settle(self, session: Session) -> None:
        """There is a final response: nothing is resent, and nothing waits for a PRACK any more."""
        self._stop_timers(session)
        if session.reliable is not None:
            session.reliable.then = None

    def _waiting(self, session: Session) -> Reliable | None:
        """The one that waits for its PRACK, if its INVITE waits for an answer."""
        reliable = session.reliable
        return reliable if reliable is not None and reliable.invite is session.invite else None

    def _stop_timers(self, session: Session) -> None:
        for timer in (Timer.RESEND_1XX, Timer.PRACK_TIMEOUT):
            self._sessions.stop_timer(session, timer)


def _rack_of(reliable: Reliable) -> list[str]:
    """Section 7.2: the numbers of the response and of its request, and the method."""
    cseq = reliable.invite.request.cseq
    return [str(reliable.rseq), str(cseq.number), cseq.method]
