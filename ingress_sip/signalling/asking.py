"""A request of ours outside any dialog, before it is one: what is asked, of whom, and as who."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ingress_sip.signalling.clients import Try
from ingress_sip.signalling.dialog import DialogId, via_of
from ingress_sip.signalling.digest import DigestClient
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.sessions import HeaderItems, Identity
from ingress_sip.signalling.uri import SipUri, Uri


@dataclass(frozen=True)
class Ask:
    """One question, answered by one final response.

    Who asks gets 408 when nobody answers and 503 when nothing can be sent (RFC 3261 8.1.3.1), as
    responses with the CSeq of the last request sent. Challenges are answered by `digest`, with a
    CSeq one higher each time (22.2).
    """

    method: str  # "REGISTER", "OPTIONS"
    uri: Uri  # the Request-URI
    to: NameAddr  # without a tag, like `from_`
    from_: NameAddr
    hops: tuple[Hop, ...]  # tried in this order: RFC 3263 4.3
    call_id: str | None = None  # None: a new one
    cseq: int | None = None
    # Contact is written by the core unless given; REGISTER adds Expires.
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    digest: DigestClient | None = None


def own_contact(identity: Identity, ask: Ask, hop: Hop) -> SipUri:
    """How we are reached for what we ask: under the name that we ask in (10.2.1)."""
    contact = identity.contact_for(hop)
    asker = ask.from_.uri
    return replace(contact, userinfo=asker.userinfo) if isinstance(asker, SipUri) else contact


def write_outside(
    ask: Ask,
    identity: Identity,
    name: DialogId,
    attempt: Try,
    cseq: int,
    *,
    extra: HeaderItems = (),
) -> Request:
    """RFC 3261 8.1.1: what `ask` becomes in one try, with the Call-ID and From tag of `name`."""
    contact = own_contact(identity, ask, attempt.hop)
    names_contact = any(field.lower() in ("contact", "m") for field, _ in ask.headers)
    headers = (
        ("Via", via_of(contact, attempt.hop.transport, attempt.branch)),
        ("Max-Forwards", "70"),
        ("From", str(ask.from_.tagged(name.local_tag))),
        ("To", str(ask.to)),
        ("Call-ID", name.call_id),
        ("CSeq", f"{cseq} {ask.method}"),
        *(() if names_contact else (("Contact", f"<{contact}>"),)),
        identity.user_agent,
        *ask.headers,
        *extra,
    )
    return Request(ask.method, ask.uri, headers=Headers(headers), body=ask.body)
