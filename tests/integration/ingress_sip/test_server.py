"""The SIP server on loopback, against a phone made of raw datagrams."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, decode_frame, encode_chunk
from bus.session import BusSession
from calls import events as e
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import CallId, ReplyId
from ingress_sip.server import SipServer
from ingress_sip.signalling.message import Response
from media.frames import Codec
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.phone import (
    NewPhone,
    StartServer,
    ending,
    jobs,
    live_call,
)


async def test_a_call_from_invite_to_bye(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    assert (await phone.dial()).status == 200
    call = await live_call(session)

    async def heard() -> bool:
        phone.talk(0x21)
        entries = await session.redis.xrange(topics.audio_in(call))
        frames = [decode_frame(entry_id, fields[b"f"]) for entry_id, fields in entries]
        assert [frame.seq for frame in frames] == list(range(len(frames)))
        return any(set(frame.payload) == {0x21} for frame in frames)

    await eventually(heard)
    chunk = OutChunk(ReplyId("0.0"), 0, 0, Codec.PCMU, bytes([0x42]) * 1600, last=True)
    await session.redis.xadd(topics.audio_out(call), {OUT_FIELD: encode_chunk(chunk)})
    await phone.hear(0x42)
    await phone.hang_up()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP

    async def recorder_asked() -> bool:
        return await jobs(session, "recorder") == 1

    await eventually(recorder_asked)
    log = await session.log.read(call)
    assert log[0].kind == "call.started"
    assert log[-1].kind == "call.ended"
    assert {"call.answered", "playback.started", "playback.stopped", "media.quality"} <= {
        event.kind for event in log
    }
    assert (await jobs(session, "asr"), await jobs(session, "llm")) == (1, 1)
    assert server.calls == 0


async def test_all_live_calls_keep_giving_signs_of_life(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    for _ in range(3):
        assert (await (await new_phone(server)).dial()).status == 200
    begun = await session.presence.live_calls()
    assert len(begun) == 3

    async def all_seen_again() -> bool:
        seen = await session.presence.live_calls()
        return all(seen[call] > at for call, at in begun.items())

    await eventually(all_seen_again)


@pytest.mark.parametrize(
    ("number", "codecs", "status"), [("300", "0", 404), ("100", "18", 488), ("100", "bad", 488)]
)
async def test_a_call_that_cannot_be_taken_is_refused(
    server: SipServer, new_phone: NewPhone, number: str, codecs: str, status: int
) -> None:
    phone = await new_phone(server)
    assert (await phone.dial(number, codecs=codecs)).status == status
    assert server.calls == 0


async def test_no_more_calls_than_there_are_lines(
    start_server: StartServer, new_phone: NewPhone
) -> None:
    server = await start_server(max_calls=2)
    phones = [await new_phone(server) for _ in range(3)]
    answers = await asyncio.gather(*(phone.dial() for phone in phones))
    assert sorted(answer.status for answer in answers) == [200, 200, 503]
    [refusal] = [answer for answer in answers if answer.status == 503]
    assert refusal.headers.get("Retry-After") == "10"


async def test_a_call_given_up_while_it_rings(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancelled = asyncio.Event()
    really = session.log.append

    async def slow(call: CallId, *events: e.Event, **seen: bytes) -> None:
        if isinstance(events[0], e.CallStarted):
            await cancelled.wait()
        await really(call, *events, **seen)

    monkeypatch.setattr(session.log, "append", slow)
    phone = await new_phone(server)
    phone.send("INVITE", body=phone.sdp())
    while (await phone.receive()).status != 180:  # type: ignore[union-attr]
        pass
    phone.send("CANCEL")
    answers = [await phone.receive(), await phone.receive()]
    assert {answer.status for answer in answers if isinstance(answer, Response)} == {200, 487}
    cancelled.set()
    await eventually(session.presence.live_calls)
    assert await ending(session, eventually) is Ending.CANCELLED
    log = await session.log.read(await live_call(session))
    assert [event.kind for event in log] == ["call.started", "media.quality", "call.ended"]
    assert server.calls == 0
    assert server._engine.calls == []


async def test_a_call_that_ends_while_it_is_connected_leaves_nothing_behind(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> None:
        asked.set()
        await go.wait()

    monkeypatch.setattr(session.topics.hear, "publish", slow)
    phone = await new_phone(server)
    await phone.dial()
    await asked.wait()
    await phone.hang_up()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP
    go.set()
    call = await live_call(session)
    await eventually(lambda: server._engine.calls == [])
    fold = await session.folds.get(call)
    await eventually(lambda: fold.followers == 0)


async def test_a_drain_lets_live_calls_go_on_and_waits_for_the_last(
    start_server: StartServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
) -> None:
    server = await start_server(drain_s=10.0)
    phone, late = await new_phone(server), await new_phone(server)
    await phone.dial()
    draining = asyncio.create_task(server.drain())
    await asyncio.sleep(0)
    assert (await late.dial()).status == 503
    await phone.hear(0xFF)
    assert not draining.done()
    await phone.hang_up()
    await draining
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP


async def test_a_drain_waits_for_a_call_that_is_just_being_let_in(
    start_server: StartServer, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(drain_s=10.0)
    phone = await new_phone(server)
    coming, go = asyncio.Event(), asyncio.Event()
    really = server._setup._ports.open

    async def slow(receive: Any, towards: str) -> Any:
        coming.set()
        await go.wait()
        return await really(receive, towards=towards)

    monkeypatch.setattr(server._setup._ports, "open", slow)
    phone.send("INVITE", body=phone.sdp())
    await coming.wait()
    draining = asyncio.create_task(server.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    go.set()
    assert (await phone.final()).status == 200
    phone.ack()
    await phone.hang_up()
    await draining


async def test_a_drain_refuses_new_calls_and_ends_the_old(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone, late = await new_phone(server), await new_phone(server)
    await phone.dial()
    draining = asyncio.create_task(server.drain())
    phone.answer(await phone.requested("BYE"))
    assert (await late.dial()).status == 503
    await draining
    assert await ending(session, eventually) is Ending.SHUTDOWN


async def test_a_late_offer_is_answered_in_the_ack(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    phone.send("INVITE", "200")
    response = await phone.final()
    assert b"m=audio" in response.body
    phone.ack(body=phone.sdp("0"))
    await phone.hear(0xFF)
    await phone.hang_up()


async def test_a_late_offer_without_an_answer_ends_the_call(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    phone.send("INVITE", "200")
    await phone.final()
    phone.ack()
    phone.answer(await phone.requested("BYE"))
    assert await ending(session, eventually) is Ending.FAILED


async def test_a_call_on_hold_gets_no_audio_and_comes_back(
    server: SipServer, new_phone: NewPhone
) -> None:
    phone = await new_phone(server)
    await phone.dial()
    await phone.hear(0xFF)
    phone.send("INVITE", body=phone.sdp(direction="inactive"), cseq=2)
    held = await phone.final(2)
    assert held.status == 200
    assert b"a=inactive" in held.body
    phone.ack(2)
    while not phone.rtp.came.empty():
        phone.rtp.came.get_nowait()
    await asyncio.sleep(0.1)  # five ticks
    assert phone.rtp.came.empty()
    phone.send("INVITE", body=phone.sdp(), cseq=3)
    assert b"a=sendrecv" in (await phone.final(3)).body
    phone.ack(3)
    await phone.hear(0xFF)
    await phone.hang_up(4)


async def test_a_call_that_comes_back_from_a_long_hold_is_given_time_to_speak(
    server: SipServer, new_phone: NewPhone
) -> None:
    phone = await new_phone(server)
    await phone.dial()
    [call] = server._live
    phone.send("INVITE", body=phone.sdp(direction="inactive"), cseq=2)
    await phone.final(2)
    phone.ack(2)
    held_ms = call.heard_ms
    await asyncio.sleep(0.02)
    phone.send("INVITE", body=phone.sdp(), cseq=3)
    await phone.final(3)
    phone.ack(3)
    assert call.heard_ms >= held_ms + 20
    await phone.hang_up(4)


async def test_without_a_bus_a_call_is_refused(
    server: SipServer, session: BusSession, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise RedisConnectionError("nobody there")

    monkeypatch.setattr(session.log, "append", away)
    phone = await new_phone(server)
    response = await phone.dial()
    assert response.status == 503
    assert response.headers.get("Retry-After") == "5"
    assert server.calls == 0
    assert server._engine.calls == []


async def test_our_own_mistake_leaves_no_phone_ringing(
    server: SipServer, session: BusSession, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(*_: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(session.presence, "beat", mistaken)
    phone = await new_phone(server)
    assert (await phone.dial()).status in (500, 503)
    assert server.calls == 0


async def test_the_agent_hangs_up_once_its_farewell_was_heard(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    await phone.dial()
    call = await live_call(session)

    async def asked() -> bool:
        return await jobs(session, "llm") == 1

    await eventually(asked)  # to greet; nobody writes to the log before
    reply = ReplyId("0.0")
    chunk = OutChunk(reply, 0, 0, Codec.PCMU, bytes([0x42]) * 800, last=True)
    await session.redis.xadd(topics.audio_out(call), {OUT_FIELD: encode_chunk(chunk)})
    await session.log.append(
        call,
        e.ReplyStarted(at=1, reply=reply),
        e.ActionRequested(at=1, reply=reply, action="hangup"),
        e.ReplyEnded(at=1, reply=reply, sentences=1, why="complete"),
    )
    phone.answer(await phone.requested("BYE"))
    assert await ending(session, eventually) is Ending.AGENT_HUNG_UP
    conversation = Conversation.of(await session.log.read(call))
    assert conversation.turns[0].replies[reply].sentences[0].finished


async def test_a_leg_that_fails_ends_its_own_call_only(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = await new_phone(server)
    await broken.dial()
    call = await live_call(session)

    def mistaken(now_ms: float) -> None:
        raise RuntimeError("a leg's mistake")

    monkeypatch.setattr(server._engine._legs[call], "listen", mistaken)
    broken.answer(await broken.requested("BYE"))
    assert await ending(session, eventually) is Ending.FAILED
    phone = await new_phone(server)
    await phone.dial()
    await phone.hear(0xFF)
    await phone.hang_up()


async def test_a_call_that_ends_while_its_log_is_begun_ends_after_that(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 3261 15: a caller may send BYE in an early dialog."""
    go = asyncio.Event()
    really = session.log.append

    async def slow(call: CallId, *events: e.Event, **seen: bytes) -> None:
        if isinstance(events[0], e.CallStarted):
            await go.wait()
        await really(call, *events, **seen)

    monkeypatch.setattr(session.log, "append", slow)
    phone = await new_phone(server)
    phone.send("INVITE", body=phone.sdp())
    ringing = await phone.receive()
    while not isinstance(ringing, Response) or ringing.status != 180:
        ringing = await phone.receive()
    phone.to_tag = ringing.to.tag or ""
    await phone.hang_up()
    assert server.calls == 0
    go.set()
    await eventually(session.presence.live_calls)
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP
    log = await session.log.read(await live_call(session))
    assert [event.kind for event in log] == ["call.started", "media.quality", "call.ended"]


async def test_a_drain_refuses_a_call_whose_log_is_begun(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()
    really = session.log.append

    async def slow(call: CallId, *events: e.Event, **seen: bytes) -> None:
        if isinstance(events[0], e.CallStarted):
            asked.set()
            await go.wait()
        await really(call, *events, **seen)

    monkeypatch.setattr(session.log, "append", slow)
    phone = await new_phone(server)
    phone.send("INVITE", body=phone.sdp())
    await asked.wait()
    await server.drain()
    assert (await phone.final()).status == 503
    go.set()
    await eventually(session.presence.live_calls)
    assert await ending(session, eventually) is Ending.SHUTDOWN
