"""Our own calls, until they are answered (RFC 3261 sections 9.1, 13.2; RFC 3262 section 4)."""

from __future__ import annotations

from typing import Final

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.clients import Try
from ingress_sip.signalling.dialog import Dialog, DialogId, via_of
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.events import CallAnswered, CallProgress, CallRefused
from ingress_sip.signalling.grammar import parse_digits
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.inspection import SDP, sdp_of
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.reliable import OPTION
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.session import Outward, Phase, Session
from ingress_sip.signalling.session_timer import answered, asking, least_asked
from ingress_sip.signalling.sessions import HeaderItems, Sessions
from ingress_sip.signalling.transaction import Timer

#: A proxy may ask so many phones at once; what is told of more is not followed.
_MOST_FORKS: Final = 16


class Calling:
    """The INVITEs that we send outside of dialogs."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def call(self, ask: Ask, now: float) -> DialogId:
        """Send the INVITE; its body is our offer."""
        identity = self._sessions.identity
        contact = identity.contact_for(ask.hops[0])
        tag = identity.tokens()
        call_id = ask.call_id or f"{identity.tokens()}@{contact.host}"
        name = DialogId(call_id, tag, "")
        nobody_yet = Dialog(
            id=name, local=ask.from_.tagged(tag), remote=ask.to, contact=contact, route_set=(),
            remote_target=ask.uri, remote_cseq=-1, source=ask.hops[0], ours=True,
        )  # fmt: skip
        session = Session(name, nobody_yet, digest=ask.digest, description=ask.body)
        self._sessions.add(session)
        self._send(session, ask, now, least_timer=0)
        return name

    def _send(self, session: Session, ask: Ask, now: float, *, least_timer: int) -> None:
        identity, dialog = self._sessions.identity, session.dialog

        def write(attempt: Try) -> Request:
            dialog.local_cseq += 1
            dialog.contact = identity.contact_for(attempt.hop)
            fields = (
                ("Via", via_of(dialog.contact, attempt.hop.transport, attempt.branch)),
                ("Max-Forwards", "70"),
                ("From", str(dialog.local)),
                ("To", str(dialog.remote)),
                ("Call-ID", dialog.id.call_id),
                ("CSeq", f"{dialog.local_cseq} INVITE"),
                ("Contact", f"<{dialog.contact}>"),
                *identity.abilities,
                *asking(self._sessions.timers, least=least_timer),
                identity.user_agent,
                *ask.headers,
                *((("Content-Type", SDP),) if ask.body else ()),
            )
            return Request("INVITE", ask.uri, headers=Headers(fields), body=ask.body)

        def heard(request: Request, response: Response, source: Hop, at: float) -> None:
            if response.status < 300:
                self._answered(session, request, response, source, at)
            elif self._may_wait(session, response) and not least_timer:
                # RFC 4028 7.3: once more, with the interval that is asked for.
                self._send(session, ask, at, least_timer=least_asked(response))
            else:
                self._refused(session, response)

        def rang(request: Request, response: Response, source: Hop, at: float) -> None:
            self._rang(session, request, response, source, at)

        session.outward = Outward(
            self._sessions.clients.send(
                write, ask.hops, heard, now, digest=ask.digest, provisional=rang
            )
        )

    def _may_wait(self, session: Session, response: Response) -> bool:
        wanted = session.outward is not None and not session.outward.cancelled
        return wanted and response.status == 422 and least_asked(response) > 0

    def hang_up(self, session: Session, extra: HeaderItems, now: float) -> bool:
        """Cancel a call that was not answered; CallRefused follows."""
        outward = session.outward
        if outward is None or outward.cancelled:
            return False
        outward.cancelled = True
        # 9.1: an INVITE without an answer though it was cancelled is taken for cancelled.
        due = now + self._sessions.surroundings.timing.give_up
        self._sessions.set_timer(session, Timer.CANCELLED, due)
        outward.asked.cancel(extra, now)
        return True

    def on_cancelled(self, session: Session) -> None:
        """Nothing came of the INVITE, nor of its CANCEL."""
        if session.outward is not None:
            session.outward.asked.abandon()
        self._over(session, 487, "Request Terminated", Headers())

    def _rang(
        self, session: Session, request: Request, response: Response, source: Hop, now: float
    ) -> None:
        outward = session.outward
        if outward is None or self._sessions.get(session.name) is not session:
            return
        fork = self._fork(outward, session, request, response, source)
        if fork is not None and OPTION in response.tokens("Require"):
            if not self._is_next(outward, fork, response):
                return
            rack = f"{response.headers.get('RSeq')} {request.cseq.number} INVITE"
            self._sessions.ask(session, "PRACK", now, extra=(("RAck", rack),), dialog=fork)
        body = sdp_of(response)
        self._sessions.tell(CallProgress(session.name, response.status, response.reason, body))

    def _fork(
        self, outward: Outward, session: Session, request: Request, response: Response, source: Hop
    ) -> Dialog | None:
        """12.1.2: the early dialog that a provisional response belongs to."""
        tag = response.to.tag
        if not tag:
            return None
        fork = outward.forks.get(tag)
        if fork is None:
            if len(outward.forks) >= _MOST_FORKS:
                return None
            contact = session.dialog.contact
            try:
                fork = Dialog.from_response(request, response, source, contact)
            except SipError:
                return None
            outward.forks[tag] = fork
        fork.refresh_target(response)
        return fork

    def _is_next(self, outward: Outward, fork: Dialog, response: Response) -> bool:
        """RFC 3262 section 4: in order, each once; a wrong number is dropped, and comes again."""
        tag = fork.id.remote_tag
        try:
            rseq = parse_digits((response.headers.get("RSeq") or "").strip(), 2**32, "RSeq")
        except SipError:
            return False
        last = outward.rseq.get(tag)
        if last is not None and rseq != last + 1:
            return False
        outward.rseq[tag] = rseq
        return True

    def _answered(
        self, session: Session, request: Request, response: Response, source: Hop, now: float
    ) -> None:
        try:
            dialog = Dialog.from_response(request, response, source, session.dialog.contact)
        except SipError:
            return  # routes that cannot be read: it is not the answer of anybody we could reach
        outward = session.outward
        if outward is None or self._sessions.get(session.name) is not session:
            self._answered_again(session, dialog, request, now)
            return
        # 13.2.2.4: the route set is the 2xx's, the numbers go on.
        early = outward.forks.get(dialog.id.remote_tag)
        if early is not None:
            dialog.local_cseq = max(early.local_cseq, dialog.local_cseq)
            dialog.remote_cseq = early.remote_cseq
        session.dialog, session.outward = dialog, None
        self._sessions.stop_timer(session, Timer.CANCELLED)
        session.acks[request.cseq.number] = self._sessions.send_ack(dialog, request)
        if outward.cancelled:  # the 2xx crossed the CANCEL (9.1)
            self._sessions.tell(
                CallRefused(session.name, 487, "Request Terminated", response.headers)
            )
            self._sessions.hang_up(session, (), now)
            return
        session.phase = Phase.CONFIRMED
        session.learn(response)
        self._sessions.keep_alive(session, answered(response), now)
        self._sessions.tell(CallAnswered(session.name, sdp_of(response), source))

    def _answered_again(
        self, session: Session, dialog: Dialog, request: Request, now: float
    ) -> None:
        ack = session.acks.get(request.cseq.number)
        if ack is not None and dialog.id.remote_tag == session.dialog.id.remote_tag:
            self._sessions.resend(session.dialog, ack)  # our ACK was lost
            return
        # 13.2.2.4: another phone answered too. It is acknowledged, and let go.
        self._sessions.send_ack(dialog, request)
        self._sessions.ask(session, "BYE", now, dialog=dialog)

    def _refused(self, session: Session, response: Response) -> None:
        self._over(session, response.status, response.reason, response.headers)

    def _over(self, session: Session, status: int, reason: str, headers: Headers) -> None:
        if self._sessions.get(session.name) is session:
            self._sessions.forget(session)
            self._sessions.tell(CallRefused(session.name, status, reason, headers))
