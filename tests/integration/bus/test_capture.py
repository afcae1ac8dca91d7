"""The callers' audio on a real server."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ResponseError

from bus import audio, topics
from bus.capture import Capture
from bus.session import BusSession
from bus.tail import Feed
from calls.ids import CallId
from media.frames import Codec

CALLS = [CallId(f"call-{number}") for number in range(3)]


def tick(seq: int) -> list[tuple[CallId, audio.InFrame]]:
    """A frame of each call."""
    return [
        (call, audio.InFrame(seq, 20 * seq, Codec.PCMU, bytes([number]) * 160))
        for number, call in enumerate(CALLS)
    ]


async def heard(session: BusSession, call: CallId) -> list[audio.InFrame]:
    entries = await session.redis.xrange(topics.audio_in(call))
    return [audio.decode_frame(entry, fields[audio.IN_FIELD]) for entry, fields in entries]


async def test_each_frame_comes_to_its_call_once(session: BusSession) -> None:
    capture = Capture(session.redis)
    await capture.write(tick(0))
    await capture.write(tick(0) + tick(1))  # as a write that is tried again
    for number, call in enumerate(CALLS):
        assert await heard(session, call) == [tick(0)[number][1], tick(1)[number][1]]


async def test_a_stream_that_takes_nothing_is_an_error_and_the_others_are_written(
    session: BusSession,
) -> None:
    await session.redis.set(topics.audio_in(CALLS[0]), "no stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await Capture(session.redis).write(tick(0))
    assert [len(await heard(session, call)) for call in CALLS[1:]] == [1, 1]


async def test_followers_of_many_calls_hear_each_of_them(session: BusSession) -> None:
    feeds = {call: Feed() for call in CALLS}
    for call, feed in feeds.items():
        session.tail.follow(topics.audio_in(call), "0-0", feed)
    capture = Capture(session.redis)
    async with asyncio.timeout(10):
        for seq in range(3):
            await capture.write(tick(seq))
            for feed in feeds.values():
                [[entry_id, _]] = await anext(aiter(feed))
                assert entry_id == audio.frame_id(seq).encode()
