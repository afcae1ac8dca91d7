from __future__ import annotations

from typing import Any

import pytest

from calls.agent import Agent, ProviderSpec, StageSpec
from workers.ports import Ask, ProviderError
from workers.resilience.loading import (
    Breakers,
    load_responder,
    load_synthesizer,
    load_transcriber,
    name_of,
)

LOCAL = "http://127.0.0.1:9/v1"
RULES: dict[str, Any] = {"intents": {"bye": {"phrases": ["goodbye"], "say": "Bye."}}}


def asking(stage: str, provider: str, options: dict[str, Any], *fallback: Any, **agent: Any) -> Ask:
    spec = {"provider": provider, "options": options, "fallback": fallback}
    made = Agent.model_validate({"name": "desk", stage: spec, **agent})
    return Ask(made, options, {}.get)


def openai(**options: Any) -> dict[str, Any]:
    return {"provider": "openai", "options": {"base_url": LOCAL, "model": "m", **options}}


async def test_the_agents_voice_is_the_first_ones_and_a_stand_in_has_its_own():
    stand_ins = (
        {"provider": "espeak"},
        {"provider": "espeak", "options": {"voice": "hi"}},
        openai(),
        openai(voice="nova"),
    )
    ask = asking("tts", *openai().values(), *stand_ins, voice="alloy")
    made: Any = load_synthesizer(ask, Breakers())
    voices = [link.provider._voice for link in made._chain.links]
    assert [getattr(voice, "name", voice) for voice in voices] == [
        "alloy", "en-us", "hi", "alloy", "nova",
    ]  # fmt: skip
    await made.close()


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ({"provider": "rulse"}, r"llm\.fallback\.1\.provider 'rulse' is unknown"),
        (
            {"provider": "rules", "options": {"intents": {}}},
            r"agent 'desk': llm\.fallback\.1\.options\.intents: ",
        ),
    ],
)
def test_what_is_wrong_with_a_stand_in_is_named_by_its_path(fallback, message):
    rules = {"provider": "rules", "options": RULES}
    with pytest.raises(ProviderError, match=message) as caught:
        load_responder(asking("llm", "rules", RULES, rules, fallback), Breakers())
    assert caught.value.error_type == "refused"


def test_agents_that_use_a_provider_alike_share_its_breaker():
    breakers = Breakers()
    fast, slow = StageSpec(provider="a", timeout_ms=100), ProviderSpec(provider="a")
    assert breakers.of("llm", fast) is breakers.of("llm", slow)
    assert breakers.of("llm", fast) is not breakers.of("asr", fast)
    other = StageSpec(provider="a", options={"model": "m"})
    assert breakers.of("llm", fast) is not breakers.of("llm", other)


def test_a_name_tells_models_and_services_apart():
    assert name_of(ProviderSpec.model_validate(openai())) == "openai m 127.0.0.1:9"
    assert name_of(ProviderSpec(provider="espeak")) == "espeak"


async def test_a_turns_audio_is_kept_whole():
    listener: Any = load_transcriber(
        asking("asr", *openai().values(), endpointing={"max_turn_ms": 60_000}), Breakers()
    )
    assert listener._longest > 60_000 * 16
    await listener.close()
