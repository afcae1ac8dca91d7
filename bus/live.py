"""The calls that are on the bus now: live, or ended and not yet recorded."""

from __future__ import annotations

from bus.folds import Folds
from bus.log import CallLog
from bus.presence import Presence
from calls.conversation import Conversation
from calls.events import Event
from calls.ids import CallId


class LiveCalls:
    """Reads calls from their logs. Every method raises RedisError when the bus is away."""

    def __init__(self, log: CallLog, folds: Folds, presence: Presence) -> None:
        self._log = log
        self._folds = folds
        self._presence = presence

    async def calls(self) -> list[Conversation]:
        """All of them, the latest first."""
        found = [await self.conversation(call) for call in await self._presence.live_calls()]
        known = [conversation for conversation in found if conversation is not None]
        return sorted(known, key=lambda c: c.started.at if c.started else 0.0, reverse=True)

    async def conversation(self, call: CallId) -> Conversation | None:
        """One of them; None when the bus does not know it (any more)."""
        conversation = (await self._folds.get(call)).conversation
        return conversation if conversation.started is not None else None

    async def events(self, call: CallId) -> list[Event]:
        """Its whole log so far."""
        return list(await self._log.read(call))
