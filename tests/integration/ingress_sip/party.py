"""One party of one call, over any transport: it calls or is called, and asks within the call.

What `phone.Phone` is for a caller over UDP. Its messages are written by hand; what comes is read
with the parser, as nothing else would read it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ingress_sip.rtp.dtls import is_dtls
from ingress_sip.rtp.packet import is_rtcp, parse
from ingress_sip.rtp.protection import Protection
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.server import SipServer
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Transport
from ingress_sip.signalling.stream import StreamReader
from tests.integration.ingress_sip.phone import Message, Port

_PATIENCE_S: Final = 10.0
Fields = tuple[tuple[str, str], ...]


class Wire(Protocol):
    """What carries messages to the server and back."""

    came: asyncio.Queue[bytes]

    @property
    def number(self) -> int:
        """Our port."""
        ...

    def send(self, message: bytes) -> None: ...

    def close(self) -> None: ...


class Datagrams:
    """UDP."""

    def __init__(self, port: Port) -> None:
        self.came = port.came
        self.server = ("", 0)
        self.port = port

    @property
    def number(self) -> int:
        return self.port.number

    def send(self, message: bytes) -> None:
        self.port.transport.sendto(message, self.server)

    def close(self) -> None:
        self.port.transport.close()


class Connection:
    """TCP or TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self._reader, self._writer = reader, writer
        self._cut = StreamReader()
        self._reading = asyncio.create_task(self._read())

    @property
    def number(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    def send(self, message: bytes) -> None:
        self._writer.write(message)

    def close(self) -> None:
        self._reading.cancel()
        self._writer.transport.abort()

    async def _read(self) -> None:
        while data := await self._reader.read(65_536):
            for message in self._cut.feed(data):
                if isinstance(message, bytes):
                    self.came.put_nowait(message)


class Party:
    """A phone, or what lies behind a trunk."""

    def __init__(
        self,
        wire: Wire,
        rtp: Port,
        *,
        transport: Transport = Transport.UDP,
        host: str = "127.0.0.1",
        user: str = "bob",
    ) -> None:
        self.wire, self.rtp = wire, rtp
        self.user = user
        self.transport = transport
        self._host = f"[{host}]" if ":" in host else host
        self._ip = host
        #: Who is who in the dialog, as header values; the remote party's has its tag.
        self.local = ""
        self.remote = ""
        self.call_id = ""
        self.target = ""
        self.cseq = 0
        #: Where the server's RTP is, by its description.
        self.remote_rtp = ("", 0)
        self.protection: Protection | None = None
        self._tag = secrets.token_hex(4)
        self._invited_by = ""
        self._sender = RtpSender(payload_type=0, ssrc=2, sequence=1, timestamp=1)

    @property
    def address(self) -> str:
        return f"{self._host}:{self.wire.number}"

    @property
    def contact(self) -> str:
        suffix = "" if self.transport is Transport.UDP else f";transport={self.transport}"
        return f"<sip:{self.user}@{self.address}{suffix}>"

    def meets(self, server: SipServer) -> None:
        """Speak to this server from now on, by UDP."""
        assert isinstance(self.wire, Datagrams)
        self.wire.server = at(server, self.transport, self._ip)

    def second_line(self, server: SipServer) -> Party:
        """The same phone in another call. What comes is read by whichever of the two asks."""
        assert isinstance(self.wire, Datagrams)
        line = Party(Datagrams(self.wire.port), self.rtp, host=self._ip, user=self.user)
        line.meets(server)
        return line

    # What is said

    def sdp(
        self,
        codecs: str = "0 101",
        direction: str = "sendrecv",
        *,
        profile: str = "RTP/AVP",
        lines: tuple[str, ...] = (),
        port: int | None = None,
    ) -> bytes:
        family = "IP6" if ":" in self._ip else "IP4"
        extra = "".join(f"a={line}\r\n" for line in lines)
        return (
            f"v=0\r\no=- 7 7 IN {family} {self._ip}\r\ns=-\r\nc=IN {family} {self._ip}\r\nt=0 0\r\n"
            f"m=audio {port or self.rtp.number} {profile} {codecs}\r\n"
            f"a=rtpmap:101 telephone-event/8000\r\n{extra}a={direction}\r\n"
        ).encode()

    def call(self, uri: str, body: bytes = b"", fields: Fields = ()) -> int:
        """Send an INVITE that begins a call; returns its CSeq."""
        if not self.call_id:
            self.call_id = secrets.token_hex(8)
            self.local = f"<sip:{self.user}@{self.address}>;tag={secrets.token_hex(4)}"
        self.remote, self.target = f"<{uri}>", uri
        return self.ask("INVITE", body, fields)

    def ask(
        self,
        method: str,
        body: bytes = b"",
        fields: Fields = (),
        *,
        kind: str = "application/sdp",
        cseq: int | None = None,
    ) -> int:
        """Ask something, in the call where there is one; returns its CSeq."""
        if cseq is None:
            self.cseq += 1
        number = self.cseq if cseq is None else cseq
        branch = f"z9hG4bK{secrets.token_hex(6)}"
        if method == "CANCEL":
            branch = self._invited_by
        elif method == "INVITE":
            self._invited_by = branch
        head = [
            ("Via", f"SIP/2.0/{self.transport.upper()} {self.address};rport;branch={branch}"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
            ("Max-Forwards", "70"),
            ("Contact", self.contact),
            *fields,
        ]
        self._send(f"{method} {self.target} SIP/2.0", head, body, kind)
        return number

    def ack(self, cseq: int | None = None, body: bytes = b"") -> None:
        self.ask("ACK", body, cseq=self.cseq if cseq is None else cseq)

    def reply(self, request: Request, status: int, body: bytes = b"", fields: Fields = ()) -> None:
        """Answer a request; a call's first answer with a tag makes the dialog."""
        to, from_ = request.headers.get("To") or "", request.headers.get("From") or ""
        if request.to.tag is None and status != 100:
            to += f";tag={self._tag}"
        if request.method == "INVITE" and status < 300:
            self.local, self.remote, self.call_id = to, from_, request.call_id
            self.target = _between(request.headers.get("Contact") or "")
        head = [
            *(("Via", value) for value in request.headers.get_all("Via")),
            *(("Record-Route", value) for value in request.headers.get_all("Record-Route")),
            ("From", from_),
            ("To", to),
            ("Call-ID", request.call_id),
            ("CSeq", request.headers.get("CSeq") or ""),
            ("Contact", self.contact),
            *fields,
        ]
        self._send(f"SIP/2.0 {status} Whatever", head, body, "application/sdp")

    def _send(self, first: str, head: list[tuple[str, str]], body: bytes, kind: str) -> None:
        if body:
            head.append(("Content-Type", kind))
        head.append(("Content-Length", str(len(body))))
        lines = "".join(f"{name}: {value}\r\n" for name, value in head)
        self.wire.send(f"{first}\r\n{lines}\r\n".encode() + body)

    # What comes

    async def receive(self) -> Message:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                message = parse_datagram(await self.wire.came.get())
                if message is not None:
                    return message

    async def requested(self, method: str) -> Request:
        """The next request of a method; what else comes is passed over."""
        while True:
            message = await self.receive()
            if isinstance(message, Request) and message.method == method:
                self._learn(message.body)
                return message

    async def invited(self) -> Request:
        self._tag = secrets.token_hex(4)
        return await self.requested("INVITE")

    async def responded(self, cseq: int, least: int = 200) -> Response:
        """The answer to our request of that number, with that status or a higher one."""
        while True:
            message = await self.receive()
            if not isinstance(message, Response) or message.cseq.number != cseq:
                continue
            if message.status >= least:
                if message.cseq.method == "INVITE" and 200 <= message.status < 300:
                    self.remote = message.headers.get("To") or ""
                    self.target = _between(message.headers.get("Contact") or "")
                self._learn(message.body)
                return message

    def _learn(self, body: bytes) -> None:
        host = re.search(rb"c=IN IP[46] (\S+)", body)
        port = re.search(rb"m=audio (\d+)", body)
        if host and port:
            self.remote_rtp = (host[1].decode(), int(port[1]))

    # Whole steps

    async def dial(self, uri: str, body: bytes | None = None, fields: Fields = ()) -> Response:
        """Call, and acknowledge the answer."""
        cseq = self.call(uri, self.sdp() if body is None else body, fields)
        response = await self.responded(cseq)
        if response.status < 300:
            self.ack(cseq)
        return response

    async def answer_call(self, body: bytes | None = None, fields: Fields = ()) -> Request:
        """Be called, and take the call."""
        invite = await self.invited()
        self.reply(invite, 180)
        self.reply(invite, 200, self.sdp() if body is None else body, fields)
        await self.requested("ACK")
        return invite

    async def hang_up(self) -> None:
        assert (await self.responded(self.ask("BYE"))).status == 200

    async def hung_up_on(self) -> None:
        """Wait until the server hangs up."""
        self.reply(await self.requested("BYE"), 200)

    async def notified(self) -> str:
        """The status line that the next NOTIFY tells."""
        notify = await self.requested("NOTIFY")
        self.reply(notify, 200)
        return notify.body.decode().strip()

    # Media

    def talk(self, mark: int) -> None:
        """20 ms of audio, all of one octet."""
        packet = self._sender.audio(bytes([mark]) * 160)
        if self.protection is not None:
            packet = self.protection.protect(packet)
        self.rtp.transport.sendto(packet, self.remote_rtp)

    def press(self, key: int) -> None:
        """A key, as telephone-event: 100 ms and its end."""
        for datagrams in self._sender.digit(str(key), event_type=101, duration_ms=100):
            for datagram in datagrams:
                self.rtp.transport.sendto(datagram, self.remote_rtp)

    async def hear(self, mark: int) -> None:
        """Wait until audio of that octet comes."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                packet = await self.rtp.came.get()
                if is_dtls(packet) or is_rtcp(packet):
                    continue
                if self.protection is not None:
                    packet = self.protection.unprotect(packet)
                if set(parse(packet).payload) == {mark}:
                    return

    async def hears_nothing(self, for_s: float = 0.15) -> None:
        """Nothing comes any more, once what was under way is here."""
        await asyncio.sleep(0.05)
        while not self.rtp.came.empty():
            self.rtp.came.get_nowait()
        await asyncio.sleep(for_s)
        assert self.rtp.came.empty()

    def close(self) -> None:
        self.wire.close()
        self.rtp.transport.close()


async def party(
    server: SipServer | None = None,
    *,
    transport: Transport = Transport.UDP,
    host: str = "127.0.0.1",
    user: str = "bob",
    trust: ssl.SSLContext | None = None,
) -> Party:
    """A party that speaks to a server; by UDP it may meet it later."""
    loop = asyncio.get_running_loop()
    _, rtp = await loop.create_datagram_endpoint(Port, local_addr=(host, 0))
    if transport is Transport.UDP:
        _, port = await loop.create_datagram_endpoint(Port, local_addr=(host, 0))
        made = Party(Datagrams(port), rtp, host=host, user=user)
        if server is not None:
            made.meets(server)
        return made
    assert server is not None
    connected = await asyncio.open_connection(*at(server, transport, host), ssl=trust)
    return Party(Connection(*connected), rtp, transport=transport, host=host, user=user)


def at(
    server: SipServer, transport: Transport = Transport.UDP, host: str = "127.0.0.1"
) -> tuple[str, int]:
    """Where a server listens."""
    [found] = [
        (each.host, each.port)
        for each in server.listening
        if each.transport is transport and each.host == host
    ]
    return found


def _between(contact: str) -> str:
    return contact.partition("<")[2].partition(">")[0]


NewParty = Callable[..., Awaitable[Party]]
