"""The call's log on a real server: each fact once, by its owner only."""

from __future__ import annotations

import asyncio

import pytest

from bus import audio, topics
from bus.log import CallLog, SupersededError
from bus.session import BusSession
from calls.conversation import Conversation
from media.frames import Codec
from tests.support.facts import CALL, reply_started, sentence, started, turn


async def kinds(session: BusSession) -> list[str]:
    return [event.kind for event in await session.log.read(CALL)]


async def test_a_fact_is_written_once(session: BusSession) -> None:
    await session.log.append(CALL, started(), turn(1, "first"))
    await session.log.append(CALL, turn(1, "second"), turn(2))
    call = Conversation.of(await session.log.read(CALL))
    assert await kinds(session) == ["call.started", "turn.ended", "turn.ended"]
    assert call.turns[1].text == "first"


async def test_writers_at_once_write_each_fact_once(session: BusSession) -> None:
    await asyncio.gather(
        *(session.log.append(CALL, *(turn(number) for number in range(20))) for _ in range(10))
    )
    assert [event.turn for event in await session.log.read(CALL)] == list(range(20))


async def test_an_owner_writes_facts_checkpoint_and_trim_as_one(session: BusSession) -> None:
    for seq in range(1000):
        frame = audio.InFrame(seq, 0, Codec.PCMU, bytes(160))
        await session.redis.xadd(
            topics.audio_in(CALL), {audio.IN_FIELD: audio.encode_frame(frame)}, audio.frame_id(seq)
        )
    owner = await session.log.claim(CALL, "asr")
    assert owner.checkpoint is None
    await session.log.commit(
        owner, turn(1), checkpoint={"position": 5}, trim_before=audio.frame_id(500)
    )
    left = await session.redis.xrange(topics.audio_in(CALL))
    # The trim is approximate, and never takes what is still wanted.
    assert 500 <= len(left) < 1000
    assert left[-500][0] == audio.frame_id(500).encode()
    assert await kinds(session) == ["turn.ended"]
    assert (await session.log.claim(CALL, "asr")).checkpoint == {"position": 5}


async def test_a_superseded_owner_writes_nothing_at_all(session: BusSession) -> None:
    first = await session.log.claim(CALL, "asr")
    await session.log.commit(first, turn(1), checkpoint={"turn": 2})
    second = await session.log.claim(CALL, "asr")
    assert second.epoch == first.epoch + 1
    with pytest.raises(SupersededError):
        await session.log.commit(first, turn(2), checkpoint={"turn": 99})
    assert await kinds(session) == ["turn.ended"]
    assert (await session.log.claim(CALL, "asr")).checkpoint == {"turn": 2}


async def test_tasks_of_a_call_are_owned_apart(session: BusSession) -> None:
    asr = await session.log.claim(CALL, "asr")
    llm = await session.log.claim(CALL, "llm:1.0")
    await session.log.commit(asr, turn(1))
    await session.log.commit(llm, reply_started("1.0"))
    assert await kinds(session) == ["turn.ended", "reply.started"]


async def test_an_owner_whose_call_is_gone_is_refused(session: BusSession) -> None:
    owner = await session.log.claim(CALL, "asr")
    await session.redis.delete(topics.owners(CALL))
    with pytest.raises(SupersededError):
        await session.log.commit(owner, turn(1))


async def test_what_is_no_event_is_left_out(session: BusSession) -> None:
    await session.log.append(CALL, started())
    await session.redis.xadd(topics.events(CALL), {"e": b"garbage"})
    await session.redis.xadd(topics.events(CALL), {"other": b""})
    await session.redis.xadd(topics.events(CALL), {"e": b'{"kind": "newer", "at": 1}'})
    await session.log.append(CALL, turn(1))
    assert await kinds(session) == ["call.started", "turn.ended"]


async def test_every_key_of_a_call_goes_by_itself(session: BusSession) -> None:
    log = CallLog(session.redis, ttl_s=1000)
    owner = await log.claim(CALL, "asr")
    await log.commit(owner, turn(1))
    for key in (topics.events(CALL), topics.facts(CALL), topics.owners(CALL)):
        assert 0 < await session.redis.ttl(key) <= 1000
    await log.expire(CALL, 5)
    for key in (topics.events(CALL), topics.facts(CALL), topics.owners(CALL)):
        assert 0 < await session.redis.ttl(key) <= 5
    assert await log.read(CALL)


async def test_a_log_is_read_from_any_place(session: BusSession) -> None:
    await session.log.append(CALL, *(sentence("1.0", index, "a") for index in range(3)))
    first, *rest = await session.log.entries(CALL)
    assert await session.log.entries(CALL, first[0].decode()) == rest
