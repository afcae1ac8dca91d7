"""Who may see the dashboard. Everything is shut unless it is named here as open.

People sign in once and carry a signed cookie; scrapers and scripts send the same password with
each request, as HTTP Basic (any user name) or as a bearer token.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import math
import time
from collections.abc import Callable
from typing import Any

from starlette.datastructures import URL, Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from admin.passwords import verify_password
from admin.throttle import LoginThrottle

#: Open to all: that the process lives and is ready, and the way in (which needs its style sheet).
OPEN_PATHS = frozenset({"/health", "/ready", "/login"})
OPEN_PREFIX = "/static/"


class TooManyGuessesError(Exception):
    """This address gave too many wrong passwords; it may try again after `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passwords; try again in {math.ceil(wait_s)} s")
        self.wait_s = math.ceil(wait_s)


class Doorkeeper:
    """Knows the password's hash; checks passwords and sessions.

    Args:
        password_hash: of `passwords.hash_password`.
        secret: signs sessions.
        clock: s, of a clock that does not jump; for the throttle.
    """

    def __init__(
        self, password_hash: str, secret: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._password_hash = password_hash
        self._secret = secret.encode()
        self._clock = clock
        self._throttle = LoginThrottle()
        # One verification at a time: guesses cost the host one core and 64 MiB, however many come.
        self._one_at_a_time = asyncio.Lock()
        self._proven: bytes | None = None
        #: What a session holds. It changes with the password, so a new password ends all sessions.
        self.stamp = self._seal(password_hash).hex()

    async def admits(self, address: str, password: str) -> bool:
        """Check a password.

        Raises:
            TooManyGuessesError: unheard, as this address guessed wrong too often.
        """
        # A scraper comes every few seconds with the same words; argon2 needs to see them once.
        sealed = self._seal(password)
        if self._proven is not None and hmac.compare_digest(sealed, self._proven):
            return True
        async with self._one_at_a_time:
            if wait_s := self._throttle.wait_s(address, self._clock()):
                raise TooManyGuessesError(wait_s)
            if not await asyncio.to_thread(verify_password, self._password_hash, password):
                self._throttle.failed(address, self._clock())
                return False
            self._throttle.succeeded(address)
            self._proven = sealed
            return True

    def knows(self, session: dict[str, Any]) -> bool:
        """Check a session, whose signature was checked before."""
        return hmac.compare_digest(str(session.get("stamp", "")), self.stamp)

    def _seal(self, text: str) -> bytes:
        return hmac.digest(self._secret, text.encode(), hashlib.sha256)


class Gate:
    """ASGI middleware, inside SessionMiddleware: shut unless open, signed in, or authorized."""

    def __init__(self, app: ASGIApp, doorkeeper: Doorkeeper) -> None:
        self.app = app
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and _is_open(scope["path"])):
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: there are none here
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = await self._refusal(Request(scope))
        await (refusal or self.app)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        if self._doorkeeper.knows(request.session):
            return None
        password = _presented_password(request.headers)
        if password is None:
            return _ask_to_sign_in(request)
        try:
            admitted = await self._doorkeeper.admits(client_address(request), password)
        except TooManyGuessesError as error:
            headers = {"Retry-After": str(error.wait_s)}
            return JSONResponse({"error": str(error)}, status_code=429, headers=headers)
        return None if admitted else _unauthorized("wrong password")


def client_address(request: Request) -> str:
    """Name the peer. Behind a proxy, uvicorn's --forwarded-allow-ips makes this its client."""
    return request.client.host if request.client else ""


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def _presented_password(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _ask_to_sign_in(request: Request) -> Response:
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        login = URL("/login").include_query_params(next=here)
        return RedirectResponse(str(login) if here != "/" else "/login", status_code=303)
    return _unauthorized("the password is needed: sign in, or send it as HTTP Basic or Bearer")


def _unauthorized(why: str) -> Response:
    # RFC 9110 11.6.1: a 401 names the schemes that would do.
    challenge = {"WWW-Authenticate": 'Basic realm="trunkline", Bearer realm="trunkline"'}
    return JSONResponse({"error": why}, status_code=401, headers=challenge)
