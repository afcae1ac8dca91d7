"""How an ingress knows whether the pools can take one more call."""

from __future__ import annotations

import asyncio

from bus.pools import PoolWatch
from bus.session import BusSession
from trunkline.settings import Settings


def pool_watch(settings: Settings, session: BusSession) -> PoolWatch:
    """A watch as the settings have it; run it as a task."""
    return PoolWatch(
        session.redis,
        session.presence,
        asyncio.get_running_loop().time,
        grace_s=settings.pool_grace_seconds,
        max_lag_s=settings.max_lag_seconds,
    )
