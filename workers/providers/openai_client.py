"""What the three OpenAI-compatible stages share: options, a warm connection, and error words.

Any service that speaks the protocol will do: OpenAI, NIM, vLLM, Ollama, Groq, Kokoro-FastAPI, ...
by its `base_url`. All stages of a process that use the same service share one client, so that a
connection which one stage has opened serves the next one without a handshake.

How long an answer may take, and who asks again, is not decided here (workers/resilience); only that
a connection which cannot be made within `CONNECT_S` is none.

Protocol: https://platform.openai.com/docs/api-reference; client: the `openai` package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
from pydantic import Field, field_validator

from workers.ports import Ask, ProviderError
from workers.providers.options import Options

DEFAULT_BASE_URL = "https://api.openai.com/v1"

#: Seconds that an idle connection is kept: longer than callers pause between two turns.
KEEP_WARM_S = 120.0
#: Seconds for a connection to be made, with TLS.
CONNECT_S = 3.0

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_NO_KEY = "none"


class OpenAIOptions(Options):
    """The options that all three stages have."""

    #: Where the service is, up to and with "/v1".
    base_url: str = DEFAULT_BASE_URL
    model: str = Field(min_length=1)
    #: The environment variable that holds the key; "none" for a service that needs none.
    api_key_env: str = "OPENAI_API_KEY"
    #: Fields of the service's own, added to each request as they stand.
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
            raise ValueError("must be an http:// or https:// URL, like http://127.0.0.1:11434/v1")
        return value.rstrip("/")


class Service:
    """A shared client to one service with one key; `release` it when the stage closes."""

    _open: dict[tuple[str, str], Service] = {}  # noqa: RUF012 - the process's own table

    def __init__(self, base_url: str, key: str) -> None:
        self._id = (base_url, key)
        self._users = 0
        self.client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=key,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            max_retries=0,
            # On aiohttp: what a token or a piece of audio costs is half of what it is on httpx.
            http_client=openai.DefaultAioHttpClient(
                limits=httpx2.Limits(max_connections=1000, keepalive_expiry=KEEP_WARM_S)
            ),
        )

    @classmethod
    def acquire(cls, base_url: str, key: str) -> Service:
        """Share the client of this process for a service, or open it."""
        service = cls._open.get((base_url, key))
        if service is None:
            service = cls._open[base_url, key] = cls(base_url, key)
        service._users += 1
        return service

    async def release(self) -> None:
        """One user less; the last one closes the connections."""
        self._users -= 1
        if self._users == 0:
            del self._open[self._id]
            await self.client.close()


def connect(options: OpenAIOptions, ask: Ask, stage: str) -> Service:
    """Find the key and share the service's client.

    Raises:
        ProviderError: there is no key, and the service is not on this machine.
    """
    key = None if options.api_key_env == _NO_KEY else ask.secret(options.api_key_env)
    local = urlsplit(options.base_url).hostname in _LOCAL
    if not key and options.api_key_env != _NO_KEY and not local:
        raise ProviderError(
            f"agent {ask.agent.name!r}: {stage}.options: {options.base_url} needs a key: set the "
            f"environment variable {options.api_key_env}, or name another in api_key_env "
            '("none" if the service takes no key)',
            error_type="refused",
        )
    return Service.acquire(options.base_url, key or _NO_KEY)


@contextmanager
def vendor_errors(options: OpenAIOptions) -> Iterator[None]:
    """Turn what the SDK raises into a `ProviderError` that names the service."""
    where = f"{options.base_url}, model {options.model!r}"
    try:
        yield
    except openai.APIStatusError as error:
        # Too busy, too early, too often: not the request's fault, another time it may be heard.
        refused = error.status_code < 500 and error.status_code not in (408, 409, 425, 429)
        raise ProviderError(
            f"{where} answered {error.status_code}: {_said(error)}",
            error_type="refused" if refused else "unavailable",
        ) from error
    except (openai.APIConnectionError, httpx2.TransportError) as error:
        cause = error.__cause__ or error
        raise ProviderError(
            f"{where}: the connection failed ({cause or type(cause).__name__}); is it running?",
            error_type="unavailable",
        ) from error
    except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
        raise ProviderError(f"{where} broke the protocol: {error}") from error


def _said(error: openai.APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or error.message)[:300]
