"""The pieces of RFC 3261 section 25 that several header fields share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ingress_sip.signalling.errors import SipError

MAX_ELEMENTS = 256  # of one list; RFC 3261 knows none that needs a tenth of it
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"  # noqa: S105 - the grammar's word, not a secret
_TOKEN_RE = re.compile(TOKEN)
# A quoted string may hold any escaped octet, NUL included (RFC 4475, 3.1.1.2).
QUOTED = r'"(?:[^"\\]|\\.)*+"'
_HOST_RE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-._]*)|\[[0-9A-Fa-f:.]+\]")
# Possessive all through: a hostile line costs one scan, never a backtrack.
_SEPARATOR = {
    ",": re.compile(rf'(?:[^",<]++|{QUOTED}|<[^>]*+>)*+', re.DOTALL),
    ";": re.compile(rf'(?:[^";<]++|{QUOTED}|<[^>]*+>)*+', re.DOTALL),
}


def is_token(text: str) -> bool:
    return _TOKEN_RE.fullmatch(text) is not None


def split_list(text: str, separator: str = ",") -> Iterator[str]:
    """Split at `separator`, but not inside quotes or angle brackets; pieces come stripped.

    Raises SipError(400) for an unterminated quote or bracket, and past MAX_ELEMENTS.
    """
    pattern = _SEPARATOR[separator]
    position = 0
    for _ in range(MAX_ELEMENTS):
        match = pattern.match(text, position)
        assert match is not None  # the pattern matches the empty string
        end = match.end()
        yield text[position:end].strip()
        if end == len(text):
            return
        if text[end] != separator:
            raise SipError(400, "Unterminated Quote or Bracket")
        position = end + 1
    raise SipError(400, "Too Many List Elements")


def parse_digits(text: str, limit: int, what: str) -> int:
    """A decimal number below `limit`; never wraps around (RFC 4475, 3.1.2.4)."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) >= limit:
        raise SipError(400, f"Bad {what}")
    return int(text)


def parse_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]` or `[v6]:port`, with white space around the colon allowed.

    The host keeps its brackets, as written.
    """
    match = _HOST_RE.match(text)
    if match is None:
        raise SipError(400, "Bad Host")
    host, rest = match.group(), text[match.end() :].strip()
    if host[0] == "[":
        host = f"[{_ipv6(host[1:-1])}]"
    if not rest:
        return host, None
    if rest[0] != ":":
        raise SipError(400, "Bad Host")
    return host, parse_digits(rest[1:].strip(), 65536, "Port")


def _ipv6(text: str) -> str:
    # RFC 5118 4.10: the grammar of RFC 3261 lets "::" run into the colon before an IPv4 address,
    # and "an implementation must tolerate" it. Nowhere else are three colons one address.
    if "." in text:
        text = re.sub(r":::(?=[0-9.]+\Z)", "::", text)
    try:
        ipaddress.IPv6Address(text)
    except ValueError as error:
        raise SipError(400, "Bad IPv6 Address") from error
    return text


def format_host_port(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"
