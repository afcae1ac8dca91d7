"""Transfers: REFER either way, and the NOTIFYs that tell how they go (RFC 3515, 3420, 5589).

A REFER makes a subscription of its own, to which NOTIFYs in the same dialog report. Its end is
told by the last of them, not by the answer to the REFER.
"""

from __future__ import annotations

import re
from typing import Final

from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.events import ReferAnswered, ReferReceived, TransferNotified
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.replies import REASONS, build_response
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase, Session
from ingress_sip.signalling.sessions import GONE, HeaderItems, Sessions

SIPFRAG: Final = "message/sipfrag;version=2.0"
EVENT: Final = "refer"
#: How long the subscription lives without a word, as NOTIFYs say it, s.
_EXPIRES_S: Final = 180
_STATUS_RE: Final = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*))?", re.I)


class Referral:
    """The transfers of one core's calls."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        sessions.on_close(self._close)

    # We ask

    def refer(self, session: Session, target: NameAddr, now: float) -> bool:
        """Ask the peer to call `target`; False where it cannot be asked now."""
        if session.phase is not Phase.CONFIRMED or session.referring or session.is_over:
            return False
        session.referring = True

        def answered(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            if response.status >= 300:
                session.referring = False
            self._sessions.tell(ReferAnswered(session.name, response.status, response.reason))

        extra = (
            ("Contact", f"<{session.dialog.contact}>"),
            ("Refer-To", str(target)),
            ("Referred-By", f"<{session.dialog.contact}>"),  # RFC 3892
        )
        self._sessions.ask(session, "REFER", now, answered=answered, extra=extra)
        return True

    def on_notify(self, request: Request, source: Hop, now: float) -> None:
        """RFC 3515 2.4.5. Raises SipError: 481 for what nobody subscribed to, 489 for its event."""
        session = self._sessions.find(request)
        if session is None:
            raise SipError(481, "Call/Transaction Does Not Exist")
        event = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
        if event != EVENT:
            raise SipError(489, "Bad Event", [("Allow-Events", EVENT)])
        if not session.referring:
            raise SipError(481, "Subscription Does Not Exist")
        self._sessions.receive(session, request, source)
        self._sessions.take(request, source, 200, now)
        found = _STATUS_RE.match(request.body.lstrip())
        state = (request.headers.get("Subscription-State") or "").partition(";")[0]
        status = int(found.group(1)) if found else 0
        # A final status is the end, whatever the state says: some forget to say it.
        ended = state.strip().lower() == "terminated" or status >= 200
        reason = (found.group(2) or b"").decode("utf-8", "replace")[:100] if found else ""
        if ended:
            session.referring = False
        if status or ended:
            self._sessions.tell(TransferNotified(session.name, status, reason, ended))

    # The peer asks

    def on_refer(self, request: Request, source: Hop, now: float) -> None:  # noqa: ARG002
        """RFC 3515 2.4.2. Raises SipError."""
        session = self._sessions.find(request) if request.to.tag else None
        if session is None or session.is_over or session.phase is Phase.EARLY:
            raise SipError(403, "Forbidden")  # only who is in a call with us may ask
        values = request.headers.get_list("Refer-To")
        if len(values) != 1:
            raise SipError(400, "One Refer-To")
        target = NameAddr.parse(values[0])
        if session.refer is not None or session.referred is not None:
            raise SipError(491, "Request Pending")
        self._sessions.receive(session, request, source)
        destination = response_destination(request.via, source)
        session.refer = self._sessions.transactions.accept_request(request, destination)
        self._sessions.tell(ReferReceived(session.name, target, request))

    def answer(self, session: Session, status: int, now: float) -> bool:
        """Answer the REFER: 202, or a failure. After a 202 `notify` tells how it goes."""
        if not 200 <= status <= 699:
            raise LocalProtocolError(f"{status} does not answer a REFER")
        refer, session.refer = session.refer, None
        if refer is None:
            return False
        fields: HeaderItems = (("Contact", f"<{session.dialog.contact}>"),)
        headers = (*fields, self._sessions.identity.server)
        refer.respond(build_response(refer.request, status, headers=headers), now)
        if status < 300:
            session.referred = refer.request.cseq.number
            self.notify(session, 100, REASONS[100], now)  # 2.4.4: at once
        return True

    def notify(self, session: Session, status: int, reason: str, now: float) -> bool:
        """Tell the peer how the call that it asked for goes; a final status ends the telling."""
        if session.referred is None or session.phase is Phase.ENDING:
            return False
        ended = status >= 200

        def heard(request: Request, response: Response, source: Hop, at: float) -> None:  # noqa: ARG001
            if response.status in GONE:  # RFC 6665 4.2.2: nobody listens any more
                session.referred = None

        state = "terminated;reason=noresource" if ended else f"active;expires={_EXPIRES_S}"
        extra = (
            ("Event", f"{EVENT};id={session.referred}"),
            ("Subscription-State", state),
            ("Contact", f"<{session.dialog.contact}>"),
            ("Content-Type", SIPFRAG),
        )
        body = f"SIP/2.0 {status} {reason}\r\n".encode("utf-8", "replace")
        self._sessions.ask(session, "NOTIFY", now, answered=heard, extra=extra, body=body)
        if ended:
            session.referred = None
        return True

    def _close(self, session: Session, now: float) -> None:
        """15.1.2: a REFER that waits is answered."""
        self.answer(session, 487, now)
