"""Values of settings that have a form: URLs, names, keys. Addresses to listen on: `listen.py`."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

#: It ends in letters: what ends in digits was meant to be an address.
_HOST_NAME = re.compile(r"(?=.{1,253}$)([\w-]+\.)*[A-Za-z][\w-]*")
_DATABASES = (
    "sqlite:///",
    "sqlite+aiosqlite:///",
    "postgres://",
    "postgresql://",
    "postgresql+asyncpg://",
)


def _bus(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("write redis://HOST:PORT/0, rediss://... or unix:///PATH")
    return value


def _database(value: str) -> str:
    if value and not value.startswith(_DATABASES):
        raise ValueError("write postgresql://USER:PASSWORD@HOST/NAME or sqlite:///PATH")
    return value


def _public_host(value: str) -> str:
    if not _is_address(value) and not _HOST_NAME.fullmatch(value):
        raise ValueError("write an IP address alone, without a port, like 203.0.113.7")
    return value


def _web_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or not re.fullmatch(r"[^\s?#@\\\"<>\x00-\x1f\x7f-\U0010ffff]+", value):
        raise ValueError("write https://HOST, without a query, like https://voice.example.com")
    return value.rstrip("/")


def _key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9_.~-]{16,256}", value.get_secret_value()):
        raise ValueError("write 16 or more letters and digits, as `openssl rand -hex 16` does")
    return value


def _twilio_account(value: str) -> str:
    if not re.fullmatch(r"AC[0-9a-fA-F]{32}", value):
        raise ValueError("write the Account SID: AC and 32 hex digits")
    return value


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


BusUrl = Annotated[str, AfterValidator(_bus)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
PublicHost = Annotated[str, AfterValidator(_public_host)]
#: http or https, a host, perhaps a path; without a slash at its end.
WebUrl = Annotated[str, AfterValidator(_web_url)]
#: A secret that may stand in a URL.
UrlKey = Annotated[SecretStr, AfterValidator(_key)]
TwilioAccount = Annotated[str, AfterValidator(_twilio_account)]
