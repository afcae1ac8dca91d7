"""Twilio's REST API: what is done to a call from outside (https://www.twilio.com/docs/voice/api).

Two requests of one resource, by aiohttp. Twilio's own library would do, but its asynchronous client
takes no notice of the time-out that it was made with, reads answers of any length, looks into the
environment, and signs in by a class that aiohttp has done with (9.13).

What is sent twice may be done twice: only what is harmless then is tried again, and what was surely
not received (no connection), or not taken (429).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
import structlog

from ingress_web.carriers import twiml
from ingress_web.carriers.carrier import CarrierError

_log = structlog.get_logger(__name__)
_API: Final = "https://api.twilio.com"
_VERSION: Final = "2010-04-01"
#: One request may take so long, s.
_TIMEOUT_S: Final = 10.0
#: Pauses before another try, s.
_PAUSES_S: Final = (0.5, 1.5)
_MOST_ANSWER: Final = 65_536
_CALL: Final = re.compile(r"CA[0-9a-fA-F]{32}")

#: https://www.twilio.com/docs/api/errors: what to do about those that people meet.
_HINTS: Final = {
    20003: "TRUNKLINE_TWILIO_ACCOUNT_SID and TRUNKLINE_TWILIO_AUTH_TOKEN do not belong together",
    20404: "the call is none of this account's, or long over",
    20429: "too many requests at once",
    21205: "Twilio does not take TRUNKLINE_PUBLIC_URL: it must be reachable from the internet",
    21210: "the number that calls must be one of Twilio's, or verified there",
    21211: "write the number called like +15551234567",
    21212: "the number that calls is none of this account's",
    21214: "the number called cannot be reached",
    21215: "the account may not call this country: allow it in the console, under Geo permissions",
    21216: "Twilio does not let this number be called",
    21217: "write the number called like +15551234567",
    21219: "a trial account calls verified numbers only",
    21220: "the call is not in progress",
    21264: "write the number that calls like +15551234567",
}
#: The call is over, or never was.
_OVER: Final = frozenset({20404, 21220})

Fields = Sequence[tuple[str, str]]


class TwilioCarrier:
    """A `carrier.Carrier`: the calls of one account."""

    name = "twilio"

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        hook_url: Callable[[str, str], str],
        public_url: str | None = None,
        api_url: str = _API,
        timeout_s: float = _TIMEOUT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`hook_url` is `TwilioWebhook.hook_url`; `public_url` is needed to place calls."""
        self._account = account_sid
        self._headers = {"Authorization": aiohttp.encode_basic_auth(account_sid, auth_token)}
        self._hook_url = hook_url
        self._public_url = public_url
        self._calls = f"{api_url.rstrip('/')}/{_VERSION}/Accounts/{account_sid}/Calls"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"TwilioCarrier({self._account})"

    async def hang_up(self, call: str) -> None:
        """End a call; one that is over is no error."""
        try:
            await self._update(call, [("Status", "completed")], harmless=True)
        except CarrierError as error:
            if error.code not in _OVER:
                raise

    async def transfer(
        self, call: str, target: str, *, caller_id: str = "", timeout_s: float = 30
    ) -> None:
        """Put the caller through by a <Dial>. Its action tells what came of it.

        Without `caller_id` a number is shown the caller's, which Twilio allows for calls that came
        in; for one that we placed it wants a number of the account (docs/api/errors/13214).
        """
        action = self._action(call, twiml.DIALLED)
        try:
            document = twiml.dial(action, target, caller_id=caller_id, timeout_s=timeout_s)
        except ValueError as error:
            raise CarrierError(0, 0, str(error)) from error
        await self._update(call, [("Twiml", document)])

    async def send_digits(self, call: str, digits: str) -> None:
        """Play keys by a <Play digits>, which ends the stream; then its successor is connected.

        A live call's TwiML can only be replaced whole (docs/voice/api/call-resource, "Twiml"), so
        for about a second, and while the keys are played, nothing of the call is heard here.
        """
        action = self._action(call, twiml.CONNECTED)
        try:
            document = twiml.play_digits(action, digits)
        except ValueError as error:
            raise CarrierError(0, 0, str(error)) from error
        await self._update(call, [("Twiml", document)])

    async def place(self, to: str, from_: str, *, call: str, timeout_s: float = 60) -> str:
        """Call somebody. Answering machines are not told from people: the agent talks to either."""
        if self._public_url is None:
            raise CarrierError(0, 0, "Twilio has nowhere to ask", "set TRUNKLINE_PUBLIC_URL")
        fields = [
            ("To", to),
            ("From", from_),
            ("Url", twiml.placed_url(self._public_url, twiml.VOICE, call)),
            ("Method", "POST"),
            ("Timeout", str(max(1, min(600, round(timeout_s))))),
            ("StatusCallback", twiml.placed_url(self._public_url, twiml.STATUS, call)),
            ("StatusCallbackMethod", "POST"),
            # Without these only the end is told (docs/voice/api/call-resource).
            ("StatusCallbackEvent", "ringing"),
            ("StatusCallbackEvent", "answered"),
            ("StatusCallbackEvent", "completed"),
        ]
        answer = await self._post(f"{self._calls}.json", fields, harmless=False)
        sid = answer.get("sid")
        if not isinstance(sid, str) or not _CALL.fullmatch(sid):
            raise CarrierError(200, 0, "Twilio's answer names no call")
        return sid

    async def close(self) -> None:
        """Give up the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _action(self, call: str, path: str) -> str:
        try:
            return self._hook_url(call, path)
        except LookupError as error:
            raise CarrierError(0, 0, str(error)) from error

    async def _update(self, call: str, fields: Fields, *, harmless: bool = False) -> None:
        if not _CALL.fullmatch(call):
            raise CarrierError(0, 0, f"{call[:60]!r} is no call of Twilio's")
        await self._post(f"{self._calls}/{call}.json", fields, harmless=harmless)

    async def _post(self, url: str, fields: Fields, *, harmless: bool) -> dict[str, Any]:
        for pause_s in _PAUSES_S:
            try:
                return await self._post_once(url, fields)
            except CarrierError as error:
                if not (
                    error.status == 429 or _is_untold(error) or (harmless and _may_pass(error))
                ):
                    raise
                _log.info("twilio.tried_again", error=str(error), after_s=pause_s)
            await self._sleep(pause_s)
        return await self._post_once(url, fields)

    async def _post_once(self, url: str, fields: Fields) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
        try:
            async with self._session.post(
                url, data=aiohttp.FormData(fields), allow_redirects=False
            ) as response:
                status = response.status
                content = await _read(response)
        except aiohttp.ClientConnectorError as error:
            raise CarrierError(0, 0, f"Twilio cannot be reached: {error.os_error}") from error
        except TimeoutError as error:
            raise CarrierError(0, 0, "Twilio did not answer in time") from error
        except aiohttp.ClientError as error:
            raise CarrierError(0, 0, f"the connection to Twilio broke: {error}") from error
        answer = _read_json(content)
        if 200 <= status < 300:
            return answer
        code = answer.get("code")
        code = code if isinstance(code, int) else 0
        message = str(answer.get("message") or f"Twilio answered {status}")[:300]
        raise CarrierError(status, code, message, _HINTS.get(code, ""))


def _is_untold(error: CarrierError) -> bool:
    """Did Twilio surely not get it?"""
    return isinstance(error.__cause__, aiohttp.ClientConnectorError)


def _may_pass(error: CarrierError) -> bool:
    """Might it go well another time?"""
    return error.status >= 500 or (error.status == 0 and error.__cause__ is not None)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for chunk in response.content.iter_chunked(8192):
        content += chunk
        if len(content) > _MOST_ANSWER:
            raise aiohttp.ClientPayloadError("its answer is too long")
    return content


def _read_json(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
