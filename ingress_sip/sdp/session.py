"""Session descriptions: parse and write (RFC 8866).

Reading is tolerant: lines we have no use for (b=, k=, r=, i=, ...) are left out, lines may end in
a bare LF, and unknown attributes are kept. What an answer depends on (m= and c= lines, ports) is
read strictly, so that no peer is answered about something it did not say.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_DESCRIPTION = 65_536  # octets
MAX_LINES = 1_000
MAX_MEDIA = 32
MAX_FORMATS = 128  # of one m= line: as many as there are payload types

Attribute = tuple[str, str | None]

_LINE_RE = re.compile(r"([a-z])=([^\0]*)")  # RFC 8866 9: a byte-string has no NUL
_MEDIA_RE = re.compile(r"(\S+) ([0-9]{1,5})(?:/[0-9]{1,5})? (\S+)((?: +\S+)*) *")
_RTPMAP_RE = re.compile(r"([0-9]{1,3}) +([^/ ]+)/([0-9]{1,6})(?:/([0-9]{1,3}))? *")
_HOST_RE = re.compile(r"[A-Za-z0-9.\-]+")


class SdpError(Exception):
    """The peer's description cannot be used. Answer its INVITE with `status`.

    400: it is no SDP. 488: it is, but there is nothing in it that we can do.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Origin:
    """o=: who made the description, and which version of it this is."""

    username: str
    session_id: int
    version: int
    address: str


@dataclass(frozen=True, slots=True)
class RtpMap:
    """a=rtpmap: what a payload type number stands for."""

    payload_type: int
    encoding: str  # as written; names compare without regard to case
    clock_rate: int  # Hz
    channels: int


@dataclass(frozen=True, slots=True)
class Media:
    """One m= line and what belongs to it."""

    kind: str  # "audio", "video", ...
    port: int  # 0: refused or disabled
    protocol: str  # "RTP/AVP", ...
    formats: tuple[str, ...]
    address: str | None = None  # its own c= line; None: the session's counts
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of that name; None when missing or without value."""
        return _attribute(self.attributes, name)

    def rtpmaps(self) -> dict[int, RtpMap]:
        """All a=rtpmap lines that can be read, by payload type; the first of each counts."""
        maps: dict[int, RtpMap] = {}
        for name, value in self.attributes:
            match = _RTPMAP_RE.fullmatch(value or "") if name == "rtpmap" else None
            if match is not None:
                payload_type = int(match.group(1))
                maps.setdefault(
                    payload_type,
                    RtpMap(
                        payload_type,
                        match.group(2),
                        int(match.group(3)),
                        int(match.group(4) or 1),
                    ),
                )
        return maps


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description. Addresses are IPv4 or IPv6 literals or host names, without brackets."""

    origin: Origin
    address: str | None  # the session's c= line; None when each m= line has its own
    media: tuple[Media, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"

    def attribute(self, name: str) -> str | None:
        return _attribute(self.attributes, name)

    def address_of(self, media: Media) -> str | None:
        """Where `media` is to be sent (5.7: its own c= line overrides the session's)."""
        return media.address or self.address

    def encode(self) -> bytes:
        """The description's octets, lines in the order of RFC 8866 section 5."""
        origin = self.origin
        lines = [
            "v=0",
            f"o={origin.username} {origin.session_id} {origin.version} {_net(origin.address)}",
            f"s={self.name}",
        ]
        if self.address is not None:
            lines.append(f"c={_net(self.address)}")
        lines.append("t=0 0")
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            formats = " ".join(media.formats)
            lines.append(f"m={media.kind} {media.port} {media.protocol} {formats}")
            if media.address is not None:
                lines.append(f"c={_net(media.address)}")
            lines += _attribute_lines(media.attributes)
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def parse_sdp(data: bytes) -> SessionDescription:
    """Parse a description. Raises SdpError(400) for whatever is not one."""
    if len(data) > MAX_DESCRIPTION:
        raise SdpError(400, "SDP too large")
    lines = _lines(data)
    if lines[0] != ("v", "0"):
        raise SdpError(400, "SDP without v=0")
    sections: list[list[tuple[str, str]]] = [[]]
    for kind, value in lines[1:]:
        if kind == "m":
            sections.append([])
        sections[-1].append((kind, value))
    if len(sections) > MAX_MEDIA + 1:
        raise SdpError(400, "too many m= lines")
    head = sections[0]
    return SessionDescription(
        origin=_parse_origin(_first(head, "o")),
        address=_parse_connection(_first(head, "c")),
        media=tuple(_parse_media(section) for section in sections[1:]),
        attributes=_attributes(head),
        name=_first(head, "s") or "-",
    )


def _lines(data: bytes) -> list[tuple[str, str]]:
    text = data.decode("utf-8", "surrogateescape").rstrip("\r\n\0 ")
    lines = []
    for raw in text.split("\n"):
        line = raw.removesuffix("\r")
        if not line:
            continue
        match = _LINE_RE.fullmatch(line)
        if match is None or "\r" in line:
            raise SdpError(400, "not an SDP line")
        lines.append((match.group(1), match.group(2)))
    if not lines or len(lines) > MAX_LINES:
        raise SdpError(400, "empty or endless SDP")
    return lines


def _first(section: list[tuple[str, str]], kind: str) -> str | None:
    return next((value for key, value in section if key == kind), None)


def _attributes(section: list[tuple[str, str]]) -> tuple[Attribute, ...]:
    attributes: list[Attribute] = []
    for kind, text in section:
        if kind == "a":
            name, colon, value = text.partition(":")
            attributes.append((name.strip(), value if colon else None))
    return tuple(attributes)


def _attribute(attributes: tuple[Attribute, ...], name: str) -> str | None:
    return next((value for key, value in attributes if key == name), None)


def _attribute_lines(attributes: tuple[Attribute, ...]) -> list[str]:
    return [f"a={name}" if value is None else f"a={name}:{value}" for name, value in attributes]


def _parse_origin(value: str | None) -> Origin:
    parts = (value or "").split()
    username, numbers, address = parts[:1], parts[-5:-3], parts[-1:]  # some user names have blanks
    if len(parts) < 6 or not all(_is_number(number) for number in numbers):
        raise SdpError(400, "bad o= line")
    return Origin(username[0], int(numbers[0]), int(numbers[1]), address[0])


def _parse_connection(value: str | None) -> str | None:
    if value is None:
        return None
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise SdpError(400, "bad c= line")
    address = parts[2].partition("/")[0]  # 5.7: a multicast TTL or count may follow
    if not is_host(address):
        raise SdpError(400, "bad address")
    return address


def _parse_media(section: list[tuple[str, str]]) -> Media:
    match = _MEDIA_RE.fullmatch(section[0][1])
    if match is None or int(match.group(2)) > 65_535:
        raise SdpError(400, "bad m= line")
    kind, port, protocol, formats = match.groups()
    numbers = tuple(formats.split())
    if len(numbers) > MAX_FORMATS:
        raise SdpError(400, "too many formats")
    return Media(
        kind,
        int(port),
        protocol,
        numbers,
        _parse_connection(_first(section, "c")),
        _attributes(section),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 40


def _is_ip6(address: str) -> bool:
    return ":" in address


def is_host(address: str) -> bool:
    """Is it an IPv4 or IPv6 literal, or what can be a host name?"""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return _HOST_RE.fullmatch(address) is not None
    return True


def _net(address: str) -> str:
    return f"IN {'IP6' if _is_ip6(address) else 'IP4'} {address}"
