"""What the user of the core decides of requests outside of calls."""

from __future__ import annotations

from typing import Protocol

from ingress_sip.signalling.message import Request
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.sessions import HeaderItems


class Policy(Protocol):
    """Who may ask what outside of dialogs; asked before anything is kept of the request."""

    def hears(self, source: Hop, now: float) -> bool:
        """Is what cannot be read answered, coming from there?"""
        ...

    def trusts(self, source: Hop, admitted: object) -> bool:
        """Is it known to be where its datagrams say, though it has acknowledged nothing yet?

        `admitted` is what `screen` returned for its INVITE.
        """
        ...

    def admit(self, request: Request, source: Hop, now: float) -> None:
        """Raises SipError with the refusal (401, 403, ...), IgnoredError for no answer at all."""
        ...

    def screen(self, invite: Request, source: Hop, now: float) -> object:
        """Take an admitted INVITE, or raise SipError where it cannot become a call.

        What is returned comes with the event, as `admitted`.
        """
        ...

    def register(self, request: Request, source: Hop, now: float) -> HeaderItems | None:
        """The header fields of the 200 to an admitted REGISTER; None: there is no registrar here.

        Raises SipError.
        """
        ...


class Anybody:
    """Everybody may call, and nobody registers."""

    def hears(self, source: Hop, now: float) -> bool:  # noqa: ARG002
        return True

    def trusts(self, source: Hop, admitted: object) -> bool:  # noqa: ARG002
        return False

    def admit(self, request: Request, source: Hop, now: float) -> None:
        """Let it in."""

    def screen(self, invite: Request, source: Hop, now: float) -> object:
        """Take it."""

    def register(self, request: Request, source: Hop, now: float) -> HeaderItems | None:  # noqa: ARG002
        return None
