"""Digest authentication, both ways (RFC 7616, RFC 8760, RFC 3261 22).

`DigestClient` answers the challenges of a trunk; `DigestServer` challenges whoever calls or
registers, and checks the answer. What they say to each other stands in `digest_fields`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ingress_sip.signalling.digest_fields import Algorithm, Answer, Challenge, ha1_of
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.uri import SipUri, Uri, parse_uri

#: What a challenge comes in, and what it is answered in: of a UAS or registrar, and of a proxy.
_ANSWERED_IN = {
    "WWW-Authenticate": "Authorization",
    "Proxy-Authenticate": "Proxy-Authorization",
}
_MAX_CHALLENGES = 16  # of one response, and answers of one request
_MAX_REALMS = 4  # that one request is answered for: a proxy each, and the server
_MAX_STALE = 3  # times in a row

#: RFC 8760 2.3: the order of preference.
_STRONGEST_FIRST = (Algorithm.SHA_256, Algorithm.MD5)

#: `(username, algorithm)` to HA1 in hex, of our realm; None: there is no such user.
#: The algorithm is never a `-sess` one.
Lookup = Callable[[str, Algorithm], str | None]


@dataclass(frozen=True)
class Credentials:
    """Who we are to a trunk. With `realm` None we answer whatever realm asks."""

    username: str
    password: str
    realm: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, realm={self.realm!r})"  # never the password


@dataclass(slots=True)
class _Space:
    """A realm that has challenged us, and how often its nonce was used."""

    challenge: Challenge
    cnonce: str
    nc: int = 0
    stale: int = 0  # challenges in a row that called the nonce stale


class DigestClient:
    """Answers challenges with one set of credentials.

    It remembers the nonces, so that later requests carry their answer at once. It serves one
    request at a time: a registration has one of its own, and so has each call.
    """

    def __init__(self, credentials: Credentials, cnonce: Callable[[], str]) -> None:
        """`cnonce()` gives an unguessable string of token characters."""
        self._credentials = credentials
        self._cnonce = cnonce
        self._spaces: dict[tuple[str, str], _Space] = {}  # by the answer's field, and realm

    def challenged(self, headers: Headers) -> bool:
        """Take in a 401 or 407. True: send the request again, with `headers`.

        False: there is nothing that we can answer, or what we answered was refused. Whether it was
        is told by the nonce: one that was used once already may have run out, with or without
        `stale`; a new one was refused for the credentials.
        """
        answerable = False
        for field, challenge in _best(headers):
            if self._credentials.realm not in (None, challenge.realm):
                continue
            place = (field, challenge.realm)
            known = self._spaces.pop(place, None)
            stale = known.stale + 1 if known and challenge.stale else 0
            if known is not None and known.nc:
                repeated = known.challenge.nonce == challenge.nonce
                if not challenge.stale and (known.nc == 1 or repeated):
                    continue
            if stale > _MAX_STALE:
                continue  # whoever finds every nonce of its own stale will not change its mind
            if len(self._spaces) < _MAX_REALMS:
                self._spaces[place] = _Space(challenge, self._cnonce(), stale=stale)
                answerable = True
        return answerable

    def headers(self, method: str, uri: str, body: bytes) -> tuple[tuple[str, str], ...]:
        """Authorization and Proxy-Authorization for the next request; none before a challenge.

        `uri` is the Request-URI as it is written.
        """
        return tuple(
            (field, str(self._answer(space, method, uri, body)))
            for (field, _), space in self._spaces.items()
        )

    def _answer(self, space: _Space, method: str, uri: str, body: bytes) -> Answer:
        space.nc += 1
        challenge, who = space.challenge, self._credentials
        # auth-int only where nothing else will do: SIP's intermediaries change bodies.
        qop = "auth" if "auth" in challenge.qop else "auth-int" if challenge.qop else None
        answer = Answer(
            who.username,
            challenge.realm,
            challenge.nonce,
            uri,
            algorithm=challenge.algorithm,
            qop=qop,
            nc=space.nc,
            cnonce=space.cnonce if qop or challenge.algorithm.is_session else None,
            opaque=challenge.opaque,
        )
        ha1 = ha1_of(challenge.algorithm.base, who.username, challenge.realm, who.password)
        return replace(answer, response=answer.expected(ha1, method, body))


class WrongCredentialsError(SipError):
    """A challenge that was sent to its source was answered wrongly: no forgery of that source."""


class DigestServer:
    """Challenges requests, and says who answered. It keeps nothing of who did not.

    A nonce is its time of issue and a token, sealed for the source that it was given to. How often
    each was used is kept, for `max_nonces` of them; when more are alive, those issued before the
    one that is forgotten are stale.
    """

    def __init__(
        self,
        realm: str,
        lookup: Lookup,
        *,
        key: bytes,
        tokens: Callable[[], str],
        algorithms: tuple[Algorithm, ...] = _STRONGEST_FIRST,
        life_s: float = 300.0,
        max_nonces: int = 10_000,
    ) -> None:
        """`key` seals nonces (processes that share it and the clock take each other's).

        `tokens` is the core's. `algorithms` are offered in this order, and no others are taken.
        Many phones give up at the sight of SHA-256, whatever else is offered. Nonces live for
        `life_s`.
        """
        self._realm = realm
        self._lookup = lookup
        self._key = key
        self._tokens = tokens
        self._offered = algorithms
        self._life_ms = int(1000 * life_s)
        self._max_nonces = max_nonces
        self._used: dict[str, _Window] = {}  # oldest use first
        self._forgotten_ms = -1
        # Nobody's: an unknown user costs what a known one does.
        self._nobody = {each: each.hash(tokens()) for each in algorithms}

    def challenge(
        self, source: str, now: float, *, stale: bool = False
    ) -> tuple[tuple[str, str], ...]:
        """The header fields of a 401 to the host `source`: a challenge for each algorithm."""
        issued_ms = int(1000 * now)
        token = self._tokens()
        nonce = f"{issued_ms:x}.{token}.{self._seal(f'{issued_ms:x}.{token}', source)}"
        return tuple(
            ("WWW-Authenticate", str(Challenge(self._realm, nonce, algorithm, stale=stale)))
            for algorithm in self._offered
        )

    def verify(self, request: Request, source: str, now: float) -> str:
        """Say who sent a request from the host `source`: the user's name.

        It counts the nonce's use: a copy of the request is no longer taken. So give it each
        request once, after its transaction has absorbed the resends.

        Raises:
            WrongCredentialsError: a 401 to a wrong answer, or one of somebody unknown, by a nonce
                that was given to this source.
            SipError: 401 with challenges, when there is no answer to them, or one by any other
                nonce, right or wrong; 400 when it is malformed.
        """
        answer = self._answer_of(request)
        if answer is None:
            raise self._unauthorized(source, now)
        self._check_use(answer, request.uri)
        if not self._is_ours(answer.nonce, source, now):
            # RFC 7616 3.3: the nonce is what is wrong. That it be told of right answers alone, as
            # RFC 2617 had it, would let whoever makes up nonces guess without being counted.
            raise self._unauthorized(source, now, stale=True)
        ha1 = self._lookup(answer.username, answer.algorithm.base)
        expected = answer.expected(ha1 or self._nobody[answer.algorithm.base], request.method)
        right = hmac.compare_digest(
            expected.encode(), answer.response.encode("utf-8", "surrogateescape")
        )
        if not right or ha1 is None:
            raise WrongCredentialsError(401, "Unauthorized", self.challenge(source, now))
        if not self._count(answer):
            raise self._unauthorized(source, now, stale=True)
        return answer.username

    def _unauthorized(self, source: str, now: float, *, stale: bool = False) -> SipError:
        return SipError(401, "Unauthorized", self.challenge(source, now, stale=stale))

    def _answer_of(self, request: Request) -> Answer | None:
        """22.3: of all the request's answers, the one for our realm, by what was offered."""
        fields = request.headers.get_all("Authorization")
        if len(fields) > _MAX_CHALLENGES:
            raise SipError(400, "Too Many Credentials")
        for answer in map(Answer.parse, fields):
            if answer and answer.realm == self._realm and answer.algorithm.base in self._offered:
                return answer
        return None

    def _check_use(self, answer: Answer, uri: Uri) -> None:
        if answer.qop not in (None, "auth"):
            raise SipError(400, "Bad qop In Credentials")  # RFC 7616 3.4: not what was offered
        if not _same_target(answer.uri, uri):
            raise SipError(400, "Credentials For Another URI")  # RFC 7616 3.4.6

    def _seal(self, text: str, source: str) -> str:
        mac = hmac.new(self._key, f"{text}.{source}".encode("utf-8", "surrogateescape"), "sha256")
        return mac.hexdigest()[:32]

    def _is_ours(self, nonce: str, source: str, now: float) -> bool:
        text, _, seal = nonce.rpartition(".")
        given = seal.encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(self._seal(text, source).encode(), given):
            return False
        issued_ms = _issued_ms(nonce)
        # A process that shares the key may be ahead of us, but not by a life.
        return -self._life_ms < int(1000 * now) - issued_ms < self._life_ms and (
            nonce in self._used or issued_ms > self._forgotten_ms
        )

    def _count(self, answer: Answer) -> bool:
        """Count a use; False when it was counted before. Without qop a nonce is good once."""
        window = self._used.pop(answer.nonce, None) or _Window()
        self._used[answer.nonce] = window
        if len(self._used) > self._max_nonces:
            forgotten = next(iter(self._used))
            del self._used[forgotten]
            self._forgotten_ms = max(self._forgotten_ms, _issued_ms(forgotten))
        return window.take(answer.nc if answer.qop else 1)


class _Window:
    """Which of the last 64 counts of one nonce were used: datagrams come in any order."""

    __slots__ = ("_highest", "_mask")

    def __init__(self) -> None:
        self._highest = 0
        self._mask = 0  # bit n: `highest - n` was used

    def take(self, count: int) -> bool:
        if count > self._highest:
            shift = count - self._highest
            self._mask = (self._mask << shift if shift < 64 else 0) & (1 << 64) - 1 | 1
            self._highest = count
            return True
        behind = self._highest - count
        if count < 1 or behind >= 64 or self._mask >> behind & 1:
            return False
        self._mask |= 1 << behind
        return True


def passwords(realm: str, users: Iterable[tuple[str, str]]) -> Lookup:
    """A lookup of users whose passwords are known; it keeps the hashes alone."""
    ha1s = {
        (name, algorithm): ha1_of(algorithm, name, realm, password)
        for name, password in users
        for algorithm in _STRONGEST_FIRST
    }
    return lambda name, algorithm: ha1s.get((name, algorithm))


def new_key(tokens: Callable[[], str]) -> bytes:
    """A key for `DigestServer` that no other process has."""
    return hashlib.sha256(tokens().encode()).digest()


def _issued_ms(nonce: str) -> int:
    """When a nonce of ours was issued."""
    return int(nonce.partition(".")[0], 16)


def _best(headers: Headers) -> Iterable[tuple[str, Challenge]]:
    """For each realm the topmost challenge that we can answer (RFC 8760 2.4), and where to."""
    chosen: dict[tuple[str, str], Challenge] = {}
    for asked_in, field in _ANSWERED_IN.items():
        for value in headers.get_all(asked_in)[:_MAX_CHALLENGES]:
            try:
                challenge = Challenge.parse(value)
            except SipError:
                continue  # the next one may be better
            if challenge and (not challenge.qop or {"auth", "auth-int"} & {*challenge.qop}):
                chosen.setdefault((field, challenge.realm), challenge)
    return [(field, challenge) for (field, _), challenge in chosen.items()]


def _same_target(written: str, uri: Uri) -> bool:
    """Is the `uri` of an answer the Request-URI?

    Phones leave out port and parameters, and proxies add them; so of two SIP URIs user and host
    decide: nobody else may be called with this answer.
    """
    if written == str(uri):
        return True
    try:
        other = parse_uri(written)
    except SipError:
        return False
    if not (isinstance(uri, SipUri) and isinstance(other, SipUri)):
        return False
    return (uri.user, uri.host.lower()) == (other.user, other.host.lower())
