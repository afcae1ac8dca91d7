"""Tokens that tie a media stream to the webhook that asked for it.

Anybody can open a WebSocket; only whoever was answered our TwiML has a token. It is signed, bound
to the call and the account, short-lived, and good for one stream. All ingresses that know the key
can read it; that it was used is known to the one which saw it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer

#: From the webhook's answer to the stream's first message there is about a second.
LIFE_S: Final = 60
_SALT: Final = "trunkline.stream-token"
#: Ours have about 180.
_LONGEST: Final = 500

Fault = Literal["missing", "malformed", "expired", "other_call", "used"]


class TokenError(Exception):
    """The stream is none that we asked for: close it (RFC 6455 7.4.1: 1008). `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


class StreamTokens:
    """Issues tokens and takes each once."""

    def __init__(
        self,
        key: str | bytes | None = None,
        *,
        clock: Callable[[], float] = time.time,
        life_s: int = LIFE_S,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(12),
    ) -> None:
        """`key` is a secret of this installation; None: of this process. `clock` is in epoch s."""
        self._clock = clock
        self._life_s = life_s
        self._nonce = nonce
        self._serializer = URLSafeTimedSerializer(
            key or secrets.token_bytes(32), salt=_SALT, signer=_signer(clock)
        )
        #: What was used, and when it would have expired: in order of use, which is nearly that.
        self._used: dict[str, float] = {}

    def issue(self, call: str, account: str) -> str:
        """A token for one stream of this call: URL-safe, of less than 200 characters."""
        return self._serializer.dumps([call, account, self._nonce()])

    def redeem(self, token: str, call: str, account: str) -> None:
        """Take a token for the stream that came with it.

        Raises:
            TokenError
        """
        if not token:
            raise TokenError("missing")
        if len(token) > _LONGEST:
            raise TokenError("malformed")
        try:
            content: Any = self._serializer.loads(token, max_age=self._life_s)
        except SignatureExpired:
            raise TokenError("expired") from None
        except (BadData, ValueError):
            raise TokenError("malformed") from None
        nonce = content[2]
        if content[:2] != [call, account]:
            raise TokenError("other_call")
        now = self._clock()
        self._forget(now)
        if nonce in self._used:
            raise TokenError("used")
        self._used[nonce] = now + self._life_s + 1

    def _forget(self, now: float) -> None:
        for nonce, until in list(self._used.items()):
            if until >= now:
                break
            del self._used[nonce]


def _signer(clock: Callable[[], float]) -> type[TimestampSigner]:
    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(clock())

    return Signer
