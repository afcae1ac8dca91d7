"""Which bus a command speaks to: the one named in the settings, or the embedded one if it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bus.broker import BusUnavailableError, check, connect
from bus.lease import Leases
from bus.log import CallLog
from bus.presence import Presence
from bus.topics import POOLS
from bus.trunk_state import TrunkStates
from trunkline import embedded_bus
from trunkline.errors import UserError
from trunkline.settings import Settings


def with_bus(settings: Settings) -> Settings:
    """The same settings with the bus's URL settled.

    Raises:
        UserError: none is named and no embedded one runs.
    """
    if settings.bus_url is not None:
        return settings
    url = embedded_bus.running(settings.data_dir)
    if url is None:
        raise UserError(
            f"no bus: set TRUNKLINE_BUS_URL, or start `trunkline up` (its bus is in "
            f"{settings.data_dir})"
        )
    return settings.model_copy(update={"bus_url": url})


@dataclass(frozen=True, slots=True)
class BusView:
    """What a command may look at."""

    server: str
    presence: Presence
    trunks: TrunkStates
    log: CallLog
    #: By pool.
    queues: Mapping[str, Leases]


@asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[BusView]:
    """Open a checked connection for a short command.

    Raises:
        UserError: there is no bus, or it does not answer.
    """
    url = with_bus(settings).bus_url or ""
    try:
        server = await check(url)
    except BusUnavailableError as error:
        raise UserError(f"{error}; start it, or mend TRUNKLINE_BUS_URL") from error
    redis = connect(url)
    try:
        queues: dict[str, Leases] = {pool: Leases(redis, pool, "onlooker") for pool in POOLS}
        yield BusView(server, Presence(redis), TrunkStates(redis), CallLog(redis), queues)
    finally:
        await redis.aclose()
