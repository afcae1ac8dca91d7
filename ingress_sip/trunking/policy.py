"""Who calls: a trunk, a phone of ours, or a stranger; and whether that call may come in.

A trunk is known by its address, by a password, or by both; a phone by its password, or by the
connection that it registered on. Every check costs the same, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ingress_sip.signalling.digest import DigestServer, new_key, passwords
from ingress_sip.signalling.digest_fields import Algorithm
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.registrar import Limits, Registrar
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri, Uri
from ingress_sip.trunking.addresses import Addresses
from ingress_sip.trunking.config import Trunk, Trunks
from ingress_sip.trunking.lines import Line, Lines

_RETRY_S: Final = 10
#: What trunks that have a password are asked for where there are no phones.
_REALM: Final = "trunkline"


class SilenceError(SipError):
    """Answer nothing at all: a scanner is to find nobody. Raised where `silent` asks for it."""

    def __init__(self) -> None:
        super().__init__(403, "Forbidden")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may come in: by which trunk, or of which phone's user; and the number called.

    Neither: a stranger, where strangers are let in.
    """

    number: str
    trunk: Trunk | None = None
    user: str | None = None
    #: A challenge was answered that went to where the INVITE came from.
    proven: bool = False

    @property
    def line(self) -> Line:
        """What the call takes of `Lines`."""
        return Line(self.trunk.name if self.trunk else "", "inbound", self.number)


class Policy:
    """Looks at INVITEs and REGISTERs outside dialogs. Time is in s, on the core's clock."""

    def __init__(
        self, config: Trunks, secret: Callable[[str], str | None], tokens: Callable[[], str]
    ) -> None:
        """`secret(variable)` gives the password that a variable holds; `tokens` is the core's."""
        self.lines = Lines(config)
        self.addresses = Addresses(config.trunks)
        self._unknown = config.policy.unknown_callers
        phones = config.phones
        #: The phones' bindings; None without a registrar.
        self.registrar: Registrar | None = None
        self._users: frozenset[str] = frozenset()
        self._domains: frozenset[str] = frozenset()
        self._callers = {
            trunk.inbound_auth.digest_user: trunk for trunk in config.trunks if trunk.inbound_auth
        }
        known = [
            (trunk.inbound_auth.digest_user, secret(trunk.inbound_auth.password_env))
            for trunk in config.trunks
            if trunk.inbound_auth
        ]
        if phones is not None:
            self._users = frozenset(phone.name for phone in phones.users)
            self._domains = frozenset(
                name.strip("[]").lower() for name in (phones.realm, *phones.domains)
            )
            known += [(phone.name, secret(phone.password_env)) for phone in phones.users]
            limits = Limits(phones.default_s, phones.min_s, phones.max_s, phones.max_contacts)
            self.registrar = Registrar(self._users, limits)
        realm = phones.realm if phones else _REALM
        users = [(name, password) for name, password in known if password]  # empty opens nothing
        self._digest: DigestServer | None = None
        if users:
            self._digest = DigestServer(
                realm,
                passwords(realm, users),
                key=new_key(tokens),
                tokens=tokens,
                algorithms=tuple(map(Algorithm, config.policy.digest)),
            )

    def admit(self, invite: Request, source: Hop, now: float) -> Admitted:
        """Say who calls, and that the call may come in.

        It counts no line: `lines.take(admitted.line)` once the call is there. It uses up the
        answer to a challenge, so ask once for each INVITE.

        Raises:
            SipError: 401 with challenges, 403, 486 or 503 with Retry-After.
            SilenceError: there is to be no answer.
        """
        admitted = self._who(invite, source, now)
        if admitted.trunk is not None and self.lines.trunk_is_full(admitted.trunk):
            raise SipError(503, "Service Unavailable", [("Retry-After", str(_RETRY_S))])
        if self.lines.number_is_full(admitted.number):
            # Busy, rather than unavailable: a trunk takes 503 for the end of us all.
            raise SipError(486, "Busy Here", [("Retry-After", str(_RETRY_S))])
        return admitted

    def register(self, request: Request, source: Hop, now: float) -> tuple[tuple[str, str], ...]:
        """Do what a REGISTER asks. Returns the header fields of the 200.

        Raises:
            SipError: 401 with challenges, 405 without a registrar, and those of
                `Registrar.register`.
            SilenceError: there is to be no answer.
        """
        if self.registrar is None or self._digest is None:
            raise SipError(405, "Method Not Allowed")
        if self._unknown == "silent" and not self._is_ours(request.to.uri):
            raise SilenceError
        user = self._digest.verify(request, source.host, now)
        return self.registrar.register(request, user, source, now)

    @property
    def is_silent(self) -> bool:
        """Are strangers to find nobody here?"""
        return self._unknown == "silent"

    def is_silent_to(self, request: Request, source: Hop, now: float) -> bool:
        """Is whoever asks this a stranger, whom nothing is to be answered?

        Not who may be asked for a password: `admit` and `register` see to these.
        """
        if not self.is_silent or self.addresses.trunks_at(source.host):
            return False
        claims = request.to if request.method == "REGISTER" else request.from_
        if self._digest is None:
            return True
        if self.registrar and self.registrar.is_from(claims.uri.user, source, now):
            return False
        if request.method not in ("INVITE", "REGISTER"):
            return True  # nobody asks for a password there, and an answer would be a find
        return not self._is_ours(claims.uri)

    def is_trunk(self, host: str) -> bool:
        """Is this a trunk's address? Its messages are no flood."""
        return bool(self.addresses.trunks_at(host))

    def _who(self, invite: Request, source: Hop, now: float) -> Admitted:
        claimed = invite.from_.uri.user
        bound = self.registrar is not None and self.registrar.is_from(claimed, source, now)
        if bound and source.transport.is_reliable:
            # Whoever holds the connection has registered on it; a datagram may come from anybody.
            return Admitted(invite.uri.user, user=claimed)
        here = self.addresses.trunks_at(source.host)
        if here:
            trunk = _called_by(here, invite)
            if not trunk.inbound_auth:
                return Admitted(_number(invite, trunk), trunk)
            caller = self._caller(invite, source, now)
            if caller.trunk not in here:
                raise SipError(403, "Forbidden")
            return caller
        if self._is_to_prove(invite, bound=bound):
            caller = self._caller(invite, source, now)
            if caller.trunk is not None and caller.trunk.allow:
                raise SipError(403, "Forbidden")  # the right password from the wrong place
            return caller
        if self._unknown == "accept":
            return Admitted(invite.uri.user)
        if self._unknown == "silent":
            raise SilenceError
        raise SipError(403, "Forbidden")

    def _is_to_prove(self, invite: Request, *, bound: bool) -> bool:
        """Is a stranger asked for a password?"""
        if self._digest is None:
            return False
        if self._unknown == "reject" or bound:
            return True
        claimed = invite.from_.uri
        if self._unknown == "silent":
            # Whoever knows our name is answered, and is told nothing of our users. An answer to a
            # challenge that was never given proves nothing.
            return self._is_ours(claimed)
        return "Authorization" in invite.headers or (
            self._is_ours(claimed) and claimed.user in self._users
        )

    def _caller(self, invite: Request, source: Hop, now: float) -> Admitted:
        """Who proves to call: a trunk or a phone's user."""
        if self._digest is None:
            raise SipError(403, "Forbidden")
        user = self._digest.verify(invite, source.host, now)
        trunk = self._callers.get(user)
        if trunk is not None:
            return Admitted(_number(invite, trunk), trunk, proven=True)
        return Admitted(invite.uri.user, user=user, proven=True)

    def _is_ours(self, uri: Uri) -> bool:
        return isinstance(uri, SipUri) and uri.host.strip("[]").lower() in self._domains


def _called_by(trunks: tuple[Trunk, ...], invite: Request) -> Trunk:
    """Of the trunks at one address, the one whose registration the call is for; else the first."""
    called = invite.uri.user
    named = (each for each in trunks if each.registration and each.registration.user == called)
    return next(named, trunks[0])


def _number(invite: Request, trunk: Trunk) -> str:
    """The number called, where this trunk names it."""
    if trunk.called_in == "to":
        return invite.to.uri.user
    if trunk.called_in == "p-called-party-id" and (
        value := invite.headers.get("P-Called-Party-ID")
    ):
        return NameAddr.parse(value).uri.user  # RFC 7315 4.2
    return invite.uri.user
