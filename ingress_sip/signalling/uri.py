"""SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966).

A URI keeps its parts as they were written, escapes included, so that writing it gives back what
was read: `%3B` and `;` are different users (19.1.4). `user` is the unescaped name for reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.grammar import format_host_port, parse_host_port
from ingress_sip.signalling.parameters import NO_PARAMETERS, Parameters

_SCHEME_RE = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*):")
_TEL_RE = re.compile(r"\+?[0-9A-Fa-f*#().\-]+")
_FORBIDDEN_RE = re.compile(r'[\s<>"\x00-\x1f\x7f]')
# RFC 3261 25.1: unreserved and user-unreserved may stand in a user part unescaped.
_USER_SAFE = "-_.!~*'()&=+$,;?/"


@dataclass(frozen=True, slots=True)
class SipUri:
    """`sip:userinfo@host:port;params?headers`. `host` keeps an IPv6 address's brackets."""

    scheme: str  # "sip" or "sips"
    userinfo: str | None  # user[:password], as written
    host: str
    port: int | None = None
    params: Parameters = NO_PARAMETERS
    headers: str = ""  # what follows "?", as written

    @classmethod
    def of(cls, host: str, port: int | None = None, user: str | None = None) -> SipUri:
        """A sip: URI from plain values: an IPv6 host gets brackets, the user its escapes."""
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return cls("sip", None if user is None else quote(user, _USER_SAFE), host, port)

    @property
    def user(self) -> str:
        """The user, unescaped, without a password; empty when there is none."""
        name = (self.userinfo or "").partition(":")[0]
        octets = unquote_to_bytes(name.encode("utf-8", "surrogateescape"))
        return octets.decode("utf-8", "surrogateescape")

    @property
    def address(self) -> tuple[str, int]:
        """Host without brackets, and the port or the scheme's default."""
        return self.host.strip("[]"), self.port or (5061 if self.is_secure else 5060)

    @property
    def is_secure(self) -> bool:
        """Does it ask for TLS?"""
        return self.scheme == "sips" or (self.params.get("transport") or "").lower() == "tls"

    def __str__(self) -> str:
        userinfo = "" if self.userinfo is None else f"{self.userinfo}@"
        headers = f"?{self.headers}" if self.headers else ""
        return (
            f"{self.scheme}:{userinfo}{format_host_port(self.host, self.port)}"
            f"{self.params}{headers}"
        )


@dataclass(frozen=True, slots=True)
class TelUri:
    """`tel:+4930123456;phone-context=...`"""

    number: str  # as written, visual separators kept
    params: Parameters = NO_PARAMETERS

    @property
    def user(self) -> str:
        """The number without its visual separators (RFC 3966 section 3)."""
        return re.sub(r"[-.()]", "", self.number)

    def __str__(self) -> str:
        return f"tel:{self.number}{self.params}"


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of a scheme we do not speak: fine in From and To, 416 as a Request-URI."""

    scheme: str
    rest: str

    @property
    def user(self) -> str:
        return ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


Uri = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """Parse a URI that stands alone (no `<>`, nothing around it). Raises SipError(400)."""
    match = _SCHEME_RE.match(text)
    if match is None or _FORBIDDEN_RE.search(text):
        raise SipError(400, "Bad URI")
    scheme, rest = match.group(1).lower(), text[match.end() :]
    if scheme in ("sip", "sips"):
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        number, semicolon, params = rest.partition(";")
        if not _TEL_RE.fullmatch(number):
            raise SipError(400, "Bad tel URI")
        return TelUri(number, Parameters.parse(params) if semicolon else NO_PARAMETERS)
    return OtherUri(match.group(1), rest)


def _parse_sip(scheme: str, rest: str) -> SipUri:
    # No part after the user may hold a raw "@", so the last one ends the user,
    # which itself may hold ";" and "?" (RFC 4475, 3.1.1.9).
    userinfo, at, remainder = rest.rpartition("@")
    if at and not userinfo:
        raise SipError(400, "Bad SIP URI")
    remainder, _, headers = remainder.partition("?")
    host_port, semicolon, params = remainder.partition(";")
    host, port = parse_host_port(host_port)
    return SipUri(
        scheme,
        userinfo if at else None,
        host,
        port,
        Parameters.parse(params) if semicolon else NO_PARAMETERS,
        headers,
    )
