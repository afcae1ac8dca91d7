"""Requests from outside: what each is about, who may ask it, and what needs no memory to answer.

What begins nothing is answered without a transaction (RFC 3261 8.2.7): OPTIONS and every refusal,
with a To tag derived from the request, so that a repetition gets the same answer. A flood of them
costs no memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from ingress_sip.signalling.calling import Calling
from ingress_sip.signalling.errors import IgnoredError, SipError
from ingress_sip.signalling.events import ByeReceived, InfoReceived
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.incoming import RETRY_AFTER, Incoming
from ingress_sip.signalling.inspection import SDP, inspect, sdp_of, size_of
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import MalformedRequestError
from ingress_sip.signalling.policy import Policy
from ingress_sip.signalling.referral import EVENT, Referral
from ingress_sip.signalling.reliable import Reliability
from ingress_sip.signalling.renewal import Renewal
from ingress_sip.signalling.replies import build_malformed_response, build_response, note_source
from ingress_sip.signalling.routing import Hop, response_destination
from ingress_sip.signalling.session import Phase
from ingress_sip.signalling.sessions import ALLOW, SUPPORTED, HeaderItems, Sessions
from ingress_sip.signalling.transaction import Input, Outgoing, key_of

#: What an INFO may carry: keys, as Cisco's phones began to send them.
KEYS: Final = ("application/dtmf-relay", "application/dtmf")

#: What no call needs; a request is held as long as its transaction. Fields and body, octets.
MOST_HELD: Final = 16_384
#: What holds a transaction for 32 s (timer J). Not the PRACK of what is there, nor the BYE: they
#: let go of more than they take.
_HOLDING: Final = frozenset({"INFO", "UPDATE", "REFER", "NOTIFY", "REGISTER"})


class Reception:
    """Takes requests in, and hands each to what it is about."""

    def __init__(
        self,
        sessions: Sessions,
        policy: Policy,
        tag_key: bytes,
        *,
        incoming: Incoming,
        calling: Calling,
        reliability: Reliability,
        renewal: Renewal,
        referral: Referral,
    ) -> None:
        self._sessions = sessions
        self._transactions = sessions.transactions
        self._policy = policy
        self._tag_key = tag_key
        self._incoming = incoming
        self._calling = calling
        self._reliability = reliability
        self._renewal = renewal
        self._handlers: dict[str, Callable[[Request, Hop, float], None]] = {
            "INVITE": incoming.on_invite,
            "BYE": self._bye,
            "CANCEL": self._cancel,
            "OPTIONS": self._options,
            "REGISTER": self._register,
            "INFO": self._info,
            "PRACK": self._prack,
            "UPDATE": renewal.on_update,
            "REFER": referral.on_refer,
            "NOTIFY": referral.on_notify,
        }

    def receive(self, request: Request, source: Hop, now: float) -> None:
        """Take a request that could be parsed. Raises SipError for a way back that cannot be."""
        request = replace(request, headers=note_source(request.headers, source))
        if request.method == "ACK":
            self._receive_ack(request, source, now)
            return
        transaction = self._transactions.server(key_of(request))
        if transaction is not None:
            transaction.step(Input.REQUEST, now)
            return
        try:
            if not self._is_known(request, source):
                self._policy.admit(request, source, now)
            inspect(request, ALLOW, SUPPORTED, taken=("REGISTER",))
            self._handle(request, source, now)
        except IgnoredError:
            pass
        except SipError as error:
            self._reply(request, source, error.status, error.headers, reason=error.reason)

    def _receive_ack(self, request: Request, source: Hop, now: float) -> None:
        invite = self._transactions.server(key_of(request, "INVITE"))
        if invite is not None and invite.step(Input.ACK, now):
            # 17.2.1: it was for a failure
            if isinstance(invite, InviteServer) and request.to.tag == invite.to_tag:
                self._transactions.presence.show(source.host)
        elif request.to.tag == self._stateless_tag(request.headers):  # for a stateless one
            self._transactions.presence.show(source.host)
        else:
            self._incoming.on_ack(request, source, now)

    def _is_known(self, request: Request, source: Hop) -> bool:
        """Is it about a call that is here?"""
        if request.method == "CANCEL":
            return self._cancelled(request, source) is not None
        return request.to.tag is not None and self._sessions.find(request) is not None

    def _handle(self, request: Request, source: Hop, now: float) -> None:
        in_dialog = request.to.tag is not None and request.method != "CANCEL"
        if in_dialog and self._sessions.find(request) is None:
            raise SipError(481, "Call/Transaction Does Not Exist")  # 12.2.2
        if in_dialog:
            self._transactions.presence.show(source.host)
        if size_of(request) > MOST_HELD:
            raise SipError(513, "Message Too Large")
        if request.method in _HOLDING and self._transactions.full:
            raise SipError(503, "Service Unavailable", [RETRY_AFTER])
        self._handlers[request.method](request, source, now)

    # Outside of calls

    def _options(self, request: Request, source: Hop, now: float) -> None:  # noqa: ARG002
        session = self._sessions.find(request)
        if session is None:
            self._incoming.check_open()  # 11.2: the status that an INVITE would get
        else:
            self._sessions.receive(session, request, source)
        self._reply(request, source, 200, self._abilities())

    def _abilities(self) -> HeaderItems:
        """11.2: what an OPTIONS wants to know."""
        return (
            ("Allow", ", ".join(ALLOW)),
            ("Accept", ", ".join((SDP, *KEYS))),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en"),
            ("Supported", ", ".join(SUPPORTED)),
            ("Allow-Events", EVENT),
            self._sessions.identity.server,
        )

    def _register(self, request: Request, source: Hop, now: float) -> None:
        fields = self._policy.register(request, source, now)
        if fields is None:
            raise SipError(405, "Method Not Allowed", [("Allow", ", ".join(ALLOW))])
        # It has had its effect, and used up its nonce count: its repetition is not to do so again.
        self._sessions.take(
            request, source, 200, now, headers=(*fields, self._sessions.identity.server)
        )

    # In calls

    def _cancel(self, request: Request, source: Hop, now: float) -> None:
        invite = self._cancelled(request, source)
        if invite is None:
            raise SipError(481, "Call/Transaction Does Not Exist")  # 9.2
        self._incoming.on_cancel(request, invite, now)
        self._reply(request, source, 200, to_tag=invite.to_tag)  # 9.2: the INVITE's

    def _cancelled(self, request: Request, source: Hop) -> InviteServer | None:
        """The INVITE that a CANCEL means.

        9.1: it takes the INVITE's way, hop by hop, so it comes from the INVITE's host; the port may
        change, behind NAT or with a new connection.
        """
        invite = self._transactions.server(key_of(request, "INVITE"))
        if isinstance(invite, InviteServer) and invite.host == source.host:
            return invite
        return None

    def _bye(self, request: Request, source: Hop, now: float) -> None:
        """15.1.2. Raises SipError(481) for a BYE of no dialog."""
        session = self._sessions.find(request)
        if session is None:
            raise SipError(481, "Call/Transaction Does Not Exist")
        self._sessions.receive(session, request, source)
        if session.is_over and self._transactions.full:
            self._reply(request, source, 200)  # one BYE is always taken; a flood of them is not
        else:
            self._sessions.take(request, source, 200, now)
        if session.phase is Phase.ENDING:
            return  # both hung up at once; our own BYE ends it
        if session.outward is not None:
            # 15: a callee may not, before it answers. Our INVITE is still out: it says the end.
            self._calling.hang_up(session, (), now)
            return
        self._sessions.forget(session, now)
        self._sessions.tell(ByeReceived(session.name, request.headers.get("Reason")))

    def _info(self, request: Request, source: Hop, now: float) -> None:
        """RFC 6086 section 4.2.2: packages are refused by name, old-style bodies by their type."""
        session = self._sessions.live(request)
        if "Info-Package" in request.headers:
            raise SipError(469, "Bad Info Package", [("Recv-Info", "")])
        kind = request.content_type or ""
        if request.body and kind not in KEYS:
            raise SipError(415, "Unsupported Media Type", [("Accept", ", ".join(KEYS))])
        self._sessions.receive(session, request, source)
        self._sessions.take(request, source, 200, now)
        if request.body:
            self._sessions.tell(InfoReceived(session.name, kind, request.body))

    def _prack(self, request: Request, source: Hop, now: float) -> None:
        """RFC 3262 sections 3 and 5."""
        session = self._sessions.live(request)
        self._sessions.receive(session, request, source)
        proceed = self._reliability.on_prack(session, request)
        if sdp_of(request) and session.update is None:
            self._renewal.take_offer(session, request, source)
        else:
            self._sessions.take(request, source, 200, now)
        if proceed is not None:
            proceed(now)

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
        self._send(response, source)

    def refuse_malformed(self, error: MalformedRequestError, source: Hop, now: float) -> None:
        """Answer what could not be parsed, if the way back can be read."""
        if not self._policy.hears(source, now):
            return
        tag = self._stateless_tag(error.request_headers)
        try:
            response = build_malformed_response(error, error.request_headers, source, tag)
        except SipError:
            return
        self._send(response, source)

    def _send(self, response: Response, source: Hop) -> None:
        destination = response_destination(response.via, source)
        self._sessions.surroundings.outbox.append(Outgoing(response.encode(), destination))

    def _stateless_tag(self, headers: Headers) -> str:
        number = (headers.get("CSeq") or "").partition(" ")[0]  # an ACK has its INVITE's
        named = "\0".join((headers.get("From") or "", headers.get("Call-ID") or "", number))
        text = named.encode("utf-8", "surrogateescape")
        return hashlib.blake2s(text, key=self._tag_key, digest_size=8).hexdigest()
