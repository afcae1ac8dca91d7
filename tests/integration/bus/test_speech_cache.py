"""The cache of speech on a real server: bounded, whoever writes, and harmless whatever is in it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus import topics
from bus.session import BusSession
from bus.speech_cache import SpeechCache, speech_key
from calls.agent import Agent, StageSpec
from calls.ids import CallId

FIRST, SECOND = CallId("20260102t030405-aaaaaaaaaa"), CallId("20260102t030405-bbbbbbbbbb")


def speech(frames: int, octet: int = 1) -> bytes:
    return bytes([octet]) * 160 * frames


async def stands(session: BusSession) -> int:
    """The bytes that are really there."""
    kept: Any = await session.redis.hgetall(topics.SPEECH)
    counted = int(kept.pop(b"bytes", 0))
    assert counted == sum(map(len, kept.values()))
    for books in (topics.SPEECH_USED, topics.SPEECH_MADE):
        assert set(await session.redis.zrange(books, 0, -1)) == set(kept)
    return counted


async def test_what_was_not_used_for_longest_goes_first(session: BusSession) -> None:
    cache = SpeechCache(session.redis, max_bytes=3 * (1600 + 5))
    for key in ("a", "b", "c"):
        await cache.put(key, speech(10))
        await asyncio.sleep(0.002)  # uses are told apart by the server's clock, in ms
    assert await cache.get("a") == speech(10)
    await cache.put("d", speech(10))
    assert await cache.get("b") is None
    assert [await cache.get(key) is not None for key in "acd"] == [True] * 3
    assert await stands(session) == 3 * (1600 + 5)


async def test_the_bound_holds_with_many_writers(session: BusSession) -> None:
    caches = [SpeechCache(session.redis, max_bytes=20_000) for _ in range(8)]

    async def write(number: int, cache: SpeechCache) -> None:
        for turn in range(25):
            await cache.put(f"{turn * number % 40}", speech(1 + turn * number % 30))
            await cache.get(f"{turn}")

    await asyncio.gather(*(write(number, cache) for number, cache in enumerate(caches)))
    assert 10_000 < await stands(session) <= 20_000


@pytest.mark.parametrize("payload", [b"", speech(1)[:-1], speech(51)])
async def test_what_is_no_sentence_or_too_long_a_one_is_not_kept(
    session: BusSession, payload: bytes
) -> None:
    cache = SpeechCache(session.redis, longest_s=1.0)
    await cache.put("a", payload)
    assert await session.redis.exists(topics.SPEECH) == 0
    await cache.put("a", speech(50))
    assert await cache.get("a") == speech(50)


async def test_nothing_outlives_its_time_however_often_it_is_used(session: BusSession) -> None:
    cache = SpeechCache(session.redis, ttl_s=100)
    await cache.put("old", speech(1))
    assert await cache.fresh("old")
    now: Any = await session.redis.time()
    await session.redis.zadd(topics.SPEECH_MADE, {"old": now[0] * 1000 - 60_000})
    assert await cache.get("old") is not None
    assert not await cache.fresh("old")  # time to make it anew
    await session.redis.zadd(topics.SPEECH_MADE, {"old": now[0] * 1000 - 101_000})
    assert await cache.get("old") is None
    await cache.put("new", speech(1))
    assert await stands(session) == 165
    assert 0 < await session.redis.ttl(topics.SPEECH) <= 100


async def test_a_sentence_is_worth_keeping_when_a_second_call_asks(session: BusSession) -> None:
    cache = session.cache
    assert [(await cache.look("a", call)).again for call in (FIRST, FIRST, SECOND, SECOND)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert not (await cache.look("b", SECOND)).again
    assert 0 < await session.redis.ttl(topics.SPEECH_ASKED) <= 3600


@pytest.mark.parametrize(
    "wrong", [b"", b"garbage", b"\x01\x00\x00\x00\x00" + speech(1), b"\x02" + bytes(4) + speech(1)]
)
async def test_an_entry_that_is_not_ours_is_no_audio_and_is_written_over(
    session: BusSession, wrong: bytes
) -> None:
    await session.cache.put("a", speech(1))
    await session.redis.hset(topics.SPEECH, "a", wrong)
    found = await session.cache.look("a", FIRST)
    assert (found.speech, found.again) == (None, True)
    await session.cache.put("a", speech(2))
    assert await session.cache.get("a") == speech(2)


@pytest.mark.parametrize(
    "key", [topics.SPEECH, topics.SPEECH_USED, topics.SPEECH_MADE, topics.SPEECH_ASKED]
)
async def test_keys_that_somebody_else_has_written_cost_the_cache_and_no_more(
    session: BusSession, key: str
) -> None:
    await session.redis.set(key, "somebody's")
    await session.cache.look("a", FIRST)
    await session.cache.put("a", speech(1))
    await session.cache.look("a", FIRST)
    await session.cache.put("a", speech(1))
    assert await session.cache.get("a") == speech(1)
    assert await session.cache.fresh("a")


async def test_books_that_are_lost_are_begun_anew(session: BusSession) -> None:
    cache = SpeechCache(session.redis, max_bytes=1000)
    await cache.put("a", speech(5))
    await session.redis.delete(topics.SPEECH_USED)
    await cache.put("b", speech(5))
    assert await cache.get("b") == speech(5)
    assert await stands(session) == 805


async def test_a_full_bus_gets_the_caches_memory(session: BusSession) -> None:
    await session.cache.put("a", speech(5))
    await session.redis.config_set("maxmemory", "1")
    try:
        await session.cache.put("b", speech(5))
        assert await session.cache.get("b") is None
        assert await session.redis.exists(topics.SPEECH) == 0
    finally:
        await session.redis.config_set("maxmemory", "0")


def test_all_that_makes_the_voice_is_in_the_key_and_the_agents_name_is_not() -> None:
    agent = Agent(name="desk", voice="amy", language="en-GB")
    slow = StageSpec(provider="espeak", options={"rate": 100, "pitch": 3})
    agents = [
        agent,
        agent.model_copy(update={"voice": "ann"}),
        agent.model_copy(update={"language": "en-US"}),
        agent.model_copy(update={"tts": StageSpec(provider="openai")}),
        agent.model_copy(update={"tts": slow}),
    ]
    assert len({speech_key(each, "Yes.") for each in agents}) == len(agents)
    assert speech_key(agent, "Yes.") != speech_key(agent, "Yes?")
    same = Agent(name="other", voice="amy", language="en-GB", greeting="Hi!")
    assert speech_key(agent, "One  moment.\n") == speech_key(same, "One moment.")
    turned = StageSpec(provider="espeak", options={"pitch": 3, "rate": 100}, timeout_ms=900)
    assert speech_key(agents[-1], "") == speech_key(agent.model_copy(update={"tts": turned}), "")
