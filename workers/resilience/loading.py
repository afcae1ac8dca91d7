"""Makes an agent's provider of a stage with all that stand in for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from calls.agent import Agent, ProviderSpec, StageSpec
from workers.ports import Ask, ProviderError, Responder, Synthesizer, Transcriber
from workers.providers import registry
from workers.resilience.breaker import Breaker
from workers.resilience.chain import Chain, Closable, Link
from workers.resilience.responder import ResilientResponder
from workers.resilience.synthesizer import ResilientSynthesizer
from workers.resilience.transcriber import ResilientTranscriber

C = TypeVar("C", bound=Closable)

#: More than a turn and what is heard before and after it.
_SPARE_MS: Final = 5000


class Breakers:
    """The breakers of a process: one for each stage and provider with its options."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is any clock, in s."""
        self._now = now
        self._made: dict[str, Breaker] = {}

    def of(self, stage: str, spec: ProviderSpec) -> Breaker:
        """The one that all agents share who use the provider in this way."""
        key = f"{stage} {spec.model_dump_json(include={'provider', 'options'})}"
        if key not in self._made:
            self._made[key] = Breaker(stage, name_of(spec), self._now)
        return self._made[key]


def load_transcriber(ask: Ask, breakers: Breakers) -> Transcriber:
    """Make what hears for an agent.

    Raises:
        ProviderError: a provider is unknown, not installed, or refuses its options.
    """
    turn_ms = ask.agent.endpointing.max_turn_ms
    chain = _chain("asr", ask, breakers, registry.load_transcriber)
    return ResilientTranscriber(chain, turn_ms + _SPARE_MS)


def load_responder(ask: Ask, breakers: Breakers) -> Responder:
    """Make what thinks for an agent.

    Raises:
        ProviderError: a provider is unknown, not installed, or refuses its options.
    """
    return ResilientResponder(_chain("llm", ask, breakers, registry.load_responder))


def load_synthesizer(ask: Ask, breakers: Breakers) -> Synthesizer:
    """Make what speaks for an agent.

    Raises:
        ProviderError: a provider is unknown, not installed, or refuses its options.
    """
    return ResilientSynthesizer(_chain("tts", ask, breakers, registry.load_synthesizer))


def name_of(spec: ProviderSpec) -> str:
    """Name a provider for people: "openai whisper-1 127.0.0.1:9000"."""
    where = urlsplit(str(spec.options.get("base_url", ""))).netloc
    return " ".join(filter(None, (spec.provider, str(spec.options.get("model", "")), where)))


def _chain(stage: str, ask: Ask, breakers: Breakers, load: Callable[[Ask], C]) -> Chain[C]:
    first: StageSpec = getattr(ask.agent, stage)
    links = [_link(stage, first, load(ask), breakers)]
    for index, spec in enumerate(first.fallback):
        try:
            provider = load(_ask_for(spec, stage, ask))
        except ProviderError as error:
            raise ProviderError(
                _under(str(error), stage, f"{stage}.fallback.{index}"), error_type=error.error_type
            ) from error
        links.append(_link(stage, spec, provider, breakers))
    return Chain(stage, links)


def _link(stage: str, spec: ProviderSpec, provider: C, breakers: Breakers) -> Link[C]:
    return Link(name_of(spec), provider, spec.timeout_ms, breakers.of(stage, spec))


def _ask_for(spec: ProviderSpec, stage: str, ask: Ask) -> Ask:
    """Ask for a stand-in as if it were the agent's only provider."""
    changes: Mapping[str, Any] = {stage: StageSpec(**dict(spec))}
    if stage == "tts" and not _knows_voice(spec, ask.agent):
        changes = {**changes, "voice": ""}
    return replace(ask, agent=ask.agent.model_copy(update=changes), options=spec.options)


def _knows_voice(spec: ProviderSpec, agent: Agent) -> bool:
    # The agent's voice is one of its first provider's; a stand-in may name its own.
    return spec.provider == agent.tts.provider and "voice" not in spec.options


def _under(message: str, stage: str, path: str) -> str:
    """Say where in agents.yaml it stands; a provider knows only of a stage."""
    for key in ("provider", "options"):
        message = message.replace(f"{stage}.{key}", f"{path}.{key}")
    return message if path in message else f"{path}: {message}"
