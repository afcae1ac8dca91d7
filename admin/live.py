"""What the dashboard needs to know of what happens now: the port that the bus fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bus.trunk_state import Lines
from calls.conversation import Conversation
from calls.events import Event
from calls.ids import CallId


class LiveCallsUnavailableError(Exception):
    """Live calls cannot be read now. Its text is shown to people; pages go on without them."""


class LiveCalls(Protocol):
    """Calls that have started and are not in the call history yet.

    Each method may raise LiveCallsUnavailableError.
    """

    async def calls(self) -> Sequence[Conversation]:
        """All of them, in any order."""
        ...

    async def events(self, call_id: CallId) -> list[Event]:
        """One's log from the first entry; empty for an unknown call."""
        ...

    async def lines(self) -> Lines:
        """The trunks and phones that calls come and go by."""
        ...
