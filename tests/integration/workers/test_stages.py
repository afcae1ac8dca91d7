"""The ASR and LLM workers on a real bus, with providers that do what the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bus import audio, topics
from bus.jobs import AnswerTurn, HearCall
from bus.session import BusSession
from bus.tasks import stop
from calls import events as e
from calls.agent import Agent, Endpointing
from calls.conversation import Conversation, Message
from calls.ids import ReplyId
from media import g711
from media.frames import Codec
from tests.integration.conftest import Eventually, OpenSession
from tests.support.facts import (
    CALL,
    ended,
    reply_started,
    started,
    turn,
)
from workers.asr.worker import AsrWorker
from workers.llm.worker import LlmWorker
from workers.ports import Action, ProviderError, Token, Transcript

AGENT = Agent(
    name="desk",
    greeting="Good day. How can I help?",
    endpointing=Endpointing(vad="energy", min_speech_ms=60, silence_ms=300, pad_ms=100),
)
LOUD, QUIET = 0x10, 0xFF


def now_ms() -> float:
    return 5000.0


async def queued(session: BusSession, pool: topics.PoolName) -> list[bytes]:
    return [fields[b"__data__"] for _, fields in await session.redis.xrange(topics.jobs(pool))]


async def log_of(session: BusSession, *kinds: type[e.Event]) -> list[Any]:
    return [event for event in await session.log.read(CALL) if isinstance(event, kinds)]


# -- listening


class Ear:
    """A transcriber whose transcript is what it heard: "frames:<loud frames>"."""

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.cancelled = 0

    def listen(self) -> Ear:
        self.pcm.clear()
        return self

    async def write(self, pcm: bytes) -> str:
        self.pcm += pcm
        return ""

    async def finish(self) -> Transcript:
        heard = g711.encode(bytes(self.pcm), Codec.PCMU)
        frames = [heard[begin : begin + 160] for begin in range(0, len(heard), 160)]
        return Transcript(f"frames:{sum(frame[0] == LOUD for frame in frames)}", 0.9)

    async def cancel(self) -> None:
        self.cancelled += 1

    async def close(self) -> None: ...


async def speak_into(session: BusSession, pattern: str, first: int = 0) -> int:
    """Write a frame a character, `#` loud; gives the number of the next."""
    for seq, char in enumerate(pattern, first):
        payload = bytes([LOUD if char == "#" else QUIET]) * 160
        frame = audio.InFrame(seq, 1000 + seq * 20, Codec.PCMU, payload)
        await session.redis.xadd(
            topics.audio_in(CALL), {audio.IN_FIELD: audio.encode_frame(frame)}, audio.frame_id(seq)
        )
    return first + len(pattern)


def hearing(session: BusSession, ear: Ear) -> asyncio.Task[None]:
    worker = AsrWorker(session, lambda _: ear, now_ms)
    return asyncio.create_task(worker.hear(HearCall(call=CALL)))


async def test_a_call_is_heard_to_its_end(session: BusSession, eventually: Eventually[Any]) -> None:
    await session.log.append(CALL, started(agent=AGENT))
    task = hearing(session, Ear())
    end = await speak_into(session, "." * 20 + "#" * 20 + "." * 30)
    [said] = await eventually(lambda: log_of(session, e.TurnEnded))
    assert said.text == "frames:20"
    assert len(await eventually(lambda: queued(session, "llm"))) == 1
    await session.log.append(CALL, ended(position=end * 160))
    await task
    [heard] = await log_of(session, e.HearingEnded)
    assert heard.position == end * 160


async def test_a_take_over_in_mid_utterance_loses_no_sample_and_doubles_none(
    session: BusSession, open_bus: OpenSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, started(agent=AGENT))
    first = hearing(await open_bus("first"), Ear())
    there = await speak_into(session, "." * 60 + "#" * 20)
    await eventually(lambda: log_of(session, e.SpeechStarted))
    await stop(first)  # as a lost lease does it; nothing of it is written
    there = await speak_into(session, "#" * 20, there)
    second = hearing(await open_bus("second"), Ear())
    there = await speak_into(session, "#" * 10 + "." * 30, there)
    [said] = await eventually(lambda: log_of(session, e.TurnEnded))
    assert said.text == "frames:50"
    assert (said.speech_start, said.speech_end) == (60 * 160, 110 * 160)
    await session.log.append(CALL, ended(position=there * 160))
    await second
    assert len(await log_of(session, e.SpeechStarted)) == 1
    assert len(await log_of(session, e.TurnEnded)) == 1
    assert len(await queued(session, "llm")) == 1


async def test_a_zombie_is_stopped_by_whoever_took_over(
    session: BusSession, open_bus: OpenSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, started(agent=AGENT))
    first = hearing(await open_bus("first"), Ear())
    there = await speak_into(session, "." * 20 + "#" * 10)
    await eventually(lambda: log_of(session, e.SpeechStarted))
    second = hearing(await open_bus("second"), Ear())
    there = await speak_into(session, "#" * 10 + "." * 60, there)
    await session.log.append(CALL, ended(position=there * 160))
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert Counter(type(result).__name__ for result in results) == {
        "SupersededError": 1,
        "NoneType": 1,
    }
    [said] = await log_of(session, e.TurnEnded)
    assert said.text == "frames:20"


async def test_a_reply_that_its_turn_was_never_given_is_asked_for(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(
        CALL, started(agent=AGENT), turn(1), reply_started("1.0"), turn(2), ended(position=0)
    )
    await hearing(session, Ear())
    [job] = await queued(session, "llm")
    assert b'"turn":2' in job


async def test_a_call_without_audio_ends_too(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=AGENT), ended(position=0))
    await hearing(session, Ear())
    assert len(await log_of(session, e.HearingEnded)) == 1
    await hearing(session, Ear())  # a second delivery of the job


# -- thinking


class Mind:
    """A responder that says pieces, and tells whether it was closed."""

    def __init__(self, *pieces: Token | Action | Exception, then_wait: bool = False) -> None:
        self.pieces = pieces
        self.then_wait = then_wait
        self.asked: list[Sequence[Message]] = []
        self.closed = 0

    async def reply(
        self, conversation: Sequence[Message], *, confidence: float | None
    ) -> AsyncIterator[Token | Action]:
        self.asked.append(conversation)
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            if self.then_wait:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def close(self) -> None: ...


def answering(session: BusSession, mind: Mind, number: int = 1) -> asyncio.Task[None]:
    worker = LlmWorker(session, lambda _: mind, now_ms)
    return asyncio.create_task(worker.answer(AnswerTurn(call=CALL, turn=number)))


async def test_a_turn_is_answered_sentence_by_sentence(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1, "how late is it"))
    mind = Mind(Token("It is "), Token("noon. Any"), Token("thing else?"), Action("hangup"))
    await answering(session, mind)
    reply = Conversation.of(await session.log.read(CALL)).turns[1].replies[ReplyId("1.0")]
    assert [each.text for each in reply.ordered] == ["It is noon.", "Anything else?"]
    assert (reply.ended, reply.count) == ("complete", 2)
    assert [action.action for action in reply.actions] == ["hangup"]
    assert len(await queued(session, "tts")) == 2
    assert mind.asked == [[Message("user", "how late is it")]]
    await answering(session, mind)  # a second delivery of the job
    assert len(mind.asked) == 1


async def test_the_greeting_asks_nobody(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=AGENT))
    mind = Mind()
    await answering(session, mind, 0)
    said = await log_of(session, e.SentenceReady)
    assert [fact.text for fact in said] == ["Good day.", "How can I help?"]
    assert mind.asked == []


async def test_a_newer_turn_closes_the_provider(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1))
    mind = Mind(Token("It is a long story. And"), then_wait=True)
    task = answering(session, mind)
    await eventually(lambda: log_of(session, e.SentenceReady))
    assert mind.closed == 0
    await session.log.append(CALL, turn(2))
    await task
    assert mind.closed == 1
    [end] = await log_of(session, e.ReplyEnded)
    assert (end.why, end.sentences) == ("cancelled", 1)


async def test_a_reply_nobody_wants_any_more_is_not_begun(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1), turn(2))
    mind = Mind(Token("Too late."))
    await answering(session, mind)
    assert mind.asked in ([], [[]]) or mind.closed == 0
    assert await log_of(session, e.SentenceReady) == []
    [end] = await log_of(session, e.ReplyEnded)
    assert end.why == "cancelled"


async def test_a_drain_is_not_mistaken_for_an_unwanted_reply(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    """It goes on up, so that the pool hands the job back instead of calling it done."""
    await session.log.append(CALL, started(agent=AGENT), turn(1))
    mind = Mind(Token("It is a long story. And"), then_wait=True)
    task = answering(session, mind)
    await eventually(lambda: log_of(session, e.SentenceReady))
    await stop(task)
    assert task.cancelled()
    assert mind.closed == 1
    assert await log_of(session, e.ReplyEnded) == []
    await answering(session, Mind(Token("It is a long story. "), Token("The end.")))
    reply = Conversation.of(await session.log.read(CALL)).turns[1].replies[ReplyId("1.0")]
    assert reply.text == "It is a long story. The end."


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([], ["Sorry, something went wrong on my side. Could you say that again?"]),
        ([Token("It is noon. And")], ["It is noon."]),
    ],
)
async def test_a_provider_that_fails_is_apologised_for(
    session: BusSession, pieces: list[Token], said: list[str]
) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1))
    await answering(session, Mind(*pieces, ProviderError("no quota", error_type="refused")))
    [failed] = await log_of(session, e.StageFailed)
    assert (failed.stage, failed.error_type, failed.reply) == ("llm", "refused", "1.0")
    assert [fact.text for fact in await log_of(session, e.SentenceReady)] == said
    [end] = await log_of(session, e.ReplyEnded)
    assert (end.why, end.sentences) == ("failed", 1)


async def test_a_turn_that_nobody_could_hear_is_apologised_for(session: BusSession) -> None:
    agent = AGENT.model_copy(update={"apology": "Pardon?"})
    await session.log.append(CALL, started(agent=agent), turn(1, text=""))
    mind = Mind(Token("never asked"))
    await answering(session, mind)
    assert [fact.text for fact in await log_of(session, e.SentenceReady)] == ["Pardon?"]


async def test_a_reply_that_no_worker_could_write_ends(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1))
    worker = LlmWorker(session, lambda _: Mind(), now_ms)
    await worker.give_up(AnswerTurn(call=CALL, turn=1), RuntimeError("no"))
    assert Conversation.of(await session.log.read(CALL)).turns[1].replies[ReplyId("1.0")].played_out
