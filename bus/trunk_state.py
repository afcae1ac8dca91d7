"""What each ingress knows of its trunks and phones: for the dashboard, and `trunkline status`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import topics
from bus.board import Board

BEAT_S: Final = 2.0
#: What an ingress has not said for this long it does not say any more, ms.
GONE_MS: Final = 7000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkState:
    """A trunk, as one ingress sees it."""

    name: str
    #: The ingress, as the bus names it; filled in when it is shown.
    process: str = ""
    #: Are we registered there? off: the trunk wants no registration.
    registered: Literal["no", "yes", "failed", "off"] = "off"
    #: Does it answer OPTIONS?
    reachable: Literal["yes", "no", "unknown"] = "unknown"
    #: Its last answer that told either: 403, "Forbidden". None for no answer; then the reason is
    #: ours.
    status: int | None = None
    reason: str = ""
    #: Calls now, both ways, and those of them that we placed.
    calls: int = 0
    outbound: int = 0
    #: How many it takes at once; 0 for any number.
    limit: int = 0
    #: Since when it is registered or reachable as it is (Unix epoch, ms).
    since_ms: float = 0.0
    #: Until when the registration lasts (Unix epoch, ms); None for none.
    expires_ms: float | None = None

    @property
    def is_well(self) -> bool:
        """Can calls go by it, as far as we know?"""
        return self.reachable != "no" and self.registered in ("yes", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneState:
    """A phone that has registered here."""

    user: str
    #: Where it is reached: a SIP URI.
    contact: str
    #: Until when (Unix epoch, ms).
    expires_ms: float
    process: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """All trunks and phones of an installation, or of one ingress."""

    trunks: tuple[TrunkState, ...] = ()
    phones: tuple[PhoneState, ...] = ()


_LINES: Final = TypeAdapter(Lines)


class TrunkStates:
    """Shows an ingress's lines to the others, and everybody's to whoever asks."""

    def __init__(self, redis: Redis) -> None:
        self._board = Board(redis, topics.LINES, GONE_MS)

    async def show(self, process: str, lines: Lines) -> None:
        """Say what there is; it is forgotten when it is not said again within GONE_MS."""
        said = Lines(
            tuple(replace(trunk, process=process) for trunk in lines.trunks),
            tuple(replace(phone, process=process) for phone in lines.phones),
        )
        await self._board.say(process, _LINES.dump_json(said))

    async def hide(self, process: str) -> None:
        """Leave."""
        await self._board.say(process, b"")

    async def keep_showing(self, process: str, lines: Callable[[], Lines]) -> None:
        """Show them until cancelled."""
        while True:
            try:
                await self.show(process, lines())
            except (RedisError, OSError) as error:
                _log.warning("bus.lines_failed", error=str(error))
            await asyncio.sleep(BEAT_S)

    async def lines(self) -> Lines:
        """All that any ingress says, trunks by name, phones by user."""
        trunks: list[TrunkState] = []
        phones: list[PhoneState] = []
        for what in await self._board.live():
            try:
                said = _LINES.validate_json(what)
            except ValidationError as error:
                _log.warning("bus.lines_unreadable", error=str(error))
                continue
            trunks += said.trunks
            phones += said.phones
        return Lines(
            tuple(sorted(trunks, key=lambda trunk: (trunk.name, trunk.process))),
            tuple(sorted(phones, key=lambda phone: (phone.user, phone.contact))),
        )
