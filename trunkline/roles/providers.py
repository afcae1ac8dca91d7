"""A pool's providers: one per agent, with its stand-ins, made when first asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from calls.agent import Agent
from trunkline.agents_file import load_agents
from trunkline.settings import Settings
from workers.ports import Ask, ProviderError
from workers.resilience.loading import Breakers

Load = Callable[[Ask, Breakers], Any]


def _ask_for(settings: Settings, stage: str, agent: Agent) -> Ask:
    return Ask(agent=agent, options=getattr(agent, stage).options, secret=settings.secret)


class Providers:
    """A stage's providers: one per agent, made when first asked for, closed at the end.

    The agents of this process's own file are made at start, so that a wrong one stops it there.
    A call carries its agent with it, as the file was when the call began.
    """

    def __init__(self, settings: Settings, stage: str, load: Load) -> None:
        self._settings = settings
        self._stage = stage
        self._load = load
        #: Of this process: what one agent's calls find out, the others' need not.
        self._breakers = Breakers()
        self._made: dict[str, Any] = {}

    def judge(self, agent: Agent) -> str:
        """Make an agent's; gives what is wrong if that cannot be done."""
        try:
            self(agent)
        except ProviderError as error:
            return str(error)
        return ""

    def __call__(self, agent: Agent) -> Any:
        key = agent.model_dump_json()
        if key not in self._made:
            self._made[key] = self._load(
                _ask_for(self._settings, self._stage, agent), self._breakers
            )
        return self._made[key]

    async def close(self) -> None:
        for provider in self._made.values():
            await provider.close()


@asynccontextmanager
async def providers(settings: Settings, stage: str, load: Load) -> AsyncIterator[Providers]:
    made = Providers(settings, stage, load)
    try:
        load_agents(settings.agents, stage, made.judge)
        yield made
    finally:
        await made.close()
