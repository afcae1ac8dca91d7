"""The dialects that are spoken, by their carrier's name, which is also their path's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ingress_web.dialects.messages import Dialect
from ingress_web.dialects.plivo import PlivoDialect
from ingress_web.dialects.telnyx import TelnyxDialect
from ingress_web.dialects.twilio import TwilioDialect
from ingress_web.dialects.vonage import VonageDialect

DIALECTS: Final[Mapping[str, Callable[[], Dialect]]] = {
    dialect.name: dialect for dialect in (TwilioDialect, TelnyxDialect, PlivoDialect, VonageDialect)
}
