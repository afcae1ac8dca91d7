"""The SIP server on loopback, against a phone made of raw datagrams."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, decode_frame, encode_chunk
from bus.session import BusSession
from calls import events as e
from calls.agent import Agent, Agents
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import CallId, ReplyId
from ingress_sip.rtp.packet import parse
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.server import SipConfig, SipServer
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from media.frames import Codec
from tests.integration.conftest import Eventually

AGENTS = Agents(
    agents=(
        Agent(name="desk", numbers=("100", "\N{REPLACEMENT CHARACTER}*"), greeting="Hello."),
        Agent(name="silent", numbers=("200",)),
    )
)
Message = Request | Response
StartServer = Callable[..., Awaitable[SipServer]]


class Port(asyncio.DatagramProtocol):
    """A UDP port that keeps what came."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.came.put_nowait(data)

    @property
    def number(self) -> int:
        port: int = self.transport.get_extra_info("sockname")[1]
        return port


async def open_port() -> Port:
    loop = asyncio.get_running_loop()
    _, port = await loop.create_datagram_endpoint(Port, local_addr=("127.0.0.1", 0))
    return port


class Phone:
    """A caller: writes its requests by hand and reads the answers with the parser."""

    def __init__(self, server: SipServer, sip: Port, rtp: Port) -> None:
        self.server = server.address
        self.sip = sip
        self.rtp = rtp
        self.call_id = f"call-{sip.number}"
        self.to_tag = ""
        self.remote_rtp = 0
        self._sender = RtpSender(payload_type=0, ssrc=1, sequence=1, timestamp=1)

    def sdp(
        self, codecs: str = "0 101", direction: str = "sendrecv", host: str = "127.0.0.1"
    ) -> bytes:
        family = "IP6" if ":" in host else "IP4"
        return (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n"
            f"m=audio {self.rtp.number} RTP/AVP {codecs}\r\na=rtpmap:101 telephone-event/8000\r\n"
            f"a={direction}\r\n"
        ).encode()

    def send(
        self,
        method: str,
        number: str = "100",
        *,
        body: bytes = b"",
        cseq: int = 1,
        branch: str = "",
        contact: str = "",
    ) -> None:
        tag = f";tag={self.to_tag}" if self.to_tag and method != "CANCEL" else ""
        port = self.sip.number
        via = f"127.0.0.1:{port};rport;branch=z9hG4bK{branch or f'{port}-{cseq}'}"
        head = (
            f"{method} sip:{number}@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {via}\r\n"
            f"From: <sip:alice@127.0.0.1>;tag=a\r\nTo: <sip:{number}@127.0.0.1>{tag}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:alice@{contact or f'127.0.0.1:{port}'}>\r\n"
        )
        if body:
            head += "Content-Type: application/sdp\r\n"
        self.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def raw(self, datagram: bytes) -> None:
        self.sip.transport.sendto(datagram, self.server)

    async def receive(self) -> Message:
        async with asyncio.timeout(15):
            while True:
                message = parse_datagram(await self.sip.came.get())
                if message is not None:
                    return message

    async def final(self, cseq: int = 1) -> Response:
        """The final answer to our request of that number."""
        while True:
            message = await self.receive()
            number = int(str(message.headers.get("CSeq")).split()[0])
            if isinstance(message, Response) and message.status >= 200 and number == cseq:
                self.to_tag = message.to.tag or ""
                if found := re.search(rb"m=audio (\d+)", message.body):
                    self.remote_rtp = int(found[1])
                return message

    async def requested(self, method: str) -> Request:
        while True:
            message = await self.receive()
            if isinstance(message, Request) and message.method == method:
                return message

    def answer(self, request: Request) -> None:
        fields = "".join(
            f"{name}: {request.headers.get(name)}\r\n"
            for name in ("Via", "From", "To", "Call-ID", "CSeq")
        )
        self.raw(f"SIP/2.0 200 OK\r\n{fields}Content-Length: 0\r\n\r\n".encode())

    def ack(self, cseq: int = 1, body: bytes = b"") -> None:
        self.send("ACK", body=body, cseq=cseq, branch=f"ack{self.sip.number}{cseq}")

    async def dial(self, number: str = "100", **offered: str) -> Response:
        self.send("INVITE", number, body=self.sdp(**offered))
        response = await self.final()
        if response.status == 200:
            self.ack()
        return response

    async def hang_up(self, cseq: int = 2) -> None:
        self.send("BYE", cseq=cseq)
        assert (await self.final(cseq)).status == 200

    def talk(self, mark: int) -> None:
        """20 ms of audio, all of one octet."""
        packet = self._sender.audio(bytes([mark]) * 160)
        self.rtp.transport.sendto(packet, ("127.0.0.1", self.remote_rtp))

    async def hear(self, mark: int) -> None:
        """Wait until audio of that octet comes."""
        async with asyncio.timeout(15):
            while set(parse(await self.rtp.came.get()).payload) != {mark}:
                pass


@pytest.fixture
async def start_server(session: BusSession) -> AsyncIterator[StartServer]:
    servers: list[SipServer] = []

    async def started(**options: Any) -> SipServer:
        config = SipConfig("127.0.0.1", 0, 42_000, 42_200, **{"drain_s": 0.0, **options})
        server = SipServer(config, AGENTS, session, lambda: time.time() * 1000)
        await server.start()
        servers.append(server)
        return server

    yield started
    for server in servers:
        await server.drain()
        await server.stop()


@pytest.fixture
async def server(start_server: StartServer) -> SipServer:
    return await start_server()


@pytest.fixture
async def new_phone() -> AsyncIterator[Callable[[SipServer], Awaitable[Phone]]]:
    phones: list[Phone] = []

    async def made(server: SipServer) -> Phone:
        phones.append(Phone(server, await open_port(), await open_port()))
        return phones[-1]

    yield made
    for phone in phones:
        phone.sip.transport.close()
        phone.rtp.transport.close()


NewPhone = Callable[[SipServer], Awaitable[Phone]]


async def live_call(session: BusSession) -> CallId:
    [call] = await session.presence.live_calls()
    return call


async def ending(session: BusSession, eventually: Eventually[Any]) -> Ending:
    """How the one call there was ended."""
    call = await live_call(session)

    async def over() -> Ending | None:
        ended = Conversation.of(await session.log.read(call)).ended
        return ended.why if ended else None

    found: Ending = await eventually(over)
    return found


async def jobs(session: BusSession, pool: topics.PoolName) -> int:
    return int(await session.redis.xlen(topics.jobs(pool)))


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

    async def slow(call: CallId, *events: e.Event) -> None:
        if isinstance(events[0], e.CallStarted):
            await cancelled.wait()
        await really(call, *events)

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
    assert server.calls == 0


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


async def test_garbage_on_every_port_changes_nothing(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    await phone.dial()
    for garbage in (b"", b"\x00" * 100, b"INVITE", b"\xff" * 1500, b"SIP/2.0 200 OK\r\n\r\n"):
        phone.raw(garbage)
        phone.rtp.transport.sendto(garbage, ("127.0.0.1", phone.remote_rtp))
    await phone.hang_up()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP


async def test_octets_that_are_no_text_stop_no_other_call(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    odd, plain = await new_phone(server), await new_phone(server)
    assert (await odd.dial("%FF%FE")).status == 200
    assert (await plain.dial()).status == 200
    await odd.hang_up()
    await plain.hang_up()

    async def both_over() -> bool:
        return await jobs(session, "recorder") == 2

    await eventually(both_over)


@pytest.mark.parametrize("host", ["::1", "phone.invalid", "0.0.0.0"])
async def test_an_address_that_cannot_be_sent_to_stops_no_other_call(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    host: str,
) -> None:
    odd, plain = await new_phone(server), await new_phone(server)
    assert (await odd.dial(host=host)).status == 200
    assert (await plain.dial()).status == 200
    await plain.hear(0xFF)  # silence, in mu-law: the ticker is alive
    odd.talk(0x21)
    if host != "0.0.0.0":  # which asks for no audio
        await odd.hear(0xFF)  # symmetric RTP has found it
    await odd.hang_up()
    await plain.hang_up()


async def test_a_contact_that_cannot_be_sent_to_loses_only_its_own_bye(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    odd, plain = await new_phone(server), await new_phone(server)
    odd.send("INVITE", body=odd.sdp(), contact="[::1]:5060")
    await odd.final()
    odd.ack()
    await plain.dial()
    draining = asyncio.create_task(server.drain())
    plain.answer(await plain.requested("BYE"))
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

    monkeypatch.setattr(server._engine._legs[call], "tick", mistaken)
    broken.answer(await broken.requested("BYE"))
    assert await ending(session, eventually) is Ending.FAILED
    phone = await new_phone(server)
    await phone.dial()
    await phone.hear(0xFF)
    await phone.hang_up()
