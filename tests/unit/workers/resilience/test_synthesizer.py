from __future__ import annotations

import numpy as np
import pytest

from workers.ports import ProviderError
from workers.resilience.synthesizer import ResilientSynthesizer

from .conftest import Speaks, down, now


def tone(rate: int) -> bytes:
    """A second of 440 Hz."""
    return (9000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype("<i2").tobytes()


async def speak(synthesizer: ResilientSynthesizer) -> bytes:
    return b"".join([piece async for piece in synthesizer.speak("Hello.")])


async def test_the_first_ones_audio_is_passed_on_as_it_is(line):
    chain = line(Speaks([b"ab", b"cd"]), Speaks([b"xx"]), stage="tts")
    synthesizer = ResilientSynthesizer(chain)
    assert [piece async for piece in synthesizer.speak("Hello.")] == [b"ab", b"cd"]


async def test_who_stands_in_is_brought_to_the_first_ones_rate(line):
    first, second = Speaks([down("refused")]), Speaks([tone(24_000)[:7000], tone(24_000)[7000:]])
    first.sample_rate, second.sample_rate = 22_050, 24_000
    synthesizer = ResilientSynthesizer(line(first, second, stage="tts"))
    samples = np.frombuffer(await speak(synthesizer), "<i2")
    assert synthesizer.sample_rate == len(samples) == 22_050
    assert np.argmax(np.abs(np.fft.rfft(samples))) == 440  # one second: bins are Hz


async def test_first_audio_that_is_late_is_had_from_the_next(line):
    chain = line(Speaks([2.0, b"ab"]), Speaks([b"xx"]), stage="tts")
    assert await speak(ResilientSynthesizer(chain)) == b"xx"
    assert now() == 1.0


@pytest.mark.parametrize("broken", [[b"ab", down()], [b"ab", 2.0, b"cd"]])
async def test_what_was_half_spoken_is_not_spoken_again(line, broken):
    first, second = Speaks(broken), Speaks([b"xx"])
    stream = ResilientSynthesizer(line(first, second, stage="tts")).speak("Hello.")
    assert await anext(stream) == b"ab"
    with pytest.raises(ProviderError):
        await anext(stream)
    assert (first.asked, second.asked) == (1, 0)
