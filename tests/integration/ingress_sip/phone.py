"""A phone made of raw datagrams, and what to ask of a bus that its call is on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from bus import topics
from bus.session import BusSession
from calls.agent import Agent, Agents
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import CallId
from ingress_sip.rtp.packet import parse
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.server import SipServer
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from tests.integration.conftest import Eventually

AGENTS = Agents(
    agents=(
        Agent(name="desk", numbers=("100", "\N{REPLACEMENT CHARACTER}*"), greeting="Hello."),
        Agent(name="silent", numbers=("200",)),
    )
)


Message = Request | Response


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
        self.server = (server.listening[0].host, server.listening[0].port)
        self.sip = sip
        self.rtp = rtp
        self.call_id = f"call-{sip.number}"
        self.caller = "alice"
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
            f"From: <sip:{self.caller}@127.0.0.1>;tag=a\r\nTo: <sip:{number}@127.0.0.1>{tag}\r\n"
            f"Call-ID: {self.call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
            f"Contact: <sip:alice@{contact or f'127.0.0.1:{port}'}>\r\n"
        )
        if body:
            head += "Content-Type: application/sdp\r\n"
        self.raw(
            f"{head}Content-Length: {len(body)}\r\n\r\n".encode("utf-8", "surrogateescape") + body
        )

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


StartServer = Callable[..., Awaitable[SipServer]]


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
