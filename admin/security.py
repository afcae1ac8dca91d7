"""What every response says, and what no request may do."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The only body that the dashboard takes is a login form.
MAX_BODY_BYTES = 16_384

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it browsers send `Origin: null` with our own forms (Fetch, 3.2).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Hardening:
    """ASGI middleware, outermost: adds HEADERS, refuses large bodies and other sites' forms."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                # Calls are private: neither a proxy nor the browser's disk shall keep them.
                is_ours = scope["path"].startswith("/static/")
                headers.setdefault("Cache-Control", "no-cache" if is_ours else "no-store")
            await send(message)

        headers = Headers(scope=scope)
        if scope["method"] not in _SAFE_METHODS and not _is_own_form(headers):
            refusal = JSONResponse({"error": "this form came from another site"}, status_code=403)
            await refusal(scope, receive, send_hardened)
        elif _body_is_too_large(headers):
            refusal = JSONResponse({"error": "the request is too large"}, status_code=413)
            await refusal(scope, receive, send_hardened)
        else:
            await self.app(scope, receive, send_hardened)


def _is_own_form(headers: Headers) -> bool:
    """Tell our own pages' requests from forgeries, without tokens.

    Browsers say where a request comes from: by Sec-Fetch-Site (W3C Fetch Metadata) towards https
    and localhost, by Origin otherwise. Who says neither is no browser and carries no one's cookie.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _body_is_too_large(headers: Headers) -> bool:
    if "transfer-encoding" in headers:  # of unknown length: no form is sent so
        return True
    length = headers.get("content-length", "0")
    return not length.isdigit() or int(length) > MAX_BODY_BYTES
