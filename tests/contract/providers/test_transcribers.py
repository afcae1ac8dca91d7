"""What every transcriber must do (workers.ports.Transcriber)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from workers.ports import Partial, Transcriber, Transcript
from workers.providers.registry import load_transcriber
from workers.resilience import loading

SAID = "i would like to cancel my appointment"


@pytest.fixture(params=["pocketsphinx", "openai", "stand-in"])
async def transcriber(request, asking) -> AsyncIterator[Transcriber]:
    if request.param == "stand-in":
        made = loading.load_transcriber(asking.ask_with_stand_in("asr"), loading.Breakers())
    else:
        made = load_transcriber(asking.ask("asr", request.param))
    yield made
    await made.close()


async def hear(transcriber: Transcriber, pcm: bytes, step: int = 320) -> Transcript:
    utterance = transcriber.listen()
    for at in range(0, len(pcm), step):
        assert isinstance(await utterance.write(pcm[at : at + step]), Partial)
    return await utterance.finish()


@pytest.mark.parametrize("step", [320, 1602, 1_000_000], ids=["20 ms", "100 ms", "all at once"])
async def test_hears_the_words_in_pieces_of_any_size(transcriber, recordings, step):
    assert (await hear(transcriber, recordings[SAID], step)).text == SAID


async def test_confidence_is_a_probability_or_unknown(transcriber, recordings):
    confidence = (await hear(transcriber, recordings[SAID])).confidence
    assert confidence is None or 0.5 < confidence <= 1


async def test_no_audio_has_no_words(transcriber):
    assert (await transcriber.listen().finish()).text == ""
    assert (await transcriber.listen().guess()).text == ""


async def test_a_guess_is_what_it_says_if_it_ends_here(transcriber, recordings):
    for said, pcm in list(recordings.items())[:6]:
        utterance = transcriber.listen()
        await utterance.write(pcm + bytes(16 * 80))
        guess, final = await utterance.guess(), await utterance.finish()
        assert guess.text == final.text == said
        assert guess.confidence == pytest.approx(final.confidence, abs=0.05)


async def test_guesses_change_nothing_of_what_is_heard(transcriber, recordings):
    pcm = recordings[SAID]
    utterance = transcriber.listen()
    for at in range(0, len(pcm), 3200):
        await utterance.write(pcm[at : at + 3200])
        assert SAID.startswith((await utterance.guess()).text[:4])
    assert await utterance.finish() == await hear(transcriber, pcm)


async def test_audio_is_taken_while_a_guess_is_made(transcriber, recordings):
    pcm = recordings[SAID]
    utterance = transcriber.listen()
    await utterance.write(pcm[:8000])
    guessing = asyncio.ensure_future(utterance.guess())
    await asyncio.sleep(0)
    await utterance.write(pcm[8000:])
    await guessing
    assert (await utterance.finish()).text == SAID


async def test_utterances_at_the_same_time_do_not_mix(transcriber, recordings):
    texts = list(recordings)[:6]
    utterances = [transcriber.listen() for _ in texts]
    longest = max(len(recordings[text]) for text in texts)
    for at in range(0, longest, 1600):
        for utterance, text in zip(utterances, texts, strict=True):
            await utterance.write(recordings[text][at : at + 1600])
    finals = await asyncio.gather(*(utterance.finish() for utterance in utterances))
    assert [final.text for final in finals] == texts


async def test_an_utterance_owes_nothing_to_those_before_it(transcriber, recordings):
    alone = await hear(transcriber, recordings[SAID])
    for text in list(recordings)[:3]:
        await hear(transcriber, recordings[text])
    assert await hear(transcriber, recordings[SAID]) == alone


async def test_cancelling_is_quiet_and_leaves_the_next_alone(transcriber, recordings):
    unwanted = transcriber.listen()
    await unwanted.write(recordings[SAID][:8000])
    await unwanted.cancel()
    await unwanted.cancel()
    await transcriber.listen().cancel()
    finished = transcriber.listen()
    await finished.write(recordings[SAID])
    await finished.finish()
    await finished.cancel()
    assert (await hear(transcriber, recordings[SAID])).text == SAID
