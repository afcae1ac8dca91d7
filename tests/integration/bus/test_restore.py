"""A log that the bus has lost, in whole or in part, is written anew as if nothing had been."""

from __future__ import annotations

import asyncio

import pytest

from bus import audio, topics
from bus.log import LogLostError, SupersededError
from bus.restore import Restorer
from bus.session import BusSession
from calls import events as e
from media.frames import Codec
from tests.integration.conftest import Eventually, OpenSession
from tests.support.facts import CALL, reply_started, sentence, started, synthesis_ended, turn

WHOLE = [started(), turn(1), reply_started("1.0"), sentence("1.0", 0, "Good day.")]


@pytest.fixture
def restorer(session: BusSession) -> Restorer:
    return Restorer(session.redis, session.log)


async def kept(session: BusSession, *facts: e.Event) -> list[tuple[bytes, bytes]]:
    """Write a log; what an ingress would have kept of it."""
    await session.log.append(CALL, *facts)
    return [(entry_id, fields[b"e"]) for entry_id, fields in await session.log.entries(CALL)]


async def test_a_lost_log_is_back_with_its_ids_and_goes_on(
    session: BusSession, restorer: Restorer, open_bus: OpenSession, eventually: Eventually[bool]
) -> None:
    log = await kept(session, *WHOLE)
    reader = await open_bus("reader")
    heard: list[e.Event] = []
    async with reader.folds.follow(CALL, heard.append) as fold:
        await session.redis.flushall()
        assert await restorer.lost({CALL: log[-1][0]}) == [CALL]
        assert await restorer.restore(CALL, log)
        assert await session.log.read(CALL) == WHOLE
        assert await restorer.lost({CALL: log[-1][0]}) == []
        # Facts that are there are taken for known, and a follower hears what is new, once.
        await session.log.append(CALL, turn(1, "again"), turn(2))
        await eventually(lambda: heard == [turn(2)])
        assert fold.conversation.turns[1].text == "hello"
    assert 0 < await session.redis.ttl(topics.events(CALL)) <= topics.CALL_TTL_S


async def test_what_was_written_since_the_loss_keeps_its_place(
    session: BusSession, restorer: Restorer
) -> None:
    log = await kept(session, *WHOLE)
    await session.redis.flushall()
    late = [synthesis_ended("1.0", 0, 800), sentence("1.0", 0, "Twice.")]
    await session.log.append(CALL, *late)
    assert await restorer.restore(CALL, log)
    assert await session.log.read(CALL) == [*WHOLE, late[0]]


async def test_an_older_log_gets_what_it_lacks(session: BusSession, restorer: Restorer) -> None:
    log = await kept(session, *WHOLE)
    await session.redis.xdel(topics.events(CALL), log[2][0], log[3][0])
    assert await restorer.restore(CALL, log)
    assert await session.log.read(CALL) == WHOLE


async def test_two_that_restore_at_once_write_it_once(
    session: BusSession, restorer: Restorer
) -> None:
    log = await kept(session, *WHOLE)
    await session.redis.flushall()
    done = await asyncio.gather(*(restorer.restore(CALL, log) for _ in range(5)))
    assert done.count(True) == 1
    assert await session.log.read(CALL) == WHOLE


async def test_whoever_owned_a_task_owns_it_no_more(
    session: BusSession, restorer: Restorer
) -> None:
    log = await kept(session, *WHOLE)
    before = await session.log.claim(CALL, "asr")
    await session.redis.flushall()
    await restorer.restore(CALL, log)
    with pytest.raises(SupersededError):
        await session.log.commit(before, turn(2))
    after = await session.log.claim(CALL, "asr")
    assert after.epoch > before.epoch
    assert after.checkpoint is None
    with pytest.raises(SupersededError):
        await session.log.commit(before, turn(2))


async def test_nothing_is_added_to_a_log_that_lost_what_was_seen(session: BusSession) -> None:
    log = await kept(session, *WHOLE)
    await session.log.append(CALL, turn(2), seen=log[-1][0])
    await session.redis.flushall()
    with pytest.raises(LogLostError):
        await session.log.append(CALL, turn(3), seen=log[-1][0])
    assert await session.log.entries(CALL) == []


@pytest.mark.parametrize(
    ("seqs", "hole"),
    [([], (0, 9600)), (range(50, 60), (0, 8000)), ([*range(20), *range(50, 60)], (3200, 8000))],
)
async def test_the_hole_in_the_callers_audio_is_measured(
    session: BusSession, restorer: Restorer, seqs: list[int], hole: tuple[int, int]
) -> None:
    for seq in seqs:
        frame = audio.encode_frame(audio.InFrame(seq, 0, Codec.PCMU, bytes(160)))
        await session.redis.xadd(
            topics.audio_in(CALL), {audio.IN_FIELD: frame}, audio.frame_id(seq)
        )
    assert await restorer.hole(CALL, 60 * 160) == hole


async def test_a_worker_that_knew_more_than_is_there_forgets_it(
    session: BusSession, restorer: Restorer, open_bus: OpenSession
) -> None:
    log = await kept(session, *WHOLE)
    worker = await open_bus("worker")
    await session.log.append(CALL, turn(2, "never heard of"))
    assert (await worker.folds.get(CALL)).conversation.current_turn == 2
    await session.redis.flushall()
    # Until the log is back, what it remembers is better than nothing.
    assert (await worker.folds.get(CALL)).conversation.current_turn == 2
    await restorer.restore(CALL, log)
    assert (await worker.folds.get(CALL)).conversation.current_turn == 1


async def test_a_worker_that_met_only_the_rest_of_a_log_reads_it_all_later(
    session: BusSession, restorer: Restorer, open_bus: OpenSession
) -> None:
    log = await kept(session, *WHOLE)
    await session.redis.flushall()
    await session.log.append(CALL, synthesis_ended("1.0", 0, 800))
    worker = await open_bus("worker")
    assert (await worker.folds.get(CALL)).conversation.started is None
    await restorer.restore(CALL, log)
    assert (await worker.folds.get(CALL)).conversation.current_turn == 1
