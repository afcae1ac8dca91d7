"""Warming: every fixed phrase once, between two sentences, and never after the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bus.speech_cache import speech_key
from calls.agent import Agent
from workers.ports import ProviderError
from workers.tts.warming import Warmer

AGENT = Agent(name="desk", greeting="Good day. How can I help?")
ASIDES = [phrase for phrase in AGENT.phrases if phrase != AGENT.greeting]


class Cache:
    longest_bytes = 240_000

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def fresh(self, key: str) -> bool:
        return key in self.kept

    async def put(self, key: str, speech: bytes) -> None:
        self.kept[key] = speech


class Voice:
    sample_rate = 8000

    def __init__(self) -> None:
        self.said: list[str] = []
        self.at_once = 0
        self.fails = False

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        self.said.append(text)
        self.at_once += 1
        assert self.at_once == 1
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.fails:
            raise ProviderError("no voice")
        yield bytes(320)

    async def close(self) -> None: ...


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Warmer, Cache, Voice, Clock]:
    cache, voice, clock = Cache(), Voice(), Clock()
    return Warmer(cache, lambda _: voice, clock), cache, voice, clock  # type: ignore[arg-type]


async def turns(count: int = 200) -> None:
    """Let the loop go round: nothing here waits for anything else."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_the_ingress_may_have_to_say_is_kept_and_made_once() -> None:
    warmer, cache, voice, clock = made()
    warmer.warm(AGENT)
    warmer.warm(AGENT.model_copy(update={"name": "twin"}))
    await turns()
    assert voice.said == ASIDES
    assert set(cache.kept) == {speech_key(AGENT, phrase) for phrase in ASIDES}
    del cache.kept[speech_key(AGENT, ASIDES[0])]
    warmer.warm(AGENT)
    await turns()
    assert len(voice.said) == len(ASIDES)
    clock.now += 3_600_000  # something of it may have gone
    warmer.warm(AGENT)
    await turns()
    assert voice.said == [*ASIDES, ASIDES[0]]


async def test_it_waits_while_a_caller_does() -> None:
    warmer, _, voice, _ = made()
    with warmer.waiting():
        warmer.warm(AGENT)
        await turns()
        assert voice.said == []
    await turns()
    assert voice.said == ASIDES


async def test_a_voice_that_fails_is_tried_again_later() -> None:
    warmer, cache, voice, clock = made()
    voice.fails = True
    for _ in range(3):
        warmer.warm(AGENT)
        await turns()
    assert voice.said == ASIDES[:1]
    voice.fails = False
    clock.now += 60_000
    warmer.warm(AGENT)
    await turns()
    assert len(cache.kept) == len(ASIDES)


async def test_a_drain_ends_it_and_no_cache_means_no_warming() -> None:
    warmer, _, voice, _ = made()
    warmer.warm(AGENT.model_copy(update={"cache": False}))
    await turns()
    with warmer.waiting():
        warmer.warm(AGENT)
        await turns()
        await warmer.close()
    warmer.warm(AGENT.model_copy(update={"voice": "amy"}))
    await turns()
    assert voice.said == []
