from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from calls.agent import Agent, StageSpec
from workers.ports import Ask, ProviderError
from workers.providers.language_model import LanguageModel
from workers.providers.pocketsphinx import (
    PocketSphinxTranscriber,
    confidence,
    transcriber,
    upsampled,
)


def made(llm: str = "openai", **options: Any) -> PocketSphinxTranscriber:
    agent = Agent(name="desk", llm=StageSpec(provider=llm, options={"intents": {}}))
    return transcriber(Ask(agent, options, {}.get))


def test_upsampling_draws_lines_between_samples():
    wide = np.frombuffer(upsampled(np.array([10, 20, -20], np.int16), 0), "<i2")
    assert wide.tolist() == [5, 10, 15, 20, 0, -20]


def test_upsampling_in_pieces_is_upsampling_the_whole():
    samples = np.array([-32768, 32767, 32767, -5, 7], np.int16)
    pieces = upsampled(samples[:2], 0) + upsampled(samples[2:], int(samples[1]))
    assert pieces == upsampled(samples, 0)


def test_unknown_words_are_named_with_the_remedy():
    with pytest.raises(ProviderError, match=r"'zyxtrunk'.*asr\.options\.pronunciations"):
        made(phrases=["hello zyxtrunk"])


def test_a_pronunciation_makes_a_word_known():
    listener = made(phrases=["hello zyxtrunk"], pronunciations={"zyxtrunk": "Z IH K S T R AH NG K"})
    assert {"hello", "zyxtrunk"} <= set(listener.model.words)


def test_what_listeners_say_is_known_without_being_listed():
    assert {"mhm", "okay", "yeah"} <= set(made(phrases=["hello"]).model.words)


def test_a_sound_that_does_not_exist_is_refused():
    with pytest.raises(ProviderError, match=r"pronunciations\.zyxtrunk: not ARPAbet: QQ, XX"):
        made(phrases=["zyxtrunk"], pronunciations={"zyxtrunk": "QQ AE XX"})


def test_without_phrases_there_is_nothing_to_hear():
    with pytest.raises(ProviderError, match=r"asr\.options\.phrases: .*told to expect"):
        made()


def test_mistakes_in_the_rules_are_told_under_their_own_path():
    with pytest.raises(ProviderError, match=r"llm\.options\.intents"):
        made(llm="rules")


def test_it_listens_for_the_phrases_of_rules_that_stand_in():
    rules = {"intents": {"bye": {"phrases": ["goodbye"], "say": "Bye."}}}
    llm = {"provider": "openai", "fallback": [{"provider": "rules", "options": rules}]}
    agent = Agent.model_validate({"name": "desk", "llm": llm})
    assert "goodbye" in transcriber(Ask(agent, {}, {}.get)).model.words


async def test_decoders_are_reused_and_bounded():
    listener = made(phrases=["hello"], max_decoders=1)
    for end in ("finish", "cancel", "finish"):
        first, second = listener.listen(), listener.listen()
        await first.write(bytes(3200))
        with pytest.raises(ProviderError, match="max_decoders") as caught:
            await second.write(bytes(320))
        assert caught.value.error_type == "refused"
        await second.cancel()
        await getattr(first, end)()
    await listener.close()


async def test_others_run_while_much_audio_is_decoded():
    listener = made(phrases=["hello"])
    utterance, turns = listener.listen(), []

    async def other() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await utterance.write(bytes(16_000))  # a second
    task.cancel()
    assert len(turns) >= 9
    await utterance.cancel()


def test_confidence_falls_with_what_the_words_surprise():
    model = LanguageModel([["book", "an", "appointment"], ["yes", "please"], ["no"]])
    expected = confidence(model, ["book", "an", "appointment"], 90)
    nonsense = confidence(model, ["please", "appointment", "no"], 90)
    assert 0.9 < expected <= 1
    assert 0 <= nonsense < 0.5
