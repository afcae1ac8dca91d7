"""The doctor's look at the web side: can a carrier reach it, and does it know whom to believe?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from ingress_web.carriers.twiml import VOICE
from trunkline.finding import Finding
from trunkline.settings import Settings

#: A tunnel that is there answers in a fraction of this, s.
_REACH_S: Final = 5.0
#: /health says two letters; what is longer is another's.
_MOST_ANSWER: Final = 64

#: Why our /health is not answered under this public URL; None: it is. See `unreached`.
Reach = Callable[[str], Awaitable[str | None]]


async def web_findings(settings: Settings, reach: Reach | None = None) -> list[Finding]:
    """Nothing where carriers are not listened for. `reach` is asked for the public URL."""
    if settings.web_listen is None:
        return []
    findings = [_public_url(settings), *_twilio(settings)]
    url = settings.public_url
    if url is not None and (trouble := await (reach or unreached)(url)) is not None:
        says = f"{url}/health: {trouble}; fine as long as Trunkline or its tunnel does not run"
        findings.append(Finding("public URL", "warning", says))
    return findings


async def unreached(url: str) -> str | None:
    """Ask what stands there from here, which is not always as a carrier would."""
    try:
        async with (
            asyncio.timeout(_REACH_S),
            aiohttp.ClientSession() as session,
            session.get(f"{url}/health", allow_redirects=False) as response,
        ):
            said = await response.content.read(_MOST_ANSWER)
    except TimeoutError:
        return f"nothing answers within {_REACH_S:g} s"
    except (aiohttp.ClientError, ValueError) as error:
        return str(error)
    if response.status != 200 or said.strip() != b"ok":
        return f"somebody else answers, with {response.status}"
    return None


def _public_url(settings: Settings) -> Finding:
    url = settings.public_url
    if url is None:
        return Finding(
            "web URL",
            "warning",
            "without TRUNKLINE_PUBLIC_URL Twilio places no calls for us, and signatures are right "
            "only behind a proxy that passes the host on",
        )
    if urlsplit(url).scheme != "https":
        return Finding(
            "web URL",
            "warning" if settings.twilio_unsigned else "bad",
            f"{url}: carriers' streams want TLS; write https in TRUNKLINE_PUBLIC_URL",
        )
    return Finding("web URL", "ok", f"Twilio's webhook is {url}{VOICE}")


def _twilio(settings: Settings) -> Iterator[Finding]:
    """Settings refuse an account without a token; the other way round half of it works."""
    if settings.twilio_unsigned:
        yield Finding(
            "Twilio unsigned",
            "warning",
            "TRUNKLINE_TWILIO_UNSIGNED is on: whoever reaches the port from TRUSTED_PROXIES' "
            "networks can make calls; that is for development",
        )
    if settings.twilio_auth_token is None:
        if not settings.twilio_unsigned and settings.stream_key is None:
            yield Finding(
                "Twilio", "warning", "no TRUNKLINE_TWILIO_AUTH_TOKEN: every webhook is refused"
            )
    elif settings.twilio_account_sid is None:
        yield Finding(
            "Twilio",
            "warning",
            "without TRUNKLINE_TWILIO_ACCOUNT_SID calls come in, and none is transferred, "
            "sent keys or placed",
        )
    else:
        yield Finding("Twilio", "ok", f"account {settings.twilio_account_sid}, with a token")
