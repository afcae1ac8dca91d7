"""The ASR and LLM workers on a real bus, with providers that do what the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from bus import audio, topics
from bus.jobs import AnswerTurn, HearCall
from bus.session import BusSession
from bus.tasks import stop
from calls import events as e
from calls.agent import Agent, Endpointing, Interruption
from calls.conversation import Conversation, Message
from calls.ids import ReplyId
from calls.transfer import Destination, Transfer
from media import g711
from media.frames import Codec
from tests.integration.conftest import Eventually, OpenSession
from tests.support.facts import (
    CALL,
    ended,
    guessed,
    playing,
    reply_started,
    sentence,
    started,
    stopped,
    turn,
    withdrawn,
)
from workers.asr.judge import judge_for
from workers.asr.worker import AsrWorker
from workers.llm.worker import LlmWorker
from workers.ports import Action, Partial, ProviderError, Token, Transcript

AGENT = Agent(
    name="desk",
    greeting="Good day. How can I help?",
    endpointing=Endpointing(vad="energy", min_speech_ms=60, silence_ms=300, pad_ms=100),
)
#: Loud frames rise and fall, as speech does.
LOUD, QUIET = (0x10, 0x38), 0xFF


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

    async def write(self, pcm: bytes) -> Partial:
        self.pcm += pcm
        return Partial()

    async def guess(self) -> Transcript:
        return await self.finish()

    async def finish(self) -> Transcript:
        heard = g711.encode(bytes(self.pcm), Codec.PCMU)
        frames = [heard[begin : begin + 160] for begin in range(0, len(heard), 160)]
        return Transcript(f"frames:{sum(frame[0] in LOUD for frame in frames)}", 0.9)

    async def cancel(self) -> None:
        self.cancelled += 1

    async def close(self) -> None: ...


async def speak_into(session: BusSession, pattern: str, first: int = 0) -> int:
    """Write a frame a character, `#` loud; gives the number of the next."""
    for seq, char in enumerate(pattern, first):
        payload = bytes([LOUD[seq // 2 % 2] if char == "#" else QUIET]) * 160
        frame = audio.InFrame(seq, 1000 + seq * 20, Codec.PCMU, payload)
        await session.redis.xadd(
            topics.audio_in(CALL), {audio.IN_FIELD: audio.encode_frame(frame)}, audio.frame_id(seq)
        )
    return first + len(pattern)


def hearing(session: BusSession, ear: Ear) -> asyncio.Task[None]:
    worker = AsrWorker(session, lambda _: ear, judge_for, now_ms)
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
        self.said: list[list[str]] = []
        self.closed = 0

    async def reply(
        self,
        conversation: Sequence[Message],
        *,
        confidence: float | None,
        said: Sequence[str] = (),
    ) -> AsyncIterator[Token | Action]:
        self.asked.append(conversation)
        self.said.append(list(said))
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if not said:  # what stands is not said again
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


CLINIC = AGENT.model_copy(
    update={
        "transfer": Transfer(
            destinations={"front": Destination(target="+15550111", announce="Hold the line.")}
        )
    }
)
FRONT = {"target": "+15550111", "mode": "blind", "destination": "front"}


async def acts(session: BusSession) -> list[tuple[str, int, dict[str, str]]]:
    requests = await log_of(session, e.ActionRequested)
    return [(fact.action, fact.index, fact.arguments) for fact in requests]


async def test_what_the_agent_may_have_is_asked_for_by_the_files_word(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=CLINIC), turn(1))
    ones, twos = (Action("send_digits", {"digits": digit}) for digit in "12")
    await answering(session, Mind(Action("transfer", {"destination": "front"}), ones, twos))
    assert await acts(session) == [
        ("transfer", 0, FRONT),
        ("send_digits", 0, {"digits": "1"}),
        ("send_digits", 1, {"digits": "2"}),
    ]
    # Nobody is put through without a word.
    assert [said.text for said in await log_of(session, e.SentenceReady)] == ["Hold the line."]


async def test_what_it_may_not_have_fails_and_the_reply_goes_on(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=CLINIC), turn(1))
    wrong = (
        Action("dance"),
        Action("transfer", {"number": "+449001234"}),
        Action("transfer", problem="no JSON"),
    )
    mind = Mind(*wrong, Token("As you like."), Action("hangup"))
    clock = count(5000.0).__next__  # two failures at one moment would be one fact
    await LlmWorker(session, lambda _: mind, clock).answer(AnswerTurn(call=CALL, turn=1))
    assert await acts(session) == [("hangup", 0, {})]
    failures = await log_of(session, e.StageFailed)
    assert [failure.error_type for failure in failures] == ["action"] * 3
    [end] = await log_of(session, e.ReplyEnded)
    assert (end.why, end.sentences) == ("complete", 1)


async def test_a_writer_that_takes_over_asks_for_nothing_twice(session: BusSession) -> None:
    asked = e.ActionRequested(at=1.0, reply=ReplyId("1.0"), action="transfer", arguments={**FRONT})
    await session.log.append(
        CALL, started(agent=CLINIC), turn(1), reply_started("1.0"), sentence("1.0", 0, "So."), asked
    )

    class Again(Mind):
        async def reply(self, *_: Any, **__: Any) -> AsyncIterator[Token | Action]:
            yield Action("transfer", {"destination": "front"})
            yield Action("transfer", {"destination": "front"})  # this one is new

    await answering(session, Again())
    assert await acts(session) == [("transfer", 0, FRONT), ("transfer", 1, FRONT)]


async def test_an_outbound_greeting_has_what_is_known_in_its_places(session: BusSession) -> None:
    agent = AGENT.model_copy(update={"greeting": "Hello {name}. It is {hour}."})
    await session.log.append(CALL, replace(started(agent=agent), variables={"name": "Ann"}))
    await answering(session, Mind(), 0)
    said = await log_of(session, e.SentenceReady)
    assert [fact.text for fact in said] == ["Hello Ann.", "It is {hour}."]


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

    class GoesOn(Mind):
        async def reply(
            self,
            conversation: Sequence[Message],
            *,
            confidence: float | None,
            said: Sequence[str] = (),
        ) -> AsyncIterator[Token | Action]:
            self.said.append(list(said))
            yield Token("The end.")

    second = GoesOn()
    await answering(session, second)
    assert second.said == [["It is a long story."]]
    reply = Conversation.of(await session.log.read(CALL)).turns[1].replies[ReplyId("1.0")]
    assert reply.text == "It is a long story. The end."
    assert reply.count == 2


async def test_of_a_reply_to_a_guess_no_more_is_spoken_than_the_budget(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, started(agent=AGENT), guessed(1, 0, "how late is it"))
    mind = Mind(Token("It is noon. I think so. Or later. "), Token("Who knows?"))
    task = answering(session, mind)
    await eventually(lambda: queued(session, "tts"))
    assert len(await log_of(session, e.SentenceReady)) == AGENT.speculation.sentences == 2
    await session.log.append(CALL, turn(1, "how late is it"))
    await task
    assert len(await queued(session, "tts")) == 4
    assert mind.asked == [[Message("user", "how late is it")]]


async def test_a_wrong_guess_closes_the_provider(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, started(agent=AGENT), guessed(1, 0))
    mind = Mind(Token("It is a long story. And"), then_wait=True)
    task = answering(session, mind)
    await eventually(lambda: log_of(session, e.SentenceReady))
    await session.log.append(CALL, withdrawn(1, 0))
    await task
    assert mind.closed == 1


async def test_a_long_reply_is_spoken_only_so_far_ahead_of_the_ear(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1))
    task = answering(session, Mind(Token("A one. A two. A three. A four. A five. A six.")))
    await eventually(lambda: log_of(session, e.SentenceReady))
    await eventually(lambda: _many(queued(session, "tts"), 4))
    assert len(await log_of(session, e.SentenceReady)) == 6
    await session.log.append(CALL, playing("1.0", 0), stopped("1.0", 0, 800))
    await eventually(lambda: _many(queued(session, "tts"), 5))
    await session.log.append(CALL, playing("1.0", 1), stopped("1.0", 1, 800))
    await task
    assert len(await queued(session, "tts")) == 6


async def _many(entries: Any, count: int) -> bool:
    return len(await entries) >= count


async def test_a_phrase_of_the_agent_and_a_greeting_can_be_protected(session: BusSession) -> None:
    how = Interruption(protect=("recorded",), greeting=False)
    agent = AGENT.model_copy(update={"interruption": how})
    await session.log.append(CALL, started(agent=agent))
    await answering(session, Mind(), 0)
    await session.log.append(CALL, turn(1))
    await answering(session, Mind(Token("Calls are recorded. How are you?")))
    protected = {fact.text: fact.protected for fact in await log_of(session, e.SentenceReady)}
    assert protected == {
        "Good day.": True,
        "How can I help?": True,
        "Calls are recorded.": True,
        "How are you?": False,
    }


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


async def test_a_responder_that_breaks_off_is_asked_for_the_rest(session: BusSession) -> None:
    await session.log.append(CALL, started(agent=AGENT), turn(1))

    class Breaks(Mind):
        async def reply(
            self,
            conversation: Sequence[Message],
            *,
            confidence: float | None,
            said: Sequence[str] = (),
        ) -> AsyncIterator[Token | Action]:
            self.said.append(list(said))
            yield Token("And then. " if said else "At first. And")
            if not said:
                raise ProviderError("cut off", error_type="unavailable")

    mind = Breaks()
    await answering(session, mind)
    assert mind.said == [[], ["At first."]]
    assert [fact.text for fact in await log_of(session, e.SentenceReady)] == [
        "At first.",
        "And then.",
    ]
    [end] = await log_of(session, e.ReplyEnded)
    assert (end.why, end.sentences) == ("complete", 2)


async def test_a_greeting_that_is_taken_over_goes_on_where_it_stood(session: BusSession) -> None:
    await session.log.append(
        CALL, started(agent=AGENT), reply_started("0.0"), sentence("0.0", 0, "Good day.")
    )
    await answering(session, Mind(), 0)
    greeting = Conversation.of(await session.log.read(CALL)).turns[0].replies[ReplyId("0.0")]
    assert greeting.text == AGENT.greeting
    assert greeting.count == 2


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


async def test_what_stands_of_a_reply_that_is_given_up_is_still_heard(session: BusSession) -> None:
    await session.log.append(
        CALL, started(agent=AGENT), turn(1), reply_started("1.0"), sentence("1.0", 0, "At first.")
    )
    worker = LlmWorker(session, lambda _: Mind(), now_ms)
    await worker.give_up(AnswerTurn(call=CALL, turn=1), RuntimeError("no"))
    [end] = await log_of(session, e.ReplyEnded)
    assert (end.why, end.sentences) == ("failed", 1)
