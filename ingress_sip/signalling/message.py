"""A SIP request or response, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.fields import CSeq, NameAddr, Via, parse_tokens
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.uri import Uri


@dataclass(frozen=True)
class Message:
    """What both kinds share. `headers` hold no Content-Length: it is always the body's own.

    The typed fields raise SipError(400) where the field is missing or malformed; in a message that
    came through `parse` they are already checked.
    """

    headers: Headers = field(default_factory=Headers, kw_only=True)
    body: bytes = field(default=b"", kw_only=True)

    def _required(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise SipError(400, f"Missing {name}")
        return value

    @cached_property
    def via(self) -> Via:
        """The topmost Via."""
        vias = self.headers.get_list("Via")
        if not vias:
            raise SipError(400, "Missing Via")
        return Via.parse(vias[0])

    @cached_property
    def from_(self) -> NameAddr:
        return NameAddr.parse(self._required("From"))

    @cached_property
    def to(self) -> NameAddr:
        return NameAddr.parse(self._required("To"))

    @cached_property
    def call_id(self) -> str:
        return self._required("Call-ID").strip()

    @cached_property
    def cseq(self) -> CSeq:
        return CSeq.parse(self._required("CSeq"))

    @cached_property
    def contact(self) -> NameAddr | None:
        """The first Contact; None when there is none."""
        contacts = self.headers.get_list("Contact")
        return NameAddr.parse(contacts[0]) if contacts else None

    @cached_property
    def content_type(self) -> str | None:
        """The media type in lower case, without parameters; None when not given."""
        value = self.headers.get("Content-Type")
        return None if value is None else value.partition(";")[0].strip().lower()

    def tokens(self, name: str) -> tuple[str, ...]:
        """All tokens of a list field such as Require or Supported, over all its lines."""
        return tuple(token for line in self.headers.get_all(name) for token in parse_tokens(line))

    def _encode(self, start_line: str) -> bytes:
        if "\r" in start_line or "\n" in start_line:
            raise LocalProtocolError("line break in a start line")
        lines = [start_line]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


@dataclass(frozen=True)
class Request(Message):
    method: str
    uri: Uri

    def encode(self) -> bytes:
        """The octets of this request."""
        return self._encode(f"{self.method} {self.uri} SIP/2.0")


@dataclass(frozen=True)
class Response(Message):
    status: int
    reason: str

    def encode(self) -> bytes:
        """The octets of this response."""
        return self._encode(f"SIP/2.0 {self.status} {self.reason}")
