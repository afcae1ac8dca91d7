"""The registrar: which phone is reached where (RFC 3261 10.3).

A binding is a Contact and the hop its REGISTER came from. Requests to the phone go to that hop:
it is the way back through the phone's NAT, and its connection (RFC 5923, RFC 5626 in spirit).
Path and Outbound are not spoken. All times are seconds on one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.grammar import parse_digits
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parameters import Parameters
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri, Uri, parse_uri

_MALFORMED_S: Final = 3600  # 10.3, 7: what a malformed expiry stands for
_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a user is reached: `contact` is the Request-URI, `hop` where to send it."""

    user: str
    contact: SipUri
    hop: Hop
    call_id: str
    cseq: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """For how long bindings are granted, s, and how many a user may have."""

    default_s: int = 600
    min_s: int = 60
    max_s: int = 3600
    max_contacts: int = 10


class Registrar:
    """The bindings of a fixed set of users."""

    def __init__(self, users: Collection[str], limits: Limits | None = None) -> None:
        self._bindings: dict[str, tuple[Binding, ...]] = dict.fromkeys(users, ())
        self._limits = limits or Limits()

    def register(
        self, request: Request, user: str, source: Hop, now: float
    ) -> tuple[tuple[str, str], ...]:
        """Do what a REGISTER asks, whose sender is known to be `user`; all of it or nothing.

        Returns the header fields of the 200: a Contact for each binding there is now.

        Raises:
            SipError: 400, 403, 404, 420 or 423; the bindings are as they were.
        """
        if "Path" in request.headers:
            # RFC 3327 5.3: without it the phone could not be reached as its proxies want it.
            raise SipError(420, "Bad Extension", [("Unsupported", "path")])
        if not isinstance(request.to.uri, SipUri):
            raise SipError(400, "Address Of Record Is No SIP URI")  # RFC 4475, 3.3.4
        name = request.to.uri.user
        if name not in self._bindings:
            raise SipError(404, "Not Found")  # 10.3, 5
        if name != user:
            raise SipError(403, "Forbidden")  # 10.3, 4
        current = self.bindings(user, now)
        contacts = request.headers.get_list("Contact")
        if "*" in contacts:
            bindings = self._remove_all(request, contacts, current)
        else:
            bindings = self._update(request, contacts, current, _Sender(user, source, now))
        self._bindings[user] = bindings
        return tuple(
            ("Contact", f"<{each.contact}>;expires={max(1, round(each.expires_at - now))}")
            for each in bindings
        )

    def bindings(self, user: str, now: float) -> tuple[Binding, ...]:
        """Where a user is reached now, the newest binding first; empty for strangers too."""
        return tuple(each for each in self._bindings.get(user, ()) if each.expires_at > now)

    def all_bindings(self, now: float) -> tuple[Binding, ...]:
        """Everybody's, in the order of the users."""
        return tuple(each for user in self._bindings for each in self.bindings(user, now))

    def is_from(self, user: str, source: Hop, now: float) -> bool:
        """Did a phone of this user register from this very hop?"""
        return any(_place(each.hop) == _place(source) for each in self.bindings(user, now))

    def snapshot(self, now: float) -> list[dict[str, Any]]:
        """All bindings as JSON, with the seconds that they have left in place of times."""
        return [
            {
                "user": each.user,
                "contact": str(each.contact),
                "hop": [each.hop.transport.value, each.hop.host, each.hop.port],
                "call_id": each.call_id,
                "cseq": each.cseq,
                "left_s": each.expires_at - now,
            }
            for each in self.all_bindings(now)
        ]

    def restore(self, snapshot: Iterable[Mapping[str, Any]], now: float, age_s: float) -> None:
        """Take up what `snapshot` gave `age_s` ago; users that are gone are left out.

        Connections do not outlive their process: a phone on TCP or TLS is called at its address,
        and over UDP by any socket.

        Raises:
            ValueError: it is no snapshot.
        """
        restored: dict[str, list[Binding]] = {}
        try:
            for each in snapshot:
                transport, host, port = each["hop"]
                contact = _sip(parse_uri(each["contact"]))
                binding = Binding(
                    each["user"],
                    contact,
                    Hop(Transport(transport), str(host), int(port)),
                    str(each["call_id"]),
                    int(each["cseq"]),
                    now - age_s + float(each["left_s"]),
                )
                restored.setdefault(binding.user, []).append(binding)
        except (KeyError, TypeError, ValueError, SipError) as error:
            raise ValueError(f"no snapshot of a registrar: {error}") from error
        for user in self._bindings.keys() & restored.keys():
            self._bindings[user] = tuple(restored[user][: self._limits.max_contacts])

    def _remove_all(
        self, request: Request, contacts: tuple[str, ...], current: tuple[Binding, ...]
    ) -> tuple[Binding, ...]:
        expires = (request.headers.get("Expires") or "").strip()
        if len(contacts) > 1 or not expires.isdecimal() or int(expires[:20]) != 0:
            raise SipError(400, "Bad Use Of Contact *")  # 10.3, 6
        # 10.3, 6: a request that was overtaken fails as a whole; a copy leaves what it did.
        return tuple(each for each in current if _is_repeated(each, request))

    def _update(
        self,
        request: Request,
        texts: tuple[str, ...],
        current: tuple[Binding, ...],
        sender: _Sender,
    ) -> tuple[Binding, ...]:
        """10.3, 7: each Contact adds, refreshes or removes; without one, nothing changes."""
        if len(texts) > self._limits.max_contacts:
            raise SipError(400, "Too Many Contacts")
        kept = {_identity(each.contact): each for each in reversed(current)}
        for text in texts:
            contact = NameAddr.parse(text)
            uri = _sip(contact.uri)
            wanted_s = self._granted_s(contact.params, request)
            identity = _identity(uri)
            old = kept.get(identity)
            if old is not None and _is_repeated(old, request):
                continue  # a copy that came late
            kept.pop(identity, None)
            if wanted_s:
                kept[identity] = Binding(
                    sender.user,
                    uri,
                    sender.source,
                    request.call_id,
                    request.cseq.number,
                    sender.now + wanted_s,
                )
        # A phone that is started again under a new port leaves its old binding behind: beyond the
        # limit the oldest goes, rather than that the phone is locked out.
        return tuple(reversed(kept.values()))[: self._limits.max_contacts]

    def _granted_s(self, params: Parameters, request: Request) -> int:
        limits = self._limits
        text = params.get("expires") or request.headers.get("Expires")
        if text is None:
            return limits.default_s
        try:
            seconds = parse_digits(text.strip(), 2**32, "Expires")
        except SipError:
            seconds = _MALFORMED_S
        if 0 < seconds < min(limits.min_s, _HOUR_S):
            raise SipError(423, "Interval Too Brief", [("Min-Expires", str(limits.min_s))])
        return min(seconds, limits.max_s)


@dataclass(frozen=True, slots=True)
class _Sender:
    user: str
    source: Hop
    now: float


def _is_repeated(binding: Binding, request: Request) -> bool:
    """10.3, 6 and 7: of one Call-ID only a higher CSeq changes a binding; the same is a copy."""
    if binding.call_id != request.call_id or binding.cseq < request.cseq.number:
        return False
    if binding.cseq > request.cseq.number:
        raise SipError(400, "CSeq Out Of Order")
    return True


def _sip(uri: Uri) -> SipUri:
    if not isinstance(uri, SipUri):
        raise SipError(400, "Contact Is No SIP URI")  # we could not call it
    return uri


def _identity(uri: SipUri) -> tuple[object, ...]:
    """What tells two Contacts apart (19.1.4, less what no phone varies)."""
    transport = (uri.params.get("transport") or "").lower()
    return (uri.scheme, uri.user, uri.host.lower(), uri.port, transport)


def _place(hop: Hop) -> tuple[object, ...]:
    """Over UDP the address is all there is; a connection is told by its flow."""
    end = hop.flow if hop.transport.is_reliable else hop.port
    return (hop.transport, hop.host, end)
