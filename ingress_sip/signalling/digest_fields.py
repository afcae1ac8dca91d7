"""Digest authentication on the wire: challenges, the answers to them, and the hash between.

RFC 7616 as RFC 8760 takes it into SIP; the header fields are those of RFC 3261 20.7, 20.27, 20.28
and 20.44. Parsing takes what phones and trunks send: any order, any case, blanks around commas,
no qop (RFC 2069). A field is one challenge or one answer: these are never joined by commas
(RFC 3261 7.3.1).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.grammar import is_token, split_list

_MAX_FIELD = 4_096  # characters
_MAX_PARAMETERS = 32
_SCHEME_RE = re.compile(r"\s*digest\s+", re.I)
_ESCAPE_RE = re.compile(r"\\(.)", re.DOTALL)
_NC_RE = re.compile(r"[0-9A-Fa-f]{8}")


class Algorithm(StrEnum):
    """What hashes (RFC 8760 2.1). With `-sess`, A1 takes in the nonces of the first request."""

    MD5 = "MD5"
    MD5_SESS = "MD5-sess"
    SHA_256 = "SHA-256"
    SHA_256_SESS = "SHA-256-sess"

    @property
    def is_session(self) -> bool:
        return self in (Algorithm.MD5_SESS, Algorithm.SHA_256_SESS)

    @property
    def base(self) -> Algorithm:
        """The algorithm without `-sess`: what a stored HA1 was made with."""
        return Algorithm(self.removesuffix("-sess"))

    def hash(self, text: str) -> str:
        """H(text), in lower-case hex."""
        data = text.encode("utf-8", "surrogateescape")
        if self.base is Algorithm.MD5:
            # The protocol's choice, not ours: most trunks and desk phones speak nothing else.
            return hashlib.md5(data, usedforsecurity=False).hexdigest()
        return hashlib.sha256(data).hexdigest()


_ALGORITHMS = {algorithm.lower(): algorithm for algorithm in Algorithm}


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value. `qop` is empty where none is offered."""

    realm: str
    nonce: str
    algorithm: Algorithm = Algorithm.MD5
    qop: tuple[str, ...] = ("auth",)
    opaque: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, text: str) -> Challenge | None:
        """Read one field's value; None for a scheme or an algorithm that we do not know.

        Raises:
            SipError: 400, it is malformed.
        """
        given = _parameters(text)
        if given is None:
            return None
        algorithm = _ALGORITHMS.get(given.get("algorithm", "MD5").lower())  # RFC 7616 3.3
        if algorithm is None:
            return None
        return cls(
            _needed(given, "realm"),
            _needed(given, "nonce"),
            algorithm,
            tuple(token.strip().lower() for token in given.get("qop", "").split(",") if token),
            given.get("opaque"),
            given.get("stale", "").lower() == "true",
        )

    def __str__(self) -> str:
        parts = [f"realm={_quoted(self.realm)}", f"nonce={_quoted(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        parts.append(f"algorithm={self.algorithm}")
        if self.qop:
            parts.append(f"qop={_quoted(','.join(self.qop))}")
        if self.stale:
            parts.append("stale=true")
        return f"Digest {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An Authorization or Proxy-Authorization value.

    `nc` (how often the nonce was used, this time included) and `cnonce` stand where `qop` does;
    without it the answer is RFC 2069's.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str = ""
    algorithm: Algorithm = Algorithm.MD5
    qop: str | None = None
    nc: int = 0
    cnonce: str | None = None
    opaque: str | None = None

    @classmethod
    def parse(cls, text: str) -> Answer | None:
        """Read one field's value; None for a scheme or an algorithm that we do not know.

        Raises:
            SipError: 400, it is malformed.
        """
        given = _parameters(text)
        if given is None:
            return None
        algorithm = _ALGORITHMS.get(given.get("algorithm", "MD5").lower())
        if algorithm is None:
            return None
        qop, cnonce = given.get("qop"), given.get("cnonce")
        # RFC 7616 3.4: cnonce and nc MUST be given with qop; 3.5: a session needs the cnonce.
        if cnonce is None and (qop is not None or algorithm.is_session):
            raise SipError(400, "Missing cnonce In Credentials")
        nc = given.get("nc", "") if qop is not None else "00000000"
        if not _NC_RE.fullmatch(nc):
            raise SipError(400, "Bad nc In Credentials")
        return cls(
            _needed(given, "username"),
            _needed(given, "realm"),
            _needed(given, "nonce"),
            _needed(given, "uri"),
            _needed(given, "response").lower(),
            algorithm,
            qop,
            int(nc, 16),
            cnonce,
            given.get("opaque"),
        )

    def expected(self, ha1: str, method: str, body: bytes = b"") -> str:
        """The response that this answer has to carry (RFC 7616 3.4.1), in lower-case hex.

        Args:
            ha1: H(username:realm:password) by `algorithm.base`, in hex.
            method: Of the request.
            body: Of the request; only qop=auth-int reads it.
        """
        digest = self.algorithm.hash
        if self.algorithm.is_session:
            ha1 = digest(f"{ha1}:{self.nonce}:{self.cnonce}")
        a2 = f"{method}:{self.uri}"
        if self.qop == "auth-int":
            a2 += ":" + digest(body.decode("utf-8", "surrogateescape"))
        between = self.nonce
        if self.qop is not None:
            between += f":{self.nc:08x}:{self.cnonce}:{self.qop}"
        return digest(f"{ha1}:{between}:{digest(a2)}")

    def __str__(self) -> str:
        parts = [
            f"{name}={_quoted(value)}"
            for name, value in (
                ("username", self.username),
                ("realm", self.realm),
                ("nonce", self.nonce),
                ("uri", self.uri),
                ("response", self.response),
            )
        ]
        parts.append(f"algorithm={self.algorithm}")
        if self.cnonce is not None:
            parts.append(f"cnonce={_quoted(self.cnonce)}")
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        if self.qop is not None:
            parts.append(f"qop={self.qop}, nc={self.nc:08x}")  # 22.4 of RFC 3261: not quoted
        return f"Digest {', '.join(parts)}"


def ha1_of(algorithm: Algorithm, username: str, realm: str, password: str) -> str:
    """What may be stored instead of a password: H(username:realm:password), in hex."""
    return algorithm.hash(f"{username}:{realm}:{password}")


def _parameters(text: str) -> dict[str, str] | None:
    """The parameters by lower-case name, unquoted; None when the scheme is not Digest."""
    scheme = _SCHEME_RE.match(text)
    if scheme is None:
        return None
    if len(text) > _MAX_FIELD:
        raise SipError(400, "Credentials Too Long")
    given: dict[str, str] = {}
    for piece in split_list(text[scheme.end() :]):
        if not piece:
            continue
        name, equals, value = piece.partition("=")
        name, value = name.strip().lower(), value.strip()
        # Two values of one name would be two readings of one answer.
        if not (equals and is_token(name)) or name in given or len(given) == _MAX_PARAMETERS:
            raise SipError(400, "Bad Credentials")
        given[name] = _unquoted(value)
    return given


def _needed(given: dict[str, str], name: str) -> str:
    value = given.get(name)
    if value is None:
        raise SipError(400, f"Missing {name} In Credentials")
    return value


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return _ESCAPE_RE.sub(r"\1", value[1:-1])
    if '"' in value:
        raise SipError(400, "Bad Credentials")
    return value


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
