"""Fixed phrases, spoken before anybody needs them.

A filler, or the apology for a worker that does not answer, must not wait for a worker. So whoever
speaks for an agent has its fixed phrases in the cache of speech, made between two sentences.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from bus.broker import BusError
from bus.speech_cache import SpeechCache, speech_key
from bus.tasks import stop
from calls.agent import Agent
from telemetry import metrics
from workers.ports import ProviderError, Synthesizer
from workers.tts.take import Take

_log = structlog.get_logger(__name__)
#: A worker that is never idle for so long does it beside its work, s.
_PATIENCE_S: Final = 10.0
#: An agent that was warmed is looked at again after this, and one that could not be, ms.
_AGAIN_MS: Final = 3_600_000.0
_FAILED_MS: Final = 60_000.0


class Warmer:
    """Warms the cache for agents, one phrase at a time, in the background."""

    def __init__(
        self,
        cache: SpeechCache,
        synthesizer_for: Callable[[Agent], Synthesizer],
        now_ms: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._synthesizer_for = synthesizer_for
        self._now_ms = now_ms
        #: When agents are due again, by what they say and how.
        self._due: dict[tuple[str, ...], float] = {}
        self._agents: deque[Agent] = deque()
        self._task: asyncio.Task[None] | None = None
        self._jobs = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Warming waits while this lasts: a caller is."""
        self._jobs += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._jobs -= 1
            if not self._jobs:
                self._idle.set()

    def warm(self, agent: Agent) -> None:
        """Have this agent's phrases in the cache, soon. Returns at once."""
        if self._closed or not agent.cache:
            return
        if self._now_ms() < self._due.get(_spoken(agent), 0.0):
            return
        self._due[_spoken(agent)] = self._now_ms() + _AGAIN_MS
        self._agents.append(agent)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="speech warming")

    async def close(self) -> None:
        """Stop, and warm no more."""
        self._closed = True
        if self._task is not None:
            await stop(self._task)

    async def _run(self) -> None:
        while self._agents:
            agent = self._agents.popleft()
            try:
                # The greeting is spoken sentence by sentence, and kept as it is.
                for phrase in dict.fromkeys(agent.phrases):
                    if phrase != agent.greeting:
                        await self._keep(agent, phrase)
            except (ProviderError, BusError, OSError) as error:
                self._due[_spoken(agent)] = self._now_ms() + _FAILED_MS
                metrics.ERRORS.labels("tts", "warming").inc()
                _log.warning("tts.not_warmed", agent=agent.name, error=str(error))
            except Exception:
                _log.exception("tts.not_warmed", agent=agent.name)

    async def _keep(self, agent: Agent, phrase: str) -> None:
        key = speech_key(agent, phrase)
        if await self._cache.fresh(key):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._idle.wait()
        take = Take(self._synthesizer_for(agent), phrase, keep=self._cache.longest_bytes)
        async for _ in take:
            pass
        if take.kept is not None:
            await self._cache.put(key, take.kept)


def _spoken(agent: Agent) -> tuple[str, ...]:
    return speech_key(agent, ""), *agent.phrases
