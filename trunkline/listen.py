"""Addresses and port ranges, as settings write them: "127.0.0.1:8080", "udp:0.0.0.0:5060"."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, PlainSerializer

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/]+):(?P<port>\d{1,5})")
_CODECS = ("PCMU", "PCMA", "G722", "opus")
_LAST_PORT = 65535
_SIP_TRANSPORTS = ("udp", "tcp", "tls")
_SIP_WRITTEN = "write udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT, several with commas between"


class HostPort(NamedTuple):
    """Where something listens. Port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SipListen(NamedTuple):
    """Where SIP is listened for, and by what: "udp", "tcp" or "tls"."""

    transport: str
    host: str
    port: int

    @property
    def kind(self) -> socket.SocketKind:
        """The socket that it takes."""
        return socket.SOCK_DGRAM if self.transport == "udp" else socket.SOCK_STREAM

    def __str__(self) -> str:
        return f"{self.transport}:{HostPort(self.host, self.port)}"


class PortRange(NamedTuple):
    """UDP ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def pairs(self) -> int:
        """How many calls fit: each takes an even port and, for RTCP, the odd one after it."""
        return (self.last + 1) // 2 - (self.first + 1) // 2


def parse_host_port(text: object) -> HostPort:
    """Read "HOST:PORT", IPv6 in brackets.

    Raises:
        ValueError: it is none; the message says how one is written.
    """
    if isinstance(text, HostPort):
        return text
    match = _ADDRESS.fullmatch(str(text).strip())
    if match is None or int(match["port"]) > _LAST_PORT:
        raise ValueError("write HOST:PORT, like 127.0.0.1:8080")
    return HostPort(match["host"].strip("[]"), int(match["port"]))


def parse_sip_listen(text: object) -> tuple[SipListen, ...]:
    """Read "udp:HOST:PORT,tls:HOST:PORT", or several of these; "HOST:PORT" alone is UDP.

    Raises:
        ValueError: it is none, asks for a transport that is not there, or for one place twice.
    """
    if isinstance(text, tuple):
        return text
    found = tuple(_one_sip_listen(part.strip()) for part in str(text).split(","))
    twice = [one for one in found if one.port != 0 and found.count(one) > 1]
    if twice:
        raise ValueError(f"{twice[0]} stands there twice")
    return found


def _one_sip_listen(text: str) -> SipListen:
    head, colon, rest = text.partition(":")
    transport = head.lower()
    if transport in ("ws", "wss") and colon:
        raise ValueError(f"{head} is not there yet; {_SIP_WRITTEN}")
    named = transport in _SIP_TRANSPORTS
    try:
        return SipListen(transport if named else "udp", *parse_host_port(rest if named else text))
    except ValueError:
        raise ValueError(f"{_SIP_WRITTEN}, like udp:0.0.0.0:5060") from None


def written(listeners: tuple[SipListen, ...]) -> str:
    """As the setting is written."""
    return ",".join(map(str, listeners))


def parse_port_range(text: object) -> PortRange:
    """Read "FIRST-LAST".

    Raises:
        ValueError: it is none, or holds no even port with the odd one after it.
    """
    if isinstance(text, PortRange):
        return text
    match = re.fullmatch(r"(\d{1,5})\s*-\s*(\d{1,5})", str(text).strip())
    if match is None:
        raise ValueError("write FIRST-LAST, like 20000-29999")
    ports = PortRange(int(match[1]), int(match[2]))
    if not 1024 <= ports.first < ports.last <= _LAST_PORT:
        raise ValueError("ports go up from 1024 to 65535: write the smaller one first")
    if ports.pairs < 1:
        raise ValueError("a call takes an even port and the odd one after it: widen the range")
    return ports


def parse_codecs(text: object) -> tuple[str, ...]:
    """Read "PCMU,opus".

    Raises:
        ValueError: one of them is none of ours, or there is none.
    """
    if isinstance(text, tuple):
        return text
    known = {name.lower(): name for name in _CODECS}
    named = [name.strip().lower() for name in str(text).split(",") if name.strip()]
    if not named or not set(named) <= known.keys():
        raise ValueError(f"write some of {', '.join(_CODECS)}, separated by commas")
    return tuple(dict.fromkeys(known[name] for name in named))


def parse_networks(text: object) -> tuple[str, ...]:
    """Read "127.0.0.0/8,2001:db8::/32", or "none"; a lone address is a network of one.

    Raises:
        ValueError: one of them is neither.
    """
    if isinstance(text, tuple):
        return text
    written = [one.strip() for one in str(text).split(",") if one.strip()]
    if [one.lower() for one in written] == ["none"]:
        return ()
    try:
        networks = [str(ipaddress.ip_network(one, strict=False)) for one in written]
    except ValueError:
        raise ValueError(
            "write addresses or networks, like 10.0.0.0/8, with commas between, or none"
        ) from None
    return tuple(dict.fromkeys(networks))


Networks = Annotated[
    tuple[str, ...],
    BeforeValidator(parse_networks),
    PlainSerializer(lambda them: ",".join(them) or "none"),
]
HttpAddress = Annotated[HostPort, BeforeValidator(parse_host_port), PlainSerializer(str)]
SipCodecs = Annotated[tuple[str, ...], BeforeValidator(parse_codecs), PlainSerializer(",".join)]
SipAddresses = Annotated[
    tuple[SipListen, ...], BeforeValidator(parse_sip_listen), PlainSerializer(written)
]
RtpPorts = Annotated[PortRange, BeforeValidator(parse_port_range), PlainSerializer(str)]
