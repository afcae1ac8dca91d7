"""What a role is, once it runs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from bus.session import BusSession
from trunkline.settings import Settings


@dataclass(slots=True)
class Running:
    """A role that works: how to see it, and how to stop it."""

    #: For the ready line: where it can be reached.
    addresses: dict[str, object] = field(default_factory=dict)
    #: Its calls, turns or sentences.
    owned: Callable[[], int] = lambda: 0
    drain: Callable[[], Awaitable[None]] | None = None
    #: How many of them it can own; 0 where there is no such number.
    capacity: int = 0


#: Jobs of most pools are short: a drain lets them finish. In s.
FINISH_S: Final = 5.0

Start = Callable[[Settings, BusSession], AbstractAsyncContextManager[Running]]


def now_ms() -> float:
    """The wall clock, Unix epoch in ms: what `at` means in every event."""
    return time.time() * 1000
