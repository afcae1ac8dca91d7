"""Responses built from the request they answer (RFC 3261 8.2.6)."""

from __future__ import annotations

from collections.abc import Iterable

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr, Via
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.routing import Hop

REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    469: "Bad Info Package",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
}

_MIRRORED = ("Via", "From", "To", "Call-ID", "CSeq")


def build_response(
    request: Request,
    status: int,
    *,
    to_tag: str | None = None,
    reason: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """Answer `request`, whose top Via already says where it was received from.

    `to_tag` is added where the To has none yet. Header fields are copied as the peer wrote them.
    """
    return _mirror(
        request.headers,
        status,
        reason=reason,
        to_tag=to_tag,
        extra=headers,
        body=body,
    )


def build_malformed_response(
    error: SipError, request_headers: Headers, source: Hop, to_tag: str
) -> Response:
    """Answer what could not be parsed, with what can be mirrored of it (RFC 4475, 3.3.1).

    Raises SipError without a Via that says who asks: an answer by no branch is for nobody.
    """
    try:
        headers = note_source(request_headers, source)
    except SipError:
        via = Via.salvage(request_headers.get("Via") or "")
        top = str(via.received_from(source.host, source.port))
        rest = (item for item in request_headers if item[0] != "Via")
        headers = Headers([("Via", top), *rest])
    return _mirror(
        headers,
        error.status,
        reason=error.reason,
        to_tag=to_tag,
        extra=error.headers,
    )


def note_source(headers: Headers, source: Hop) -> Headers:
    """`headers` with the datagram's source on the top Via (18.2.1). Raises SipError(400)."""
    vias = headers.get_list("Via")
    if not vias:
        raise SipError(400, "Missing Via")
    top = str(Via.parse(vias[0]).received_from(source.host, source.port))
    rest = ((name, value) for name, value in headers if name != "Via")
    return Headers([*(("Via", via) for via in (top, *vias[1:])), *rest])


def _mirror(
    request: Headers,
    status: int,
    *,
    reason: str | None,
    to_tag: str | None,
    extra: Iterable[tuple[str, str]],
    body: bytes = b"",
) -> Response:
    fields = [
        (name, value) for name in _MIRRORED for value in request.get_all(name)[: _limit(name)]
    ]
    if to_tag is not None:
        fields = [(n, _tag(v, to_tag) if n == "To" else v) for n, v in fields]
    if status == 100:
        fields += [("Timestamp", value) for value in request.get_all("Timestamp")[:1]]  # 8.2.6.1
    fields += extra
    return Response(
        status, reason or REASONS.get(status, "Unknown"), headers=Headers(fields), body=body
    )


def _limit(name: str) -> int | None:
    return None if name == "Via" else 1


def _tag(to: str, tag: str) -> str:
    try:
        return to if "tag" in NameAddr.parse(to).params else f"{to};tag={tag}"
    except SipError:
        return f"{to};tag={tag}"  # the To of a malformed request, sent back as it came
