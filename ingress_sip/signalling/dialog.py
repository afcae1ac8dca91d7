"""Dialogs: who is talking to whom, by which route, in which order (RFC 3261 section 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Message, Request, Response
from ingress_sip.signalling.routing import Hop, Transport, request_destination
from ingress_sip.signalling.uri import SipUri, Uri


class DialogId(NamedTuple):
    """Names a dialog for its whole life (12); `remote_tag` is empty for an RFC 2543 peer."""

    call_id: str
    local_tag: str
    remote_tag: str


@dataclass
class Dialog:
    """One dialog: begun by a peer's INVITE (we are its UAS) or by ours. Later either side asks."""

    id: DialogId
    local: NameAddr  # with our tag
    remote: NameAddr
    contact: SipUri  # how the peer reaches us
    route_set: tuple[NameAddr, ...]
    remote_target: Uri
    remote_cseq: int  # -1: it has not asked for anything yet
    source: Hop  # where it was last heard from
    local_cseq: int = 0  # the last number we used
    ours: bool = False  # we began it, and own its Call-ID
    #: The peer has told us our tag: it is where the source says, and may name another place.
    vouched: bool = False

    @classmethod
    def from_invite(cls, invite: Request, source: Hop, local_tag: str, contact: SipUri) -> Dialog:
        """12.1.1. Raises SipError(400) when the INVITE cannot form a dialog."""
        return cls(
            id=DialogId(invite.call_id, local_tag, invite.from_.tag or ""),
            local=invite.to.tagged(local_tag),
            remote=invite.from_,
            contact=contact,
            # 12.1.1: in the order of the INVITE, for the UAS.
            route_set=_recorded(invite),
            remote_target=contact_of(invite),
            remote_cseq=invite.cseq.number,
            source=source,
        )

    @classmethod
    def from_response(
        cls, invite: Request, response: Response, source: Hop, contact: SipUri
    ) -> Dialog:
        """12.1.2: the dialog that a response to our INVITE makes, early or not.

        A Contact that is missing or unusable leaves the target where the INVITE went. Raises
        SipError for routes that cannot be read.
        """
        return cls(
            id=DialogId(invite.call_id, invite.from_.tag or "", response.to.tag or ""),
            local=invite.from_,
            remote=response.to,
            contact=contact,
            route_set=tuple(reversed(_recorded(response))),
            remote_target=_target_of(response) or invite.uri,
            remote_cseq=-1,
            source=source,
            local_cseq=invite.cseq.number,
            ours=True,
            vouched=True,
        )

    def receive(self, request: Request, source: Hop) -> None:
        """12.2.2: note an in-dialog request. Raises SipError(500) when it is out of order."""
        if request.cseq.number < self.remote_cseq:
            raise SipError(500, "CSeq Out of Order")
        self.remote_cseq = request.cseq.number
        self.source = source
        self.vouched = True

    def refresh_target(self, message: Message) -> None:
        """12.2.1.2, 12.2.2: a re-INVITE, an UPDATE or the answer to one moves the target.

        One that cannot be read or reached leaves it.
        """
        self.remote_target = _target_of(message) or self.remote_target

    @property
    def next_hop(self) -> Hop:
        """Where requests in the dialog go.

        Until the peer has shown that it had our answer, to whom that went and to nobody else: an
        INVITE in another's name, with the Contact of a third, must not make us call on either.
        """
        if not self.vouched:
            return self.source
        return request_destination(self._route()[2], self.source)

    def request(
        self,
        method: str,
        branch: str,
        extra: tuple[tuple[str, str], ...] = (),
        *,
        body: bytes = b"",
        cseq: int | None = None,
        hop: Hop | None = None,
    ) -> Request:
        """12.2.1.1: the next request of ours in this dialog, sent to `hop` or to the `next_hop`.

        `cseq` is the INVITE's for an ACK (13.2.2.4), or that of the same request by another
        transport; any other request gets the next number.
        """
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes, _ = self._route()
        headers = Headers(
            (
                ("Via", via_of(self.contact, (hop or self.next_hop).transport, branch)),
                ("Max-Forwards", "70"),
                *(("Route", str(route)) for route in routes),
                ("From", str(self.local)),
                ("To", str(self.remote)),
                ("Call-ID", self.id.call_id),
                ("CSeq", f"{cseq} {method}"),
                *extra,
            )
        )
        return Request(method, uri, headers=headers, body=body)

    def _route(self) -> tuple[Uri, tuple[NameAddr, ...], Uri]:
        """Request-URI, Route values, next hop."""
        if not self.route_set:
            return self.remote_target, (), self.remote_target
        first = self.route_set[0].uri
        if isinstance(first, SipUri) and "lr" in first.params:
            return self.remote_target, self.route_set, first
        # 12.2.1.1: a strict router takes the Request-URI; the remote target goes last.
        return first, (*self.route_set[1:], NameAddr(self.remote_target)), first


def via_of(contact: SipUri, transport: Transport, branch: str) -> str:
    """The Via of a request of ours (8.1.1.7), with rport (RFC 3581 section 3)."""
    host, port = contact.host, contact.address[1]
    return f"SIP/2.0/{transport.upper()} {host}:{port};branch={branch};rport"


def _recorded(message: Message) -> tuple[NameAddr, ...]:
    return tuple(NameAddr.parse(value) for value in message.headers.get_list("Record-Route"))


def _target_of(message: Message) -> SipUri | None:
    try:
        contact = message.contact
    except SipError:
        return None
    return contact.uri if contact and isinstance(contact.uri, SipUri) else None


def contact_of(request: Request) -> Uri:
    """Where the peer wants to be reached: the Contact of a dialog-forming request (12.1.1).

    RFC 2543 phones may leave it out; then it is the From (RFC 4475, 3.4.1). Raises SipError(400).
    """
    contact = request.contact or request.from_
    if not isinstance(contact.uri, SipUri):
        raise SipError(400, "Contact Is No SIP URI")
    return contact.uri
