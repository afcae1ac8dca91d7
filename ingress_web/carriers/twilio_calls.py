"""The calls that Twilio offered, and the URLs that it comes back to about each.

Twilio's signature says nothing of time: whoever has seen a request can send it again. So each URL
that we have Twilio come back to is another, and is good for one request (and Twilio's own retry of
that). What it was answered may hold a stream's token, and would let a stranger into the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ingress_web.carriers.twilio_check import ForbiddenError
from ingress_web.door import Offer
from ingress_web.webhooks import Answer

#: The parameter that makes such a URL another.
HOOK: Final = "hook"
#: Twilio's retry comes within 15 s (docs/usage/webhooks/webhooks-connection-overrides, "tt").
_RETRY_S: Final = 15.0
#: Calls that are remembered, so that their webhook's replay is known.
MOST_CALLS: Final = 20_000
#: URLs of a call that are open: of more, the oldest is forgotten.
_MOST_HOOKS: Final = 32


@dataclass
class OfferedCall:
    """A call that was offered."""

    offer: Offer
    #: Our public URL, as its webhook had it.
    base: str
    answer: asyncio.Future[Answer]
    #: Until then the webhook may come again, s.
    until: float
    #: How often in a row its stream did not come.
    lost: int = 0
    #: URLs that were given out and not used, and what used ones were answered until when, s.
    open_hooks: dict[str, None] = field(default_factory=dict)
    used_hooks: dict[str, tuple[Answer, float]] = field(default_factory=dict)


class OfferedCalls:
    """All of them, by CallSid, in the order in which they were offered."""

    def __init__(self, nonce: Callable[[], str]) -> None:
        """`nonce` gives words that are URL-safe and cannot be guessed."""
        self._nonce = nonce
        self._calls: dict[str, OfferedCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, call: str) -> OfferedCall | None:
        """A call; None for one that was not offered here, or long ago."""
        return self._calls.get(call)

    def add(self, call: OfferedCall) -> None:
        """Remember a call."""
        self._calls[call.offer.call] = call
        if len(self._calls) > MOST_CALLS:
            del self._calls[next(iter(self._calls))]

    def forget(self, call: str) -> None:
        """A call that was not taken may be offered again."""
        self._calls.pop(call, None)

    def hook_url(self, call: str, path: str, base: str = "") -> str:
        """A URL for Twilio to come back to about a call, good once.

        Args:
            base: our public URL, where it is not as the call's webhook had it.

        Raises:
            LookupError: that call was not offered here.
        """
        known = self._calls.get(call)
        if known is None:
            raise LookupError(f"Twilio's call {call} was not offered here")
        hook = self._nonce()
        known.open_hooks[hook] = None
        if len(known.open_hooks) > _MOST_HOOKS:
            del known.open_hooks[next(iter(known.open_hooks))]
        return f"{base or known.base}{path}?{HOOK}={hook}"


def use_hook(call: OfferedCall, hook: str, now: float, *, attached: bool) -> Answer | None:
    """Is a URL that Twilio comes back to still good? What it was answered, if this is the retry.

    Args:
        attached: the call has a stream: then nobody needs that answer any more.

    Raises:
        ForbiddenError: it was used, or never given out.
    """
    if hook in call.open_hooks:
        del call.open_hooks[hook]
        return None
    answer, until = call.used_hooks.get(hook, (None, 0.0))
    if answer is None or attached or now >= until:
        raise ForbiddenError("replay", "Twilio was here by this URL before")
    return answer


def hook_was_answered(call: OfferedCall, hook: str, answer: Answer, now: float) -> None:
    """Keep an answer for Twilio's retry."""
    call.used_hooks = {h: (a, until) for h, (a, until) in call.used_hooks.items() if until > now}
    call.used_hooks[hook] = (answer, now + _RETRY_S)
