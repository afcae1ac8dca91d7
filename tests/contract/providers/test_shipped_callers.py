"""The recordings in trunkline/callers: each is understood, and each conversation makes sense."""

from __future__ import annotations

import re

import numpy as np
import pytest

from calls.conversation import Message
from workers.ports import Action, Ask, Token
from workers.providers import pocketsphinx, rules
from workers.providers.registry import load_transcriber

from .conftest import CALLERS, pcm_of

WAVS = sorted(CALLERS.glob("*.wav"))


@pytest.fixture(scope="module")
def transcriber(example) -> pocketsphinx.PocketSphinxTranscriber:
    return pocketsphinx.transcriber(Ask(example, example.asr.options, {}.get))


def through_mu_law(pcm: bytes) -> bytes:
    """What is left after G.711 mu-law: sign, 3 bits of exponent, 4 of mantissa (bias 33 * 4)."""
    samples = np.frombuffer(pcm, "<i2").astype(int)
    biased = np.minimum(np.abs(samples), 32_635) + 132
    step = 2 ** (np.floor(np.log2(biased)).astype(int) - 4)
    return (np.sign(samples) * (biased // step * step + step // 2 - 132)).astype("<i2").tobytes()


async def hear(transcriber, pcm: bytes):
    utterance = transcriber.listen()
    for at in range(0, len(pcm), 320):
        await utterance.write(pcm[at : at + 320])
    return await utterance.finish()


@pytest.mark.parametrize("wav", WAVS, ids=lambda wav: wav.stem)
async def test_a_caller_is_understood_word_for_word(transcriber, noisy, wav):
    pcm, said = pcm_of(wav), wav.stem.partition("-")[2].replace("-", " ")
    padded = bytes(3200) + pcm + bytes(3200)
    for heard_as in (pcm, through_mu_law(pcm), through_mu_law(padded), through_mu_law(noisy(pcm))):
        transcript = await hear(transcriber, heard_as)
        assert transcript.text == said
        assert transcript.confidence is not None
        assert transcript.confidence > 0.6


async def test_the_conversations_make_sense(transcriber, example, callers):
    responder = rules.responder(Ask(example, example.llm.options, {}.get))
    for turns in callers.values():
        conversation = [Message("assistant", example.greeting)]
        for turn in turns:
            transcript = await hear(transcriber, pcm_of(CALLERS / turn["wav"]))
            conversation.append(Message("user", transcript.text))
            pieces = [
                piece
                async for piece in responder.reply(conversation, confidence=transcript.confidence)
            ]
            answer = "".join(piece.text for piece in pieces if isinstance(piece, Token))
            assert re.search(turn["expects"], answer, re.IGNORECASE), (turn, answer)
            assert (Action("hangup") in pieces) is turn.get("hangup", False)
            conversation.append(Message("assistant", answer))


def test_there_are_ten_callers_who_say_different_things(callers):
    said = [tuple(turn["said"] for turn in turns) for turns in callers.values()]
    assert len(callers) >= 10
    assert min(map(len, said)) >= 3
    assert len({turns[:2] for turns in said}) == len(said)
    assert all(turns[-1].get("hangup") for turns in callers.values())


def test_every_recording_is_in_the_script_under_its_words(callers):
    named = {turn["wav"]: turn["said"] for turns in callers.values() for turn in turns}
    assert named.keys() == {wav.name for wav in WAVS}
    for wav, said in named.items():
        assert wav.removesuffix(".wav").partition("-")[2].replace("-", " ") == said
    assert sum(wav.stat().st_size for wav in WAVS) < 1_500_000


async def test_what_the_agent_does_not_expect_has_low_confidence(example, recordings):
    phrases = ["play some loud music", "turn the lights off", "it is cold in the kitchen", "stop"]
    strange = example.model_copy(
        update={
            "llm": example.llm.model_copy(update={"provider": "openai"}),
            "asr": example.asr.model_copy(update={"options": {"phrases": phrases}}),
        }
    )
    listener = load_transcriber(Ask(strange, strange.asr.options, {}.get))
    sentences = [pcm for said, pcm in recordings.items() if len(said.split()) > 3]
    heard = [await hear(listener, pcm) for pcm in sentences]
    unsure = [each for each in heard if not each.text or (each.confidence or 0) < 0.3]
    assert len(unsure) >= 0.9 * len(heard)
    await listener.close()
