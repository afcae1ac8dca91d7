"""What `trunks.yaml` says: the trunks, the phones that may register, and who else may call.

It holds no secrets: a password is named by the environment variable that holds it.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.uri import SipUri, parse_uri

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _uri(text: str) -> str:
    try:
        uri = parse_uri(text)
    except SipError:
        uri = None
    match uri:
        case SipUri(userinfo=None, headers=""):
            return text
        case SipUri():
            raise ValueError("write the server alone; users go under `registration` or `auth`")
        case _:
            raise ValueError("write sip:HOST, sip:HOST:PORT or sip:HOST;transport=tls")


def _networks(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    found = []
    for text in value:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            hint = " (it has host bits set)" if "host bits" in str(error) else ""
            raise ValueError(
                f"{text!r} is no network{hint}; write it like 198.51.100.0/24 or 2001:db8::7"
            ) from None
    return tuple(found)


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):  # it may be the password itself: do not show it
        raise ValueError("write the name of the variable that holds it, like ACME_PASSWORD")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
#: The user part of a SIP URI, unescaped. No blanks, quotes or brackets.
User = Annotated[str, StringConstraints(pattern=r"^[^\s\"<>@:;?\x00-\x1f]{1,128}$")]
Host = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])$")
]
Variable = Annotated[str, AfterValidator(_variable)]
#: A number or user as it is dialled.
Dialled = Annotated[str, StringConstraints(pattern=r"^[+]?[\w.*#-]{0,64}$")]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ServerUri = Annotated[str, AfterValidator(_uri)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Account(_Frozen):
    """A user name, and where its password is."""

    user: User
    #: The environment variable that holds the password.
    password_env: Variable
    #: What the digest is asked for, where it is not the user's name.
    auth_user: str = Field(default="", max_length=256)

    @property
    def digest_user(self) -> str:
        return self.auth_user or self.user


class Registration(Account):
    """Our registration at the trunk."""

    #: How long a registration is asked for, s; the trunk decides.
    expires_s: int = Field(default=600, ge=60, le=86_400)
    #: The domain of the address that is registered, where it is not the trunk's host.
    domain: Host | None = None


class Numbers(_Frozen):
    """How a number is written to the trunk: `strip` comes off its front, then `prefix` goes on."""

    strip: Dialled = ""
    prefix: Dialled = ""

    def rewrite(self, number: str) -> str:
        return self.prefix + number.removeprefix(self.strip)


class Trunk(_Frozen):
    """A provider or a PBX that calls come from and go to."""

    name: Name
    #: Where it is: a name (SRV and NAPTR are followed) or an address.
    uri: ServerUri
    #: Register there. Without it the trunk knows us by our address.
    registration: Registration | None = None
    #: Who we are when it challenges a call, where that is not who registers.
    auth: Account | None = None
    #: Addresses that it calls from, besides those that its name leads to.
    allow: Networks = ()
    #: Let it call only after it has answered a challenge. Without `allow` it may then call from
    #: anywhere too, where `unknown_callers` is reject: nobody else is challenged otherwise.
    inbound_auth: Account | None = None
    #: Where its calls name the number called: the Request-URI, To, or P-Called-Party-ID.
    called_in: Literal["request", "to", "p-called-party-id"] = "request"
    #: The number we call from, where the call names none; and its domain, where not the trunk's.
    caller_id: User | None = None
    from_domain: Host | None = None
    #: Say the caller's number in P-Asserted-Identity too (RFC 3325)?
    asserted_identity: bool = False
    numbers: Numbers = Numbers()
    #: Patterns of the numbers that go out by it, `*` and `?` as in a shell; `[]` for none.
    dial: tuple[Pattern, ...] = ("*",)
    #: Calls at once, in and out together; 0 for no limit.
    max_calls: int = Field(default=0, ge=0, le=10_000)
    #: OPTIONS is sent to it so often, s; 0 for never.
    options_s: float = Field(default=30, ge=0, le=3600)
    codecs: tuple[Literal["PCMA", "PCMU", "G722", "opus"], ...] = Field(
        default=("PCMA", "PCMU", "G722", "opus"), min_length=1
    )
    srtp: Literal["off", "allowed", "required"] = "off"

    @field_validator("options_s")
    @classmethod
    def _not_too_often(cls, value: float) -> float:
        if 0 < value < 5:
            raise ValueError("at least 5, or 0 for never")
        return value

    @property
    def caller(self) -> str:
        """Who calls, where the call names nobody."""
        account = self.account
        return self.caller_id or (account.user if account else "anonymous")

    @property
    def target(self) -> SipUri:
        """Where it is."""
        uri = parse_uri(self.uri)
        assert isinstance(uri, SipUri)
        return uri

    @property
    def account(self) -> Account | None:
        """Who answers when the trunk challenges a call."""
        return self.auth or self.registration

    def dials(self, number: str) -> bool:
        """Do calls to `number` go out by it?"""
        return any(fnmatch.fnmatchcase(number, pattern) for pattern in self.dial)


class Phone(_Frozen):
    """A user whose softphones and desk phones may register here, call, and be called."""

    name: User
    #: The environment variable that holds the password.
    password_env: Variable


class Phones(_Frozen):
    """The registrar. Without this section REGISTER is answered 405."""

    #: What is asked for a password for; the phones' domain.
    realm: Host
    #: Other names that phones know us by, an address for instance.
    domains: tuple[Host, ...] = ()
    users: tuple[Phone, ...] = Field(min_length=1)
    #: How long a registration lasts: when the phone names nothing, at least, at most; s.
    default_s: int = Field(default=600, ge=10, le=86_400)
    min_s: int = Field(default=60, ge=10, le=3600)
    max_s: int = Field(default=3600, ge=60, le=86_400)
    #: Phones of one user at once; one more takes the place of the oldest.
    max_contacts: int = Field(default=5, ge=1, le=50)

    @model_validator(mode="after")
    def _ordered(self) -> Phones:
        if not self.min_s <= self.default_s <= self.max_s:
            raise ValueError("min_s, default_s and max_s have to rise")
        return self


class Rules(_Frozen):
    """Who else may call, and how much."""

    #: A caller who is neither a trunk nor a phone: take the call, refuse it, or do not answer.
    unknown_callers: Literal["accept", "reject", "silent"] = "reject"
    #: Patterns of the numbers and URIs that a caller may have us call in its place (REFER). None by
    #: default: whoever may call us could have us call at our cost.
    refer: tuple[Pattern, ...] = ()
    #: How whoever has to prove itself is asked to hash its password, in order of preference. Many
    #: phones give up when they see SHA-256 among the offers.
    digest: tuple[Literal["SHA-256", "MD5"], ...] = Field(default=("MD5",), min_length=1)
    #: Calls at once to a number of ours.
    max_calls_per_number: dict[Pattern, Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default_factory=dict
    )


class Trunks(_Frozen):
    """The whole file. Without one anybody may call, and nobody can register."""

    trunks: tuple[Trunk, ...] = ()
    phones: Phones | None = None
    policy: Rules = Rules()

    @model_validator(mode="after")
    def _users_differ(self) -> Trunks:
        users = [phone.name for phone in self.phones.users] if self.phones else []
        users += [trunk.inbound_auth.digest_user for trunk in self.trunks if trunk.inbound_auth]
        for user in users:
            if users.count(user) > 1:
                raise ValueError(f"two may call as {user!r}; rename one")
        return self

    def secrets(self) -> tuple[tuple[tuple[str | int, ...], str], ...]:
        """Every environment variable that is named, and where in the file."""
        found: list[tuple[tuple[str | int, ...], str]] = []
        for index, trunk in enumerate(self.trunks):
            accounts = {
                "registration": trunk.registration,
                "auth": trunk.auth,
                "inbound_auth": trunk.inbound_auth,
            }
            found += [
                (("trunks", index, key, "password_env"), account.password_env)
                for key, account in accounts.items()
                if account is not None
            ]
        for index, phone in enumerate(self.phones.users if self.phones else ()):
            found.append((("phones", "users", index, "password_env"), phone.password_env))
        return tuple(found)


#: What holds without a file.
OPEN = Trunks(policy=Rules(unknown_callers="accept"))
