"""What the settings say of SIP's sockets, in the words of the phone side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ingress_sip.limits import Allowance, SourceLimits
from ingress_sip.signalling.routing import Transport
from ingress_sip.sockets.binding import Listen
from ingress_sip.sockets.tls import TlsFiles
from trunkline.settings import Settings

#: Nobody else can send from there.
_THIS_MACHINE: Final = ("127.0.0.0/8", "::1")
#: In a call of a few messages, one begins something.
_BEGINNINGS: Final = 0.2
_BURST_S: Final = 2.0


def listeners(settings: Settings) -> tuple[Listen, ...]:
    """Where to listen."""
    return tuple(
        Listen(Transport(one.transport), one.host, one.port) for one in settings.sip_listen
    )


def families(settings: Settings) -> tuple[int, ...]:
    """The IP versions that we can call by, the preferred one first."""
    return tuple(sorted({6 if listen.is_ipv6 else 4 for listen in listeners(settings)}))


def tls_files(settings: Settings) -> TlsFiles:
    """Which certificates to use."""
    return TlsFiles(
        settings.sip_tls_certificate,
        settings.sip_tls_key,
        settings.sip_tls_ca,
        clients_verified=settings.sip_tls_clients == "verified",
    )


def source_limits(settings: Settings, trusted: Iterable[str] = ()) -> SourceLimits:
    """How much one source may send; `trusted` (addresses or networks) have no limit."""
    rate = settings.sip_rate
    begin = rate * _BEGINNINGS
    return SourceLimits(
        Allowance(rate, rate * _BURST_S),
        Allowance(begin, begin * _BURST_S),
        trusted=(*_THIS_MACHINE, *trusted),
    )
