from __future__ import annotations

import asyncio
from typing import Any

import pytest

from calls.agent import Agent
from workers.ports import Ask, ProviderError
from workers.providers.espeak import ESpeakSynthesizer, Voice, engine, synthesizer

LONG = "We are open from eight to six, and closed on Sundays. " * 20


def made(agent: dict[str, Any] | None = None, **options: Any) -> ESpeakSynthesizer:
    return synthesizer(Ask(Agent(name="desk", **(agent or {})), options, {}.get))


async def seconds(speaker: ESpeakSynthesizer, text: str) -> float:
    pieces = [piece async for piece in speaker.speak(text)]
    return len(b"".join(pieces)) / 2 / speaker.sample_rate


def test_it_speaks_at_22050_hz():
    assert made().sample_rate == 22_050


def test_refusing_a_piece_ends_the_synthesis():
    pieces: list[bytes] = []

    def deliver(pcm: bytes) -> bool:
        pieces.append(pcm)
        return len(pieces) < 3

    engine().say(LONG, Voice("en-us"), deliver).result()
    assert len(pieces) == 3


async def test_the_first_audio_comes_before_the_sentence_is_done():
    """The engine is held up at its second piece until the first was received."""
    loop, received = asyncio.get_running_loop(), asyncio.Event()
    first: asyncio.Future[int] = loop.create_future()
    count = 0

    def deliver(pcm: bytes) -> bool:
        nonlocal count
        count += 1
        if count == 1:
            loop.call_soon_threadsafe(first.set_result, len(pcm))
        elif count == 2:
            asyncio.run_coroutine_threadsafe(received.wait(), loop).result(5)
        return True

    spoken = engine().say(LONG, Voice("en-us"), deliver)
    assert await first > 0
    assert not spoken.done()
    received.set()
    await asyncio.wrap_future(spoken)


async def test_a_faster_rate_takes_less_time():
    assert await seconds(made(rate=300), LONG) < 0.7 * await seconds(made(rate=150), LONG)


@pytest.mark.parametrize(
    ("language", "voice"),
    [("en-US", "en-us"), ("hi-IN", "hi"), ("hi", "hi"), ("de-DE", "de")],
)
def test_the_language_chooses_the_voice(language, voice):
    assert made({"language": language})._voice.name == voice


async def test_it_speaks_hindi():
    assert await seconds(made({"language": "hi-IN"}), "नमस्ते, मैं आपकी क्या मदद कर सकती हूँ?") > 1


@pytest.mark.parametrize("agent", [{"voice": "alloy"}, {"language": "xx"}])
def test_an_unknown_voice_is_refused(agent):
    with pytest.raises(ProviderError, match=r"agent 'desk': espeak-ng has no voice '(alloy|xx)'"):
        made(agent)


@pytest.mark.parametrize("text", ["", " ", "...", "<b>&amp;</b>", "a\0b", "[[x]]"])
async def test_odd_texts_do_no_harm(text):
    assert await seconds(made(), text) < 5
