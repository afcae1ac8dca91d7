"""Dialogs: who is talking to whom, by which route, in which order (RFC 3261 section 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.routing import Hop, Transport, request_destination
from ingress_sip.signalling.uri import SipUri, Uri


class DialogId(NamedTuple):
    """Names a dialog for its whole life (12); `remote_tag` is empty for an RFC 2543 peer."""

    call_id: str
    local_tag: str
    remote_tag: str


@dataclass
class Dialog:
    """One dialog that a peer's INVITE began. We are the UAS, and later either side asks."""

    id: DialogId
    local: NameAddr  # with our tag
    remote: NameAddr
    contact: SipUri  # how the peer reaches us
    route_set: tuple[NameAddr, ...]
    remote_target: Uri
    remote_cseq: int
    source: Hop  # where its last request came from
    local_cseq: int = 0  # the last number we used

    @classmethod
    def from_invite(cls, invite: Request, source: Hop, local_tag: str, contact: SipUri) -> Dialog:
        """12.1.1. Raises SipError(400) when the INVITE cannot form a dialog."""
        return cls(
            id=DialogId(invite.call_id, local_tag, invite.from_.tag or ""),
            local=invite.to.tagged(local_tag),
            remote=invite.from_,
            contact=contact,
            # 12.1.1: in the order of the INVITE, for the UAS.
            route_set=tuple(
                NameAddr.parse(value) for value in invite.headers.get_list("Record-Route")
            ),
            remote_target=contact_of(invite),
            remote_cseq=invite.cseq.number,
            source=source,
        )

    def receive(self, request: Request, source: Hop) -> None:
        """12.2.2: note an in-dialog request. Raises SipError(500) when it is out of order."""
        if request.cseq.number < self.remote_cseq:
            raise SipError(500, "CSeq Out of Order")
        self.remote_cseq = request.cseq.number
        self.source = source

    def request(
        self, method: str, branch: str, extra: tuple[tuple[str, str], ...] = ()
    ) -> tuple[Request, Hop]:
        """12.2.1.1: the next request of ours in this dialog, and where to send it."""
        self.local_cseq += 1
        uri, routes, next_hop = self._route()
        destination = request_destination(next_hop, self.source)
        via = via_of(self.contact, destination.transport, branch)
        headers = Headers(
            (
                ("Via", via),
                ("Max-Forwards", "70"),
                *(("Route", str(route)) for route in routes),
                ("From", str(self.local)),
                ("To", str(self.remote)),
                ("Call-ID", self.id.call_id),
                ("CSeq", f"{self.local_cseq} {method}"),
                *extra,
            )
        )
        return Request(method, uri, headers=headers), destination

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


def contact_of(request: Request) -> Uri:
    """Where the peer wants to be reached: the Contact of a dialog-forming request (12.1.1).

    RFC 2543 phones may leave it out; then it is the From (RFC 4475, 3.4.1). Raises SipError(400).
    """
    contact = request.contact or request.from_
    if not isinstance(contact.uri, SipUri):
        raise SipError(400, "Contact Is No SIP URI")
    return contact.uri
