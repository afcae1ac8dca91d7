"""The public URL of a request, and who sent it, whatever proxies stand between. Pure.

A carrier signs the URL that it was given. Behind a proxy that ends TLS a request says another
scheme, often another host, sometimes another path; so its own words are the last to be believed:
first comes the setting, then what a proxy of ours says, and only then the Host header.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

#: A name or an address, and perhaps a port (RFC 3986 3.2.2, 3.2.3), without user information.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?"
)
#: A path and query as a request line has them: visible ASCII (RFC 9112 3.2.1).
_TARGET: Final = re.compile(r"/[!-~]{0,4000}")


class UrlError(ValueError):
    """The request says no URL that could be ours: answer 400."""


class Url(NamedTuple):
    """Where a request went, as its sender wrote it."""

    #: Scheme, host and what a proxy took off the path; no slash at its end.
    base: str
    #: Path and query, as they came.
    target: str

    def __str__(self) -> str:
        return self.base + self.target

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """As it came; empty for none."""
        return self.target.partition("?")[2]


class Proxies:
    """What the setting says of our URL, and whose word is taken for it."""

    def __init__(self, public_url: str | None = None, trusted: Iterable[str] = ()) -> None:
        """`public_url` is how carriers write us; `trusted` are addresses or networks.

        Raises:
            ValueError: one of `trusted` is neither.
        """
        self.public_url = public_url.rstrip("/") if public_url else None
        self._trusted = tuple(ipaddress.ip_network(one, strict=False) for one in trusted)

    def trusts(self, address: str) -> bool:
        """Is this IP address one of ours?"""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._trusted if ip.version == network.version)

    def url(self, scheme: str, target: str, headers: Mapping[str, str], source: str) -> Url:
        """The URL that whoever sent the request had.

        Args:
            scheme: of the connection that came to us: http or https.
            target: path and query as the request line has them.
            headers: the request's; looked up as `Host`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
            source: the address that the connection came from.

        Raises:
            UrlError: the host, or the target, could be none.
        """
        if not _TARGET.fullmatch(target):
            raise UrlError("the request line has no path")
        if self.public_url is not None:
            return Url(self.public_url, target)
        host = headers.get("Host", "")
        if self.trusts(source):
            # Each proxy adds to the right (as RFC 7239 4 has it): the left is nearest the sender.
            host = _first(headers.get("X-Forwarded-Host")) or host
            forwarded = _first(headers.get("X-Forwarded-Proto")).lower()
            # Some proxies tell of an upgraded connection by WebSocket's schemes.
            scheme = {"wss": "https", "ws": "http"}.get(forwarded, forwarded) or scheme
        if scheme not in ("http", "https") or not is_host(host):
            raise UrlError("the request says no host that could be ours")
        return Url(f"{scheme}://{host}", target)

    def client(self, headers: Mapping[str, str], source: str) -> str:
        """Who sent the request: the last address in X-Forwarded-For that is no proxy of ours."""
        if not self.trusts(source):
            return source
        for address in reversed(headers.get("X-Forwarded-For", "").split(",")):
            text = address.strip()
            try:
                ipaddress.ip_address(text)
            except ValueError:
                break  # what stands to the left of it was written by nobody whom we know
            source = text
            if not self.trusts(text):
                break
        return source


def stream_url(base: str, path: str) -> str:
    """The WebSocket URL beside an HTTP one: wss for https, ws (on one's own machine) for http."""
    return "ws" + base.removeprefix("http") + path


def is_host(text: str) -> bool:
    """Is this what a URL has between the slashes: a name or an address, and perhaps a port?"""
    match = _HOST.fullmatch(text)
    return match is not None and int(match["port"] or 1) in range(1, 65536)


def guesses(headers: Mapping[str, str], target: str) -> list[str]:
    """The URLs that a request's own words allow for: one of them its sender may have had."""
    hosts = dict.fromkeys((headers.get("Host", ""), _first(headers.get("X-Forwarded-Host"))))
    return [
        f"{scheme}://{host}{target}"
        for host in hosts
        if is_host(host)
        for scheme in ("https", "http")
    ]


def _first(header: str | None) -> str:
    return (header or "").split(",")[0].strip()
