"""Keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bus.jobs import RecordCall
from bus.session import BusSession
from bus.worker import Pool
from storage.repository import CallHistory
from trunkline.roles.database import open_database
from trunkline.roles.running import FINISH_S, Running, now_ms
from trunkline.settings import Settings
from workers.recorder.worker import Recorder, sweep_orphans

_CAPACITY: Final = 4


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    async with open_database(settings) as database:
        recorder = Recorder(session, CallHistory(database), settings.recordings_dir, now_ms)
        pool = Pool(
            session, "recorder", RecordCall, recorder.record,
            capacity=_CAPACITY, lease_ms=settings.lease_ms, finish_s=FINISH_S,
        )  # fmt: skip
        await pool.start()
        sweeping = asyncio.create_task(sweep_orphans(session, now_ms), name="orphan sweep")
        try:
            yield Running(owned=lambda: pool.owned, capacity=_CAPACITY, drain=pool.drain)
        finally:
            sweeping.cancel()
