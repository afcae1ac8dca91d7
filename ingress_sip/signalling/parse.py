"""One datagram in, one message out (RFC 3261 section 7, 18.3, 25).

Liberal where phones are careless (bare LF, no Max-Forwards, an empty `Supported:`), strict where
two readers could see two messages (repeated Call-ID, wrong Content-Length, blanks in the start
line). Whatever the bytes are, nothing but SipError is raised.
"""

from __future__ import annotations

import re

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.grammar import TOKEN, parse_digits
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.inspection import KNOWN_METHODS
from ingress_sip.signalling.message import Message, Request, Response
from ingress_sip.signalling.uri import parse_uri

MAX_MESSAGE = 65_536  # octets; no UDP datagram is longer
MAX_LINE = 8_192  # characters, folds joined
MAX_FIELDS = 256

_HEAD_END_RE = re.compile(rb"\r?\n\r?\n")
_FIELD_RE = re.compile(rf"({TOKEN})[ \t]*:[ \t]*(.*)", re.DOTALL)
_REQUEST_LINE_RE = re.compile(rf"({TOKEN}) (\S+) SIP/([0-9]+\.[0-9]+)", re.I)
_STATUS_LINE_RE = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: (.*))?", re.I)
# RFC 3261 7.3.1: only list fields may be repeated; RFC 4475 3.3.8: two of these mean 400.
_SINGLE = ("Call-ID", "CSeq", "From", "To", "Max-Forwards", "Content-Length", "Content-Type")


class MalformedRequestError(SipError):
    """A request that cannot be taken, with whatever header fields could be read for the answer."""

    def __init__(self, error: SipError, headers: Headers) -> None:
        super().__init__(error.status, error.reason, error.headers)
        self.request_headers = headers


def parse_datagram(data: bytes) -> Request | Response | None:
    """Parse one datagram; None for a keep-alive (nothing but line ends, RFC 5626 section 3.5.1).

    Raises MalformedRequestError when the answer can be addressed (never for an ACK, which has no
    answer), and plain SipError when there is nobody to answer.
    """
    if len(data) > MAX_MESSAGE:
        raise SipError(513, "Message Too Large")
    data = data.lstrip(b"\r\n")  # 7.5: empty lines before the start line are ignored
    if not data:
        return None
    end = _HEAD_END_RE.search(data)
    if end is None:
        raise SipError(400, "No End of Header Fields")
    lines = _unfold(data[: end.start()].decode("utf-8", "surrogateescape"))
    start_line = lines[0]
    headers = _parse_fields(lines[1:])
    rest = data[end.end() :]
    if start_line[:4].upper() == "SIP/":
        return _parse_response(start_line, headers, rest)
    try:
        return _parse_request(start_line, headers, rest)
    except SipError as error:
        if start_line.split(maxsplit=1)[:1] == ["ACK"]:
            raise
        raise MalformedRequestError(error, headers) from error


def _unfold(head: str) -> list[str]:
    """7.3.1: a line that starts with white space continues the one before; a fold is a space."""
    pieces: list[list[str]] = []
    for raw in head.split("\n"):
        line = raw.removesuffix("\r")
        if "\r" in line:
            raise SipError(400, "Stray Carriage Return")
        if line[:1] not in (" ", "\t"):
            pieces.append([line])
        elif len(pieces) < 2:
            raise SipError(400, "Folded Start Line")
        else:
            pieces[-1].append(line.strip(" \t"))
    lines = [" ".join(piece) for piece in pieces]
    if any(len(line) > MAX_LINE for line in lines):
        raise SipError(400, "Line Too Long")
    return lines


def _parse_fields(lines: list[str]) -> Headers:
    if len(lines) > MAX_FIELDS:
        raise SipError(400, "Too Many Header Fields")
    fields = []
    for line in lines:
        match = _FIELD_RE.fullmatch(line)
        if match is None:
            raise SipError(400, "Bad Header Field")
        fields.append((match.group(1), match.group(2).rstrip(" \t")))
    return Headers(fields)


def _parse_request(start_line: str, headers: Headers, rest: bytes) -> Request:
    match = _REQUEST_LINE_RE.fullmatch(start_line)
    if match is None:
        raise SipError(400, "Bad Request Line")
    method, uri, version = match.groups()
    if version != "2.0":
        raise SipError(505, "Version Not Supported")
    _check_single(headers)
    request = Request(
        method, parse_uri(uri), headers=_without_length(headers), body=_body(headers, rest)
    )
    _check_mandatory(request)
    if request.cseq.method != method:  # 8.1.1.5
        if method not in KNOWN_METHODS:  # RFC 4475, 3.1.2.18: 501 "has better future-proof" ways
            raise SipError(501, "Not Implemented")
        raise SipError(400, "CSeq Method Mismatch")
    hops = request.headers.get("Max-Forwards")
    if hops is not None:
        parse_digits(hops.strip(), 2**31, "Max-Forwards")
    return request


def _parse_response(start_line: str, headers: Headers, rest: bytes) -> Response:
    match = _STATUS_LINE_RE.fullmatch(start_line)
    if match is None:
        raise SipError(400, "Bad Status Line")
    _check_single(headers)
    response = Response(
        int(match.group(1)),
        match.group(2) or "",
        headers=_without_length(headers),
        body=_body(headers, rest),
    )
    _check_mandatory(response)
    return response


def _check_single(headers: Headers) -> None:
    for name in _SINGLE:
        if len(headers.get_all(name)) > 1:
            raise SipError(400, f"Repeated {name}")


def _check_mandatory(message: Message) -> None:
    """RFC 3261 8.1.1, less Max-Forwards, which RFC 2543 phones do not send."""
    if not message.call_id:
        raise SipError(400, "Missing Call-ID")
    _ = (message.via, message.from_, message.to, message.cseq)


def _without_length(headers: Headers) -> Headers:
    return Headers(item for item in headers if item[0] != "Content-Length")


def _body(headers: Headers, rest: bytes) -> bytes:
    """18.3: over UDP a missing Content-Length means all the rest; what is beyond it is ignored."""
    value = headers.get("Content-Length")
    if value is None:
        return rest
    length = parse_digits(value.strip(), MAX_MESSAGE, "Content-Length")
    if length > len(rest):
        raise SipError(400, "Body Shorter Than Content-Length")
    return rest[:length]
