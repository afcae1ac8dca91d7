"""What every synthesizer must do (workers.ports.Synthesizer)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from workers.ports import Synthesizer
from workers.providers.registry import load_synthesizer
from workers.resilience import loading

SHORT = "We are open from eight to six."
LONG = "Your appointment with Doctor Smith, Tuesday in the morning, is booked. Anything else?"


@pytest.fixture(params=["espeak", "openai", "stand-in"])
async def synthesizer(request, asking) -> AsyncIterator[Synthesizer]:
    if request.param == "stand-in":
        made = loading.load_synthesizer(asking.ask_with_stand_in("tts"), loading.Breakers())
    else:
        made = load_synthesizer(asking.ask("tts", request.param))
    yield made
    await made.close()


async def speak(synthesizer: Synthesizer, text: str) -> list[bytes]:
    return [piece async for piece in synthesizer.speak(text)]


async def test_yields_whole_samples_in_several_pieces(synthesizer):
    pieces = await speak(synthesizer, LONG)
    assert len(pieces) > 5
    assert all(pieces)
    assert all(len(piece) % 2 == 0 for piece in pieces)


async def test_lasts_as_long_as_speech_does(synthesizer):
    for text in (SHORT, LONG):
        seconds = len(b"".join(await speak(synthesizer, text))) / 2 / synthesizer.sample_rate
        assert 0.035 < seconds / len(text) < 0.12


async def test_is_audible_and_lies_where_voices_lie(synthesizer):
    samples = np.frombuffer(b"".join(await speak(synthesizer, LONG)), "<i2").astype(float)
    assert np.sqrt(np.mean(samples**2)) > 500
    assert abs(samples.mean()) < 200
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency = np.fft.rfftfreq(len(samples), 1 / synthesizer.sample_rate)
    assert power[(frequency > 80) & (frequency < 4000)].sum() > 0.9 * power.sum()


async def test_closing_it_leaves_the_next_sentence_alone(synthesizer):
    whole = len(b"".join(await speak(synthesizer, SHORT)))
    stream = synthesizer.speak(LONG)
    assert await anext(stream)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert len(b"".join(await speak(synthesizer, SHORT))) == pytest.approx(whole, rel=0.05)


async def test_sentences_at_the_same_time_do_not_mix(synthesizer):
    alone = [len(b"".join(await speak(synthesizer, text))) for text in (SHORT, LONG)]
    together = await asyncio.gather(*(speak(synthesizer, text) for text in (SHORT, LONG) * 4))
    lengths = [len(b"".join(pieces)) for pieces in together]
    assert lengths == pytest.approx(alone * 4, rel=0.05)
