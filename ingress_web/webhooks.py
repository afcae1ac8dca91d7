"""A webhook's request that was read, and what it is answered: whatever the carrier and server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from multidict import MultiDict

from ingress_web.proxies import Url


class Request(NamedTuple):
    """What a carrier asks. `url` is as it was given it; `headers` are looked up by the names that
    RFCs and carriers write; `source` is who sent it, past our proxies.
    """

    url: Url
    form: MultiDict[str]
    headers: Mapping[str, str]
    source: str


class Answer(NamedTuple):
    """What it is answered."""

    status: int
    content_type: str = "text/plain"
    body: str = ""
