"""Listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.jobs import HearCall
from bus.session import BusSession
from trunkline.roles.providers import providers
from trunkline.roles.running import Running, now_ms
from trunkline.settings import Settings
from workers.asr.judge import judge_for
from workers.asr.worker import AsrWorker
from workers.pool import Pool
from workers.resilience.loading import load_transcriber


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    async with providers(settings, "asr", load_transcriber) as transcriber_for:
        worker = AsrWorker(session, transcriber_for, judge_for, now_ms)
        pool = Pool(
            session, "asr", HearCall, worker.hear,
            capacity=settings.asr_capacity, lease_ms=settings.lease_ms,
            give_up=worker.give_up,
        )  # fmt: skip
        await pool.start()
        yield Running(owned=lambda: pool.owned, capacity=settings.asr_capacity, drain=pool.drain)
