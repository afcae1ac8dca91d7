"""Speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.jobs import SpeakSentence
from bus.session import BusSession
from bus.worker import Pool
from trunkline.roles.providers import providers
from trunkline.roles.running import FINISH_S, Running, now_ms
from trunkline.settings import Settings
from workers.resilience.loading import load_synthesizer
from workers.tts.worker import TtsWorker


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    async with providers(settings, "tts", load_synthesizer) as synthesizer_for:
        worker = TtsWorker(session, synthesizer_for, now_ms)
        pool = Pool(
            session, "tts", SpeakSentence, worker.speak,
            capacity=settings.tts_capacity, lease_ms=settings.lease_ms,
            finish_s=FINISH_S, give_up=worker.give_up,
        )  # fmt: skip

        async def drain() -> None:
            await worker.close()
            await pool.drain()

        await pool.start()
        yield Running(owned=lambda: pool.owned, capacity=settings.tts_capacity, drain=drain)
