"""The dialects that are spoken, by their carrier's name, which is also their path's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ingress_web.dialects.messages import Dialect
from ingress_web.dialects.twilio import TwilioDialect

DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {"twilio": TwilioDialect}
