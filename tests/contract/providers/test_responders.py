"""What every responder must do (workers.ports.Responder)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from calls.conversation import Message
from workers.ports import Action, Responder, Token
from workers.providers.registry import load_responder
from workers.resilience import loading

GREETING = Message("assistant", "Riverside Clinic, good day. How can I help you?")


@pytest.fixture(params=["rules", "openai", "stand-in"])
async def responder(request, asking) -> AsyncIterator[Responder]:
    if request.param == "stand-in":
        made = loading.load_responder(asking.ask_with_stand_in("llm"), loading.Breakers())
    else:
        made = load_responder(asking.ask("llm", request.param))
    yield made
    await made.close()


def saying(*texts: str) -> list[Message]:
    return [GREETING, *(Message("user", text) for text in texts)]


async def reply(
    responder: Responder, conversation: Sequence[Message], confidence: float | None = None
) -> list[Token | Action]:
    return [piece async for piece in responder.reply(conversation, confidence=confidence)]


async def go_on(
    responder: Responder, conversation: Sequence[Message], said: Sequence[str]
) -> list[Token | Action]:
    stream = responder.reply(conversation, confidence=None, said=said)
    return [piece async for piece in stream]


def text_of(pieces: list[Token | Action]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Token))


async def test_streams_text_in_pieces_with_its_spaces(responder):
    pieces = await reply(responder, saying("what are your opening hours"))
    assert len(pieces) > 3
    assert all(isinstance(piece, Token) and piece.text for piece in pieces)
    assert text_of(pieces) == text_of(pieces).strip()
    assert len(text_of(pieces).split()) > 3


async def test_asked_again_it_answers_again(responder):
    conversation = saying("what is your address")
    assert await reply(responder, conversation) == await reply(responder, conversation)


async def test_hangs_up_after_its_last_word(responder):
    pieces = await reply(responder, saying("thank you goodbye"), 0.9)
    assert pieces[-1] == Action("hangup")
    assert [piece for piece in pieces if isinstance(piece, Action)] == pieces[-1:]
    assert text_of(pieces)


async def test_does_not_hang_up_unasked(responder):
    pieces = await reply(responder, saying("i need a refill of my prescription"))
    assert not any(isinstance(piece, Action) for piece in pieces)


async def test_what_was_said_is_not_said_again(responder):
    conversation = saying("i would like to book an appointment", "what are your opening hours")
    whole = text_of(await reply(responder, conversation)).split()
    stands = [" ".join(whole[:2]), " ".join(whole[2:4])]
    assert text_of(await go_on(responder, conversation, stands)).split() == whole[4:]


async def test_an_action_is_still_due_when_all_words_were_said(responder):
    conversation = saying("thank you goodbye")
    whole = text_of(await reply(responder, conversation, 0.9))
    pieces = await go_on(responder, conversation, [whole])
    assert pieces[-1] == Action("hangup")


@pytest.mark.parametrize("confidence", [None, 0.0, 1.0])
async def test_any_confidence_gets_an_answer(responder, confidence):
    assert text_of(await reply(responder, saying("when do you open"), confidence))


@pytest.mark.parametrize("conversation", [[], [GREETING]], ids=["nothing", "greeting only"])
async def test_a_conversation_without_the_callers_words_gets_an_answer(responder, conversation):
    assert text_of(await reply(responder, conversation))


async def test_closing_it_leaves_the_next_reply_alone(responder):
    stream = responder.reply(saying("what are your opening hours"), confidence=None)
    assert isinstance(await anext(stream), Token)
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert text_of(await reply(responder, saying("what are your opening hours")))


async def test_replies_at_the_same_time_do_not_mix(responder):
    conversations = [
        saying(text) for text in ("when do you open", "what is your address", "hello") * 4
    ]
    alone = [await reply(responder, conversation) for conversation in conversations[:3]]
    together = await asyncio.gather(*(reply(responder, each) for each in conversations))
    assert together == alone * 4
