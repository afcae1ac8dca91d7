"""Our own calls, until they are answered (RFC 3261 sections 9.1, 13.2; RFC 3262 section 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ingress_sip.signalling.asking import Ask, own_contact, write_outside
from ingress_sip.signalling.clients import Try
from ingress_sip.signalling.dialog import Dialog, DialogId
from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.events import CallAnswered, CallProgress, CallRefused
from ingress_sip.signalling.grammar import parse_digits
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.inspection import SDP, sdp_of
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.reliable import OPTION
from ingress_sip.signalling.replies import REASONS
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.session import Outward, Phase, Session
from ingress_sip.signalling.session_timer import answered, asking, least_asked
from ingress_sip.signalling.sessions import HeaderItems, Sessions
from ingress_sip.signalling.uri import SipUri

#: A proxy may ask so many phones at once; what is told of more is not followed.
_MOST_FORKS: Final = 16


class Calling:
    """The INVITEs that we send outside of dialogs."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def call(self, ask: Ask, now: float) -> DialogId:
        """Send the INVITE; its body is our offer."""
        if not ask.body:
            raise LocalProtocolError("an INVITE of ours carries an offer")
        identity = self._sessions.identity
        contact = own_contact(identity, ask, ask.hops[0])
        tag = identity.tokens()
        call_id = ask.call_id or f"{identity.tokens()}@{contact.host}"
        name = DialogId(call_id, tag, "")
        nobody_yet = Dialog(
            id=name, local=ask.from_.tagged(tag), remote=ask.to, contact=contact, route_set=(),
            remote_target=ask.uri, remote_cseq=-1, source=ask.hops[0],
            local_cseq=(ask.cseq or 1) - 1, ours=True,
        )  # fmt: skip
        session = Session(name, nobody_yet, digest=ask.digest, description=ask.body)
        self._sessions.add(session)
        self._send(session, ask, now, least_timer=0)
        return name

    def _send(self, session: Session, ask: Ask, now: float, *, least_timer: int) -> None:
        identity, dialog = self._sessions.identity, session.dialog
        extra = (
            *identity.abilities,
            *asking(self._sessions.timers, least=least_timer),
            ("Content-Type", SDP),
        )

        def write(attempt: Try) -> Request:
            dialog.local_cseq += attempt.is_new
            dialog.contact = own_contact(identity, ask, attempt.hop)
            return write_outside(
                ask, identity, session.name, attempt, dialog.local_cseq, extra=extra
            )

        def heard(request: Request, response: Response, source: Hop, at: float) -> None:
            if response.status < 300:
                self._answered(session, request, response, source, at)
            elif self._may_wait(session, response) and not least_timer:
                # RFC 4028 7.3: once more, with the interval that is asked for.
                self._send(session, ask, at, least_timer=least_asked(response))
            else:
                self._refused(session, response, at)

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
        outward.asked.cancel(extra, now)
        return True

    # What the other side says

    def _rang(
        self, session: Session, request: Request, response: Response, source: Hop, now: float
    ) -> None:
        outward = session.outward
        if outward is None:
            return
        fork = self._fork(session, request, response, source)
        body = sdp_of(response)
        if fork is not None and _is_reliable(response):
            rseq = self._next(outward, fork, response)
            if rseq is None:
                return
            if body:
                session.agreed.add(fork.id.remote_tag)
            rack = f"{rseq} {request.cseq.number} INVITE"
            self._sessions.ask(session, "PRACK", now, extra=(("RAck", rack),), dialog=fork)
        if not outward.cancelled:
            progress = CallProgress(session.name, response.status, response.reason, body)
            self._sessions.tell(progress)

    def _fork(
        self, session: Session, request: Request, response: Response, source: Hop
    ) -> Dialog | None:
        """12.1.2: the early dialog that a provisional response belongs to."""
        tag = response.to.tag
        if not tag:
            return None
        fork = session.forks.get(tag)
        if fork is None:
            if len(session.forks) >= _MOST_FORKS:
                return None
            try:
                fork = Dialog.from_response(request, response, source, session.dialog.contact)
            except SipError:
                return None
            session.forks[tag] = fork
        fork.refresh_target(response)
        return fork

    def _next(self, outward: Outward, fork: Dialog, response: Response) -> int | None:
        """RFC 3262 section 4: in order, each once; a wrong number is dropped, and comes again."""
        tag = fork.id.remote_tag
        try:
            rseq = parse_digits((response.headers.get("RSeq") or "").strip(), 2**32, "RSeq")
        except SipError:
            return None
        last = outward.rseq.get(tag)
        if last is not None and rseq != last + 1:
            return None
        outward.rseq[tag] = rseq
        return rseq

    def _answered(
        self, session: Session, request: Request, response: Response, source: Hop, now: float
    ) -> None:
        dialog, unreadable = _dialog_of(request, response, source, session.dialog.contact)
        # 13.2.2.4: the route set is the 2xx's, the numbers go on.
        if (early := session.forks.get(dialog.id.remote_tag)) is not None:
            dialog.local_cseq = max(early.local_cseq, dialog.local_cseq)
            dialog.remote_cseq = early.remote_cseq
        outward = session.outward
        if outward is None:
            self._answered_again(session, dialog, request, now)
            return
        session.dialog, session.outward = dialog, None
        self._acknowledge(session, dialog, request)
        if outward.cancelled:  # the 2xx crossed the CANCEL (9.1)
            self._let_go(session, 487, REASONS[487], response.headers, now)
        elif unreadable is not None:
            self._let_go(session, unreadable.status, unreadable.reason, response.headers, now)
        else:
            session.phase = Phase.CONFIRMED
            session.learn(response)
            self._sessions.keep_alive(session, answered(response), now)
            self._sessions.tell(CallAnswered(session.name, sdp_of(response), source))

    def _answered_again(
        self, session: Session, dialog: Dialog, request: Request, now: float
    ) -> None:
        ack = session.acks.get(dialog.id.remote_tag)
        if ack is not None:
            self._sessions.resend(dialog, ack)  # our ACK was lost
        elif len(session.acks) < _MOST_FORKS:
            # 13.2.2.4: another phone answered too. It is acknowledged, and let go.
            self._acknowledge(session, dialog, request)
            self._sessions.ask(session, "BYE", now, dialog=dialog)

    def _acknowledge(self, session: Session, dialog: Dialog, request: Request) -> None:
        session.acks[dialog.id.remote_tag] = self._sessions.send_ack(dialog, request)

    def _let_go(
        self, session: Session, status: int, reason: str, headers: Headers, now: float
    ) -> None:
        """13.2.2.4: answered, but not to be kept: BYE, once it is acknowledged."""
        self._sessions.tell(CallRefused(session.name, status, reason, headers))
        self._sessions.hang_up(session, (), now)

    def _refused(self, session: Session, response: Response, now: float) -> None:
        cancelled = session.outward is not None and session.outward.cancelled
        # 9.1: without an answer, though it was cancelled, it is taken for cancelled.
        status = 487 if cancelled and response.status == 408 else response.status
        reason = REASONS[487] if status == 487 else response.reason
        self._sessions.forget(session, now)
        self._sessions.tell(CallRefused(session.name, status, reason, response.headers))


def _is_reliable(response: Response) -> bool:
    try:
        return OPTION in response.tokens("Require")
    except SipError:
        return False


def _dialog_of(
    invite: Request, response: Response, source: Hop, contact: SipUri
) -> tuple[Dialog, SipError | None]:
    """The dialog of a 2xx; if its routes cannot be read, one that is good for an ACK and a BYE."""
    try:
        return Dialog.from_response(invite, response, source, contact), None
    except SipError as error:
        kept = Headers(item for item in response.headers if item[0] != "Record-Route")
        bare = replace(response, headers=kept)
        return Dialog.from_response(invite, bare, source, contact), error
