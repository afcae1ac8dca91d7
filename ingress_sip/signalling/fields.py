"""Typed header fields: Via, the name-addr family (From, To, Contact, Route, ...), CSeq."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.grammar import (
    QUOTED,
    TOKEN,
    format_host_port,
    is_token,
    parse_digits,
    parse_host_port,
    split_list,
)
from ingress_sip.signalling.parameters import NO_PARAMETERS, Parameters
from ingress_sip.signalling.uri import Uri, parse_uri

MAGIC_COOKIE = "z9hG4bK"

_VIA_RE = re.compile(rf"SIP\s*/\s*({TOKEN})\s*/\s*({TOKEN})\s+([^;]+)(;.*)?", re.I | re.DOTALL)
# Laxer than the grammar's tokens: phones do send unquoted display names in UTF-8.
_NAME_ADDR_RE = re.compile(rf"({QUOTED}\s*|[^\"<>,;]*+)<([^>]*+)>\s*(;.*)?", re.DOTALL)
# The parameters by which an answer finds its way back.
_WAY_BACK_RE = re.compile(rf";\s*(branch|rport)\s*(?:=\s*({TOKEN}))?", re.I)
_CSEQ_RE = re.compile(rf"(\d+)\s+({TOKEN})")


@dataclass(frozen=True, slots=True)
class Via:
    """One hop (RFC 3261 20.42): `SIP/2.0/UDP host:port;branch=...`."""

    transport: str
    host: str
    port: int | None = None
    params: Parameters = NO_PARAMETERS
    version: str = "2.0"

    @classmethod
    def parse(cls, text: str) -> Via:
        match = _VIA_RE.fullmatch(text.strip())
        if match is None:
            raise SipError(400, "Bad Via")
        version, transport, sent_by, params = match.groups()
        host, port = parse_host_port(sent_by.strip())
        return cls(
            transport.upper(),
            host,
            port,
            Parameters.parse(params[1:]) if params else NO_PARAMETERS,
            version,
        )

    @classmethod
    def salvage(cls, text: str) -> Via:
        """What a refusal needs of a Via that `parse` does not take (RFC 4475, 3.1.2.1).

        Raises SipError(400) when its first element does not say who sent it.
        """
        sent_by, semicolon, params = text.partition(",")[0].partition(";")
        via = cls.parse(sent_by)
        found: dict[str, str | None] = {}
        for name, value in _WAY_BACK_RE.findall(semicolon + params):
            found.setdefault(name.lower(), value or None)
        return replace(via, params=Parameters(tuple(found.items())))

    @property
    def branch(self) -> str | None:
        """The transaction's id, or None from an RFC 2543 peer, which must be matched otherwise."""
        branch = self.params.get("branch") or ""
        # The cookie with nothing behind it identifies nothing (RFC 4475, 3.2.1).
        has_id = branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE)
        return branch if has_id else None

    def received_from(self, host: str, port: int) -> Via:
        """This Via with the source noted on it (RFC 3261 18.2.1, RFC 3581 section 4)."""
        params = self.params
        if "rport" in params:
            params = params.setting("rport", str(port)).setting("received", host)
        elif self.host.strip("[]") != host:
            params = params.setting("received", host)
        return replace(self, params=params)

    def __str__(self) -> str:
        sent_by = format_host_port(self.host, self.port)
        return f"SIP/{self.version}/{self.transport} {sent_by}{self.params}"


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A From, To, Contact, Route or Record-Route value: `"Name" <uri>;params`."""

    uri: Uri
    display: str = ""  # as written, quotes kept
    params: Parameters = NO_PARAMETERS

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        text = text.strip()
        match = _NAME_ADDR_RE.fullmatch(text)
        if match is not None:
            display, uri, tail = match.groups()
            params = Parameters.parse(tail[1:]) if tail else NO_PARAMETERS
            return cls(parse_uri(uri), display.strip(), params)
        # Without brackets, what follows ";" belongs to the header, not to the URI (20.10).
        uri, semicolon, tail = text.partition(";")
        params = Parameters.parse(tail) if semicolon else NO_PARAMETERS
        uri = uri.strip()
        if "?" in uri or "," in uri:
            raise SipError(400, "Bad Address")
        return cls(parse_uri(uri), "", params)

    @property
    def display_name(self) -> str:
        """The display name as a human reads it: quotes and backslashes removed."""
        if self.display.startswith('"'):
            return re.sub(r"\\(.)", r"\1", self.display[1:-1], flags=re.DOTALL)
        return self.display

    @property
    def tag(self) -> str | None:
        return self.params.get("tag")

    def tagged(self, tag: str) -> NameAddr:
        return replace(self, params=self.params.setting("tag", tag))

    def __str__(self) -> str:
        display = f"{self.display} " if self.display else ""
        return f"{display}<{self.uri}>{self.params}"


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        match = _CSEQ_RE.fullmatch(text.strip())
        if match is None:
            raise SipError(400, "Bad CSeq")
        return cls(parse_digits(match.group(1), 2**31, "CSeq"), match.group(2))  # 8.1.1.5

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_tokens(text: str) -> tuple[str, ...]:
    """A comma-separated list of tokens (Require, Supported, Allow); an empty list is fine."""
    tokens = tuple(token for token in split_list(text) if token)
    if not all(is_token(token) for token in tokens):
        raise SipError(400, "Bad Token List")
    return tokens
