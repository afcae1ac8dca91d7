"""Thinks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.jobs import AnswerTurn
from bus.session import BusSession
from bus.worker import Pool
from trunkline.roles.providers import providers
from trunkline.roles.running import FINISH_S, Running, now_ms
from trunkline.settings import Settings
from workers.llm.worker import LlmWorker
from workers.resilience.loading import load_responder


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    async with providers(settings, "llm", load_responder) as responder_for:
        worker = LlmWorker(session, responder_for, now_ms)
        pool = Pool(
            session, "llm", AnswerTurn, worker.answer,
            capacity=settings.llm_capacity, lease_ms=settings.lease_ms,
            finish_s=FINISH_S, give_up=worker.give_up,
        )  # fmt: skip
        await pool.start()
        yield Running(owned=lambda: pool.owned, capacity=settings.llm_capacity, drain=pool.drain)
