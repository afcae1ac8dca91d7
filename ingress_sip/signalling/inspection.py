"""What a UAS checks before it does anything: RFC 3261 8.2.1 to 8.2.3, in the RFC's order."""

from __future__ import annotations

from collections.abc import Collection

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.message import Message, Request
from ingress_sip.signalling.uri import OtherUri

SDP = "application/sdp"

# The IANA registry. 405 says "not here", 501 says "never heard of it" (8.2.1, 21.5.2).
# fmt: off
KNOWN_METHODS = frozenset({
    "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH",
    "REFER", "REGISTER", "SUBSCRIBE", "UPDATE",
})
# fmt: on


def inspect(
    request: Request,
    allow: Collection[str],
    supported: Collection[str],
    taken: Collection[str] = (),
) -> None:
    """Raises SipError with the refusal and its header fields; ACK and CANCEL always pass.

    Methods of `taken` pass too, though they are not in what we say that we allow.
    """
    if request.method not in taken:
        _check_method(request, allow)
    if request.method in ("ACK", "CANCEL"):
        return  # 8.2.2.3: a Require in them is ignored; there is nothing else to refuse
    if isinstance(request.uri, OtherUri):
        raise SipError(416, "Unsupported URI Scheme")
    _check_extensions(request, supported)
    if request.method == "INVITE":
        _check_content(request)
        _check_accept(request)


def sdp_of(message: Message) -> bytes:
    """The body, if it is SDP: phones are known to leave the Content-Type out."""
    return message.body if message.content_type in (None, SDP) else b""


def size_of(message: Message) -> int:
    """About how many octets it holds, in fields and body."""
    return len(message.body) + sum(len(name) + len(value) for name, value in message.headers)


def _check_method(request: Request, allow: Collection[str]) -> None:
    if request.method in allow:
        return
    allowed = [("Allow", ", ".join(allow))]
    if request.method in KNOWN_METHODS:
        raise SipError(405, "Method Not Allowed", allowed)
    raise SipError(501, "Not Implemented", allowed)


def _check_extensions(request: Request, supported: Collection[str]) -> None:
    missing = [tag for tag in request.tokens("Require") if tag not in supported]
    if missing:
        raise SipError(420, "Bad Extension", [("Unsupported", ", ".join(missing))])


def _check_content(request: Request) -> None:
    if not request.body:
        return
    disposition = (request.headers.get("Content-Disposition") or "").lower().replace(" ", "")
    if "handling=optional" in disposition:
        return
    if request.content_type not in (None, SDP):
        raise SipError(415, "Unsupported Media Type", [("Accept", SDP)])
    encoding = (request.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise SipError(415, "Unsupported Media Type", [("Accept-Encoding", "identity")])


def _check_accept(request: Request) -> None:
    """20.1: an INVITE is answered with SDP, unless its Accept leaves that out.

    An empty Accept would leave out everything; phones that send one do not mean it.
    """
    ranges = request.headers.get_list("Accept")
    kinds = {kind.partition(";")[0].strip().lower() for kind in ranges}
    if kinds and not kinds & {SDP, "application/*", "*/*"}:
        warning = f'399 trunkline "Answers are {SDP}"'  # RFC 4475, 3.3.15
        raise SipError(406, "Not Acceptable", [("Warning", warning)])
