"""The bus loses its data in mid-call, and the call goes on."""

from __future__ import annotations

import json
import time
from typing import Any

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, encode_chunk, frame_end
from bus.session import BusSession
from calls.conversation import Conversation
from calls.ids import CallId, ReplyId
from ingress_sip.server import SipServer
from media.frames import Codec
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.phone import NewPhone, Phone, ending, jobs, live_call
from tests.support.facts import reply_ended, reply_started, sentence, turn

REPLY = ReplyId("1.0")


async def in_a_call(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> tuple[Phone, CallId]:
    """A call whose first turn is answered, by a sentence that is not spoken yet."""
    phone = await new_phone(server)
    assert (await phone.dial()).status == 200
    call = await live_call(session)

    async def asked() -> bool:
        frames = await session.redis.xlen(topics.audio_in(call))
        return await jobs(session, "llm") == 1 and frames > 5

    await eventually(asked)
    answered = (reply_started(REPLY), sentence(REPLY, 0, "Good day."), reply_ended(REPLY, 1))
    # In a while: a loss is noticed within 2 s, and by then a filler could be due, another tts job.
    soon = (time.time() + 10) * 1000
    await session.log.append(call, turn(1, at=soon), *answered)
    fold = await session.folds.get(call)  # the ingress's own: it has read all that now
    assert fold.conversation.reply(REPLY) is not None
    return phone, call


async def queued(session: BusSession, pool: topics.PoolName) -> list[dict[str, Any]]:
    entries = await session.redis.xrange(topics.jobs(pool))
    messages = [fields[b"__data__"] for _, fields in entries]  # FastStream's head, and the job
    return [json.loads(data[data.index(b'{"call"') :]) for data in messages]


async def test_a_call_goes_on_when_the_bus_has_lost_everything(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone, call = await in_a_call(server, session, new_phone, eventually)
    before = [event.kind for event in await session.log.read(call)]
    await session.redis.flushall()

    async def back() -> bool:
        return bool(await jobs(session, "tts"))

    await eventually(back)
    log = await session.log.read(call)
    assert [event.kind for event in log][: len(before)] == before
    conversation = Conversation.of(log)
    assert [failure.error_type for failure in conversation.failures] == ["bus_data_lost"]
    [gap] = conversation.gaps
    first, *_ = await session.redis.xrange(topics.audio_in(call), count=1)
    assert (gap.position, gap.samples) == (0, frame_end(first[0]) - 160)
    # The pools are asked for what was not finished, and for no more: the greeting is overtaken.
    assert await queued(session, "asr") == [{"call": call}]
    assert await queued(session, "llm") == []
    [speak] = await queued(session, "tts")
    assert (speak["reply"], speak["index"], speak["text"]) == (REPLY, 0, "Good day.")
    chunk = OutChunk(REPLY, 0, 0, Codec.PCMU, bytes([0x42]) * 1600, last=True)
    await session.redis.xadd(topics.audio_out(call), {OUT_FIELD: encode_chunk(chunk)})
    await phone.hear(0x42)
    await phone.hang_up()
    await ending(session, eventually)


async def test_a_second_loss_is_told_from_the_first(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone, call = await in_a_call(server, session, new_phone, eventually)

    async def gaps() -> list[tuple[int, int]]:
        found = Conversation.of(await session.log.read(call)).gaps
        return [(gap.position, gap.position + gap.samples) for gap in found]

    for losses in (1, 2):
        await session.redis.flushall()

        async def told(losses: int = losses) -> bool:
            return len(await gaps()) == losses

        await eventually(told)
    (_, first), (begin, end) = await gaps()
    assert 0 < first == begin < end
    await phone.hang_up()


async def test_a_call_that_ends_before_the_loss_is_noticed_is_recorded_whole(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone, call = await in_a_call(server, session, new_phone, eventually)
    await session.redis.flushall()
    await phone.hang_up()

    async def recorder_asked() -> bool:
        return await queued(session, "recorder") == [{"call": call}]

    await eventually(recorder_asked)
    conversation = Conversation.of(await session.log.read(call))
    assert conversation.started is not None
    assert conversation.turns[1].text == "hello"
    assert conversation.ended is not None
    assert server._engine._rescue._calls == {}


async def test_a_bus_with_older_data_is_not_asked_twice_to_hear_the_call(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone, call = await in_a_call(server, session, new_phone, eventually)
    entries = await session.log.entries(call)
    # What a snapshot from before the turn holds.
    await session.redis.xdel(topics.events(call), *(entry_id for entry_id, _ in entries[2:]))
    await session.redis.srem(topics.facts(call), turn(1).key)

    async def back() -> bool:
        return bool(await jobs(session, "tts"))

    await eventually(back)
    assert await queued(session, "asr") == [{"call": call}]
    assert Conversation.of(await session.log.read(call)).turns[1].text == "hello"
    await phone.hang_up()
