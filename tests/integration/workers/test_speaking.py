"""The TTS worker on a real bus, with a voice that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus import audio, topics
from bus.asides import speak_aside
from bus.jobs import SpeakSentence
from bus.session import BusSession
from bus.speech_cache import speech_key
from bus.tasks import stop
from calls import events as e
from calls.agent import Agent, StageSpec
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId, aside_id
from media import g711
from media.frames import Codec
from tests.integration.conftest import Eventually
from tests.support.facts import (
    CALL,
    reply_ended,
    reply_started,
    sentence,
    started,
    synthesis_ended,
    turn,
)
from workers.ports import ProviderError
from workers.resilience.breaker import Breaker
from workers.resilience.chain import Chain, Link
from workers.resilience.synthesizer import ResilientSynthesizer
from workers.tts.worker import TtsWorker

AGENT = Agent(name="desk", greeting="Good day. How can I help?")
OTHER_CALL = CallId("20260102t030405-ffffffffff")
ASIDE = aside_id(1, 0)
LOUD = 0x10


def now_ms() -> float:
    return 5000.0


async def log_of(session: BusSession, *kinds: type[e.Event]) -> list[Any]:
    return [event for event in await session.log.read(CALL) if isinstance(event, kinds)]


class Voice:
    """A synthesizer of frames of one octet, which comes in pieces of any size."""

    sample_rate = 8000

    def __init__(
        self, frames: int = 25, fails: bool = False, then_wait: bool = False, octet: int = LOUD
    ) -> None:
        self.frames = frames
        self.fails = fails
        self.then_wait = then_wait
        self.octet = octet
        self.said: list[str] = []
        self.closed = 0

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        self.said.append(text)
        pcm = g711.decode(bytes([self.octet]) * 160, Codec.PCMU) * self.frames
        try:
            for begin in range(0, len(pcm), 500):
                yield pcm[begin : begin + 500]
            if self.fails:
                raise ProviderError("no voice", error_type="unavailable")
            if self.then_wait:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def close(self) -> None: ...


async def chunks(session: BusSession, call: CallId = CALL) -> list[audio.OutChunk]:
    entries = await session.redis.xrange(topics.audio_out(call))
    return [audio.decode_chunk(fields[audio.OUT_FIELD]) for _, fields in entries]


async def spoken(session: BusSession, call: CallId = CALL) -> bytes:
    """The audio on the stream, which has each sample once and in order."""
    whole = b""
    for chunk in await chunks(session, call):
        assert chunk.offset == len(whole)
        whole += chunk.payload
    return whole


def job_of(text: str = "Yes.", call: CallId = CALL, reply: str = "1.0") -> SpeakSentence:
    return SpeakSentence(call=call, reply=ReplyId(reply), index=0, text=text)


def speaking(session: BusSession, voice: Voice, text: str = "Yes.") -> asyncio.Task[None]:
    worker = TtsWorker(session, lambda _: voice, now_ms)
    return asyncio.create_task(worker.speak(job_of(text)))


def to_be_spoken(text: str = "Yes.", agent: Agent = AGENT) -> list[e.Event]:
    return [started(agent=agent), turn(1), reply_started("1.0"), sentence("1.0", 0, text)]


async def test_a_sentence_is_spoken_without_a_hole(session: BusSession) -> None:
    await session.log.append(CALL, *to_be_spoken())
    voice = Voice(frames=25)
    await speaking(session, voice, text="worded anew")
    assert voice.said[0] == "Yes."  # as the log has it
    assert len(await spoken(session)) == 25 * 160
    written = await chunks(session)
    assert max(len(chunk.payload) for chunk in written) <= 1600
    assert [chunk.last for chunk in written] == [False] * (len(written) - 1) + [True]
    [end] = await log_of(session, e.SynthesisEnded)
    assert (end.samples, end.why) == (25 * 160, "complete")
    [begun] = await log_of(session, e.SynthesisStarted)
    assert not begun.cached
    again = Voice()
    await speaking(session, again)  # a second delivery of the job
    assert again.said == []


async def test_what_the_caller_need_not_wait_for_is_written_in_few_chunks(
    session: BusSession,
) -> None:
    await session.log.append(CALL, *to_be_spoken())
    await speaking(session, Voice(frames=300))
    written = await chunks(session)
    assert len(written[0].payload) == 160  # the first piece's only frame, at once
    assert len(await spoken(session)) == 300 * 160
    assert len(written) < 40


async def test_a_newer_turn_silences_the_voice(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    await session.log.append(CALL, *to_be_spoken())
    voice = Voice(then_wait=True)
    task = speaking(session, voice)
    await eventually(lambda: log_of(session, e.SynthesisStarted))
    await session.log.append(CALL, turn(2))
    await task
    assert voice.closed == 1
    [end] = await log_of(session, e.SynthesisEnded)
    assert end.why == "cancelled"
    assert end.samples == len(await spoken(session)) < 25 * 160  # what was held back is not written
    assert not any(chunk.last for chunk in await chunks(session))


async def test_a_voice_that_fails_ends_its_sentence(session: BusSession) -> None:
    await session.log.append(CALL, *to_be_spoken())
    await speaking(session, Voice(fails=True))
    assert (await chunks(session))[-1].last
    [failed], [end] = await log_of(session, e.StageFailed), await log_of(session, e.SynthesisEnded)
    assert (failed.stage, failed.error_type) == ("tts", "unavailable")
    assert (end.why, end.samples) == ("failed", 25 * 160)


async def test_a_sentence_that_no_worker_could_speak_ends(session: BusSession) -> None:
    await session.log.append(CALL, *to_be_spoken(), reply_ended("1.0", 1))
    worker = TtsWorker(session, lambda _: Voice(), now_ms)
    await worker.give_up(job_of(), RuntimeError("no"))
    [chunk] = await chunks(session)
    assert chunk.last
    reply = Conversation.of(await session.log.read(CALL)).turns[1].replies[ReplyId("1.0")]
    assert reply.played_out


async def test_what_was_spoken_already_is_not_spoken_again(session: BusSession) -> None:
    await session.log.append(CALL, *to_be_spoken(), synthesis_ended("1.0", 0, 800))
    voice = Voice()
    await speaking(session, voice)
    assert voice.said == []


# -- taking over


@pytest.mark.parametrize(("frames", "whole"), [(40, 40), (10, 20)])
async def test_a_take_over_goes_on_where_the_dead_workers_audio_ends(
    session: BusSession, eventually: Eventually[Any], frames: int, whole: int
) -> None:
    """...and a take that is shorter than what stands adds its end alone."""
    await session.log.append(CALL, *to_be_spoken())
    first = speaking(session, Voice(frames=20, then_wait=True))
    before = await eventually(lambda: spoken(session))
    await eventually(lambda: _settled(session))
    before = await spoken(session)
    await stop(first)  # as a lost lease does it
    await speaking(session, Voice(frames=frames, octet=0x20))
    after = await spoken(session)
    assert after.startswith(before)
    assert set(after[len(before) :]) <= {0x20}
    assert len(after) == max(len(before), frames * 160) <= whole * 160
    [end] = await log_of(session, e.SynthesisEnded)
    assert len(await log_of(session, e.SynthesisStarted)) == 1
    assert (end.samples, end.why) == (len(after), "complete")
    assert (await chunks(session))[-1].last


async def _settled(session: BusSession) -> bool:
    """Has a voice of 20 frames written all but what it holds back?"""
    return len(await spoken(session)) >= 20 * 160 * 2 // 3


async def test_two_workers_at_one_sentence_write_each_sample_once(session: BusSession) -> None:
    await session.log.append(CALL, *to_be_spoken())
    voices = [Voice(frames=60, octet=octet) for octet in (0x10, 0x20, 0x30)]
    await asyncio.gather(*(speaking(session, voice) for voice in voices))
    assert len(await spoken(session)) == 60 * 160
    assert [chunk.last for chunk in await chunks(session)].count(True) == 1
    assert len(await log_of(session, e.SynthesisEnded)) == 1


# -- the cache of speech


async def say(session: BusSession, voice: Any, text: str, agent: Agent, call: CallId) -> None:
    worker = TtsWorker(session, lambda _: voice, now_ms)
    await session.log.append(call, started(call, agent), turn(1))
    await worker.speak(job_of(text, call))
    await worker.close()


async def test_a_sentence_of_the_greeting_is_synthesized_for_the_first_caller_alone(
    session: BusSession,
) -> None:
    await say(session, Voice(frames=30), "How can I help?", AGENT, OTHER_CALL)
    voice = Voice()
    await say(session, voice, "How can I help?", AGENT, CALL)
    assert voice.said == []
    assert await spoken(session) == await spoken(session, OTHER_CALL) == bytes([LOUD]) * 30 * 160
    [begun] = await log_of(session, e.SynthesisStarted)
    [end] = await log_of(session, e.SynthesisEnded)
    assert begun.cached
    assert (end.samples, end.why) == (30 * 160, "complete")


async def test_any_other_sentence_is_kept_once_a_second_call_has_asked(
    session: BusSession,
) -> None:
    key = speech_key(AGENT, "Your name is Ada.")
    await say(session, Voice(), "Your name is Ada.", AGENT, CALL)
    await session.redis.delete(*topics.call_keys(CALL))
    await say(session, Voice(), "Your name is Ada.", AGENT, CALL)  # read back once more
    assert await session.cache.get(key) is None
    await say(session, Voice(), "Your name is Ada.", AGENT, OTHER_CALL)
    assert await session.cache.get(key) == bytes([LOUD]) * 25 * 160


@pytest.mark.parametrize("agent", [AGENT, AGENT.model_copy(update={"cache": False})])
async def test_a_sentence_that_broke_off_or_must_not_be_kept_is_not(
    session: BusSession, agent: Agent
) -> None:
    await say(session, Voice(fails=agent.cache), "Good day.", agent, CALL)
    assert await session.redis.exists(topics.SPEECH) == 0


@pytest.mark.parametrize("first_fails", [False, True])
async def test_one_that_stands_in_is_not_taken_for_the_agents_own_voice(
    session: BusSession, first_fails: bool
) -> None:
    spec = StageSpec.model_validate({"provider": "espeak", "fallback": [{"provider": "openai"}]})
    agent = AGENT.model_copy(update={"tts": spec})
    own = Voice(octet=0x20)
    if first_fails:
        own = Voice(frames=0, fails=True)
    links = [
        Link(name, voice, 1000, Breaker("tts", name, lambda: 0.0))
        for name, voice in (("own", own), ("other", Voice()))
    ]
    chain = ResilientSynthesizer(Chain("tts", links, jitter=lambda: 0.0))
    await say(session, chain, "Good day.", agent, CALL)
    assert set(await spoken(session)) == {LOUD if first_fails else 0x20}
    kept = await session.cache.get(speech_key(agent, "Good day."))
    assert (kept is None) is first_fails


async def test_an_aside_is_heard_though_every_tts_worker_is_dead(
    session: BusSession, eventually: Eventually[Any]
) -> None:
    phrase = AGENT.waiting.trouble
    worker = TtsWorker(session, lambda _: Voice(frames=7), now_ms)
    await session.log.append(CALL, started(agent=AGENT), turn(1))
    assert not await speak_aside(session, CALL, AGENT, ASIDE, phrase, now_ms)
    assert len(await session.redis.xrange(topics.jobs("tts"))) == 1
    await worker.speak(job_of("Anything."))  # the call's first sentence warms the cache
    key = speech_key(AGENT, AGENT.phrases[-1])
    await eventually(lambda: session.cache.get(key))
    await worker.close()
    await session.redis.delete(topics.audio_out(CALL))

    assert await speak_aside(session, CALL, AGENT, ASIDE, phrase, now_ms)
    assert await speak_aside(session, CALL, AGENT, ASIDE, phrase, now_ms)  # tried again
    assert await spoken(session) == bytes([LOUD]) * 7 * 160
    assert {chunk.reply for chunk in await chunks(session)} == {ASIDE}
    assert [end.reply for end in await log_of(session, e.SynthesisEnded)] == ["1.0", ASIDE]
    assert len(await session.redis.xrange(topics.jobs("tts"))) == 1
