"""The OpenAI-compatible providers against a service that is slow, refuses, breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from calls.conversation import Message
from calls.transfer import Destination, Transfer
from workers.ports import Action, ProviderError, Token
from workers.providers.registry import load_responder, load_synthesizer, load_transcriber
from workers.resilience import loading

ASKED = [Message("user", "when do you open")]
SPOKEN = "We are open from eight to six."


async def run_asr(asking, **options) -> object:
    transcriber = load_transcriber(asking.ask("asr", "openai", **options))
    try:
        utterance = transcriber.listen()
        await utterance.write(bytes(3200))
        return await utterance.finish()
    finally:
        await transcriber.close()


async def run_llm(asking, **options) -> list[Token | Action]:
    responder = load_responder(asking.ask("llm", "openai", **options))
    try:
        return [piece async for piece in responder.reply(ASKED, confidence=None)]
    finally:
        await responder.close()


async def run_tts(asking, **options) -> list[bytes]:
    synthesizer = load_synthesizer(asking.ask("tts", "openai", **options))
    try:
        return [piece async for piece in synthesizer.speak(SPOKEN)]
    finally:
        await synthesizer.close()


def resilient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `run_*` use what a worker uses: providers know no time-outs."""
    breakers = loading.Breakers()
    for name in ("load_transcriber", "load_responder", "load_synthesizer"):
        monkeypatch.setitem(globals(), name, partial(getattr(loading, name), breakers=breakers))


STAGES = [
    pytest.param(run, id=run.__name__.removeprefix("run_")) for run in (run_asr, run_llm, run_tts)
]


@pytest.mark.parametrize("run", STAGES)
@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (401, "refused"),
        (404, "refused"),
        (429, "unavailable"),
        (500, "unavailable"),
        (503, "unavailable"),
    ],
)
async def test_an_error_status_is_told_in_the_services_words(
    asking, service, run: Callable, status, error_type
):
    service.fault = status
    with pytest.raises(ProviderError, match=rf"{status}: no luck") as caught:
        await run(asking)
    assert caught.value.error_type == error_type
    assert service.base_url in str(caught.value)
    assert len(service.requests) == 1


@pytest.mark.parametrize("run", STAGES)
async def test_a_silent_service_is_hung_up_on(asking, service, monkeypatch, run: Callable):
    service.fault = "silence"
    resilient(monkeypatch)
    with pytest.raises(ProviderError, match=r"within 100 ms.* raise its timeout_ms") as caught:
        await run(asking, timeout_ms=100)
    assert caught.value.error_type == "timeout"
    await asyncio.wait_for(service.client_left.wait(), 5)
    assert len(service.requests) == 2


@pytest.mark.parametrize("run", STAGES)
async def test_nobody_listens_at_the_base_url(asking, service, run: Callable):
    await service.__aexit__()
    with pytest.raises(ProviderError, match="is it running") as caught:
        await run(asking)
    assert caught.value.error_type == "unavailable"


@pytest.mark.parametrize("run", [STAGES[1], STAGES[2]])
async def test_an_answer_that_breaks_off_is_no_whole_answer(asking, service, run: Callable):
    service.after_first = "break off"
    with pytest.raises(ProviderError) as caught:
        await run(asking)
    assert caught.value.error_type == "unavailable"


@pytest.mark.parametrize("run", [STAGES[1], STAGES[2]])
async def test_an_answer_that_stalls_times_out(asking, service, monkeypatch, run: Callable):
    service.after_first = "wait"
    resilient(monkeypatch)
    with pytest.raises(ProviderError) as caught:
        await run(asking, timeout_ms=100)
    assert caught.value.error_type == "timeout"
    await asyncio.wait_for(service.client_left.wait(), 5)


async def _stream(asking, stage: str) -> tuple[AsyncIterator, Callable]:
    if stage == "llm":
        responder = load_responder(asking.ask("llm", "openai"))
        return responder.reply(ASKED, confidence=None), responder.close
    synthesizer = load_synthesizer(asking.ask("tts", "openai"))
    return synthesizer.speak(SPOKEN), synthesizer.close


async def test_the_first_audio_does_not_wait_for_the_second(asking, service):
    service.after_first = "wait"
    stream, close = await _stream(asking, "tts")
    first = await asyncio.wait_for(anext(stream), 5)
    assert len(first) == 1000  # of 1001: half a sample waits for its other half
    service.go_on.set()
    rest = b"".join([piece async for piece in stream])
    assert len(first + rest) == len(SPOKEN) * 24_000 * 60 // 1000 * 2
    await close()


@pytest.mark.parametrize("stage", ["llm", "tts"])
async def test_closing_the_iterator_ends_the_request(asking, service, stage):
    service.after_first = "wait"
    stream, close = await _stream(asking, stage)
    if stage == "tts":
        await anext(stream)
        await stream.aclose()
    else:  # the service's first chunk has no text: the reply is cancelled while it waits
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.wait_for(service.asked.wait(), 5)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stream.aclose()
    await asyncio.wait_for(service.client_left.wait(), 5)
    await close()


async def test_all_stages_share_one_warm_connection(asking, service, recordings):
    transcriber = load_transcriber(asking.ask("asr", "openai"))
    responder = load_responder(asking.ask("llm", "openai"))
    synthesizer = load_synthesizer(asking.ask("tts", "openai"))
    for _ in range(2):
        utterance = transcriber.listen()
        await utterance.write(recordings["when do you open"])
        said = (await utterance.finish()).text
        async for _piece in responder.reply([Message("user", said)], confidence=None):
            pass
        async for _piece in synthesizer.speak(SPOKEN):
            pass
    assert [request.path for request in service.requests] == 2 * [
        "/v1/audio/transcriptions",
        "/v1/chat/completions",
        "/v1/audio/speech",
    ]
    assert service.connections == 1
    for stage in (transcriber, responder, synthesizer):
        await stage.close()


async def test_the_request_says_what_the_agent_is(asking, service, example):
    await run_llm(asking, temperature=0.2, max_tokens=99, extra={"top_k": 5})
    request = service.requests[0]
    assert request.headers["authorization"] == "Bearer sk-test"
    body = request.json
    assert body["messages"][0]["content"].startswith(example.prompt)
    assert body["messages"][1:] == [{"role": "user", "content": "when do you open"}]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["hangup"]
    assert (body["temperature"], body["max_tokens"], body["top_k"]) == (0.2, 99, 5)
    assert body["stream"] is True


async def test_an_uncertain_transcript_is_pointed_out_to_the_model(asking, service):
    responder = load_responder(asking.ask("llm", "openai"))
    for confidence in (0.9, 0.1, None):
        async for _piece in responder.reply(ASKED, confidence=confidence):
            pass
    prompts = [request.json["messages"][0]["content"] for request in service.requests]
    assert ["heard badly" in prompt for prompt in prompts] == [False, True, False]
    await responder.close()


async def test_a_model_transfers_to_whom_the_file_names(asking, service):
    front = Transfer(destinations={"front": Destination(target="100")})
    asking.example = asking.example.model_copy(update={"transfer": front})
    responder = load_responder(asking.ask("llm", "openai"))
    said = [Message("user", "a human"), Message("note", "The transfer to front failed.")]
    for conversation in (said[:1], [*said, Message("user", "a human please")]):
        pieces = [piece async for piece in responder.reply(conversation, confidence=None)]
        assert pieces[-1] == Action("transfer", {"destination": "front"})
    offered = [tool["function"]["name"] for tool in service.requests[0].json["tools"]]
    assert offered == ["hangup", "transfer"]
    last = service.requests[1].json["messages"][-1]
    assert last["content"] == "(The transfer to front failed.)\na human please"
    await responder.close()


async def test_what_is_known_of_a_call_stands_in_the_prompt(asking, service):
    responder = load_responder(asking.ask("llm", "openai"))
    known = [Message("note", "You placed this call."), *ASKED]
    assert [piece async for piece in responder.reply(known, confidence=None)]
    first, second = service.requests[0].json["messages"]
    assert first["role"] == "system"
    assert first["content"].endswith("You placed this call.")
    assert second["content"] == ASKED[0].text
    await responder.close()


async def test_without_tools_none_is_offered(asking, service):
    await run_llm(asking, tools=[])
    assert "tools" not in service.requests[0].json


@pytest.mark.parametrize("load", [load_transcriber, load_responder, load_synthesizer])
def test_a_missing_key_is_refused_by_name(asking, load):
    asking.secrets.clear()
    stage = {load_transcriber: "asr", load_responder: "llm", load_synthesizer: "tts"}[load]
    ask = asking.ask(stage, "openai", base_url="https://api.example.com/v1", api_key_env="MY_KEY")
    with pytest.raises(ProviderError, match=rf"{stage}.options: .*MY_KEY") as caught:
        load(ask)
    assert caught.value.error_type == "refused"


@pytest.mark.parametrize(
    "options", [{}, {"base_url": "https://api.example.com/v1", "api_key_env": "none"}]
)
async def test_no_key_is_needed_on_this_machine_or_where_none_is_wanted(asking, options):
    asking.secrets.clear()
    await load_responder(asking.ask("llm", "openai", **options)).close()


async def test_a_service_that_sends_mp3_is_told_apart_from_noise(asking, service):
    service.pcm_type = "audio/mpeg"
    with pytest.raises(ProviderError, match="sends audio/mpeg"):
        await run_tts(asking)


def test_a_base_url_must_be_one(asking):
    with pytest.raises(ProviderError, match=r"llm\.options\.base_url: must be an http"):
        load_responder(asking.ask("llm", "openai", base_url="localhost:11434"))
