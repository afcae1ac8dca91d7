"""Listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.jobs import HearCall
from bus.session import BusSession
from bus.worker import Pool
from calls.agent import Agent
from telemetry.log import get_logger
from trunkline.roles.providers import providers
from trunkline.roles.running import Running, now_ms
from trunkline.settings import Settings
from workers.asr.judge import Judge, TextJudge, judge_for
from workers.asr.smart_turn import SmartTurnError
from workers.asr.worker import AsrWorker
from workers.ports import Ask, ProviderError, Transcriber
from workers.resilience.loading import Breakers, load_transcriber

_log = get_logger(__name__)


def _load(ask: Ask, breakers: Breakers) -> Transcriber:
    try:
        judge_for(ask.agent)
    except SmartTurnError as error:
        raise ProviderError(str(error)) from error
    return load_transcriber(ask, breakers)


def _judge_for(agent: Agent) -> Judge:
    """A call brings its agent along: whoever cannot load its model goes by the words."""
    try:
        return judge_for(agent)
    except SmartTurnError as error:
        _log.error("asr.no_smart_turn", agent=agent.name, error=str(error))
        return TextJudge(agent.language)


@asynccontextmanager
async def start(settings: Settings, session: BusSession) -> AsyncIterator[Running]:
    async with providers(settings, "asr", _load) as transcriber_for:
        worker = AsrWorker(session, transcriber_for, _judge_for, now_ms)
        pool = Pool(
            session, "asr", HearCall, worker.hear,
            capacity=settings.asr_capacity, lease_ms=settings.lease_ms,
            give_up=worker.give_up,
        )  # fmt: skip
        await pool.start()
        yield Running(owned=lambda: pool.owned, capacity=settings.asr_capacity, drain=pool.drain)
