"""The way in for every HTTP request: who sent it, how often, and what it says, within limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from ingress_web.forms import MAX_BODY, FormError, check_type, read_form
from ingress_web.proxies import Proxies, UrlError
from ingress_web.rate import RequestRate
from ingress_web.refusals import Refusals
from ingress_web.webhooks import Request

#: A body that is not here after so long does not come, s.
_BODY_S: Final = 10.0

_HEADERS: Final = {
    # Nothing here is for a browser.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Else it names versions.
    "Server": "trunkline",
}


class Gate:
    """Lets requests in. One for a server's webhooks and streams together."""

    def __init__(
        self,
        proxies: Proxies,
        rate: RequestRate,
        *,
        clock: Callable[[], float] = time.monotonic,
        refusals: Refusals | None = None,
    ) -> None:
        """`clock` is in s and does not jump."""
        self._proxies = proxies
        self._rate = rate
        self._clock = clock
        self._refusals = refusals or Refusals(clock)

    def source(self, request: web.BaseRequest) -> str:
        """Who sent it, past our proxies. Counts the request.

        Raises:
            web.HTTPTooManyRequests
        """
        source = self._proxies.client(request.headers, request.remote or "")
        wait_s = self._rate.wait_s(source, self._clock())
        if wait_s > 0:
            self._refusals.add(429, "rate", request.path[:200], source)
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(int(wait_s) + 1)})
        return source

    async def read(self, request: web.Request) -> Request:
        """What a webhook says.

        Raises:
            web.HTTPException: it is too much, too often, too slow, or no form.
        """
        source = self.source(request)
        try:
            url = self._proxies.url(
                request.scheme, request.raw_path, request.headers, request.remote or ""
            )
            headers = request.headers
            check_type(headers.get("Content-Type", ""), headers.get("Content-Encoding", ""))
            form = read_form(await _body(request))
        except UrlError as error:
            raise self._refused(400, str(error), request, source) from None
        except FormError as error:
            raise self._refused(error.status, str(error), request, source) from None
        return Request(url, form, request.headers, source)

    def _refused(
        self, status: int, hint: str, request: web.Request, source: str
    ) -> web.HTTPException:
        self._refusals.add(status, "bad_form", request.path[:200], source, hint=hint)
        kinds: dict[int, Callable[[], web.HTTPException]] = {
            408: web.HTTPRequestTimeout,
            413: lambda: web.HTTPRequestEntityTooLarge(MAX_BODY),
            415: web.HTTPUnsupportedMediaType,
        }
        refusal = kinds.get(status, web.HTTPBadRequest)()
        # What is not read of the body would be taken for the next request.
        refusal.force_close()
        return refusal


async def harden(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: the headers that every answer has."""
    for name, value in _HEADERS.items():
        response.headers[name] = value


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_BODY:
        raise FormError(413, f"the body has more than {MAX_BODY} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.content.iter_chunked(16_384):
                body += chunk
                if len(body) > MAX_BODY:
                    raise FormError(413, f"the body has more than {MAX_BODY} bytes")
    except TimeoutError:
        raise FormError(408, f"the body did not come within {_BODY_S:g} s") from None
    return bytes(body)
