"""What flows in a call: a phone that speaks any codec, and whose ports tell when packets came."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, decode_frame, encode_chunk
from bus.session import BusSession
from calls import events as e
from calls.ids import CallId, ReplyId
from ingress_sip.rtp.packet import RtpPacket, build, parse
from ingress_sip.rtp.receiver import COMFORT_NOISE
from ingress_sip.server import SipServer
from media.encoding import Encoding
from media.frames import FRAME_BYTES, FRAME_SAMPLES, SAMPLE_BYTES, SAMPLE_RATE, SILENCE, Codec
from media.g711 import pcm_to_ulaw, ulaw_to_pcm
from media.wav import read_mono
from tests.integration.ingress_sip.party import Datagrams, Party
from tests.integration.ingress_sip.phone import Port, open_port

_CALLERS: Final = Path(__file__).parents[3] / "trunkline" / "callers"
_SO_TIMESTAMPNS: Final = 35  # Linux; the module socket does not name it
_GREETING: Final = ReplyId("0.0")


def recording(name: str) -> bytes:
    """PCM of a caller's recording, in whole frames."""
    with (_CALLERS / f"{name}.wav").open("rb") as file:
        pcm = read_mono(file)
    return pcm[: len(pcm) // FRAME_BYTES * FRAME_BYTES]


class Arrival(NamedTuple):
    """A datagram, and the kernel's time of it, Unix s."""

    at: float
    datagram: bytes


class Tap(Port):
    """Ports of RTP and of RTCP that keep what came, and when."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__()
        self.packets: list[Arrival] = []
        self.reports: list[Arrival] = []
        self._rtp, self._rtcp = _pair(host)
        self.transport = self
        loop = asyncio.get_running_loop()
        loop.add_reader(self._rtp, _take, self._rtp, self.packets)
        loop.add_reader(self._rtcp, _take, self._rtcp, self.reports)

    @property
    def number(self) -> int:
        port: int = self._rtp.getsockname()[1]
        return port

    def sendto(self, datagram: bytes, to: tuple[str, int]) -> None:
        self._rtp.sendto(datagram, to)

    def report(self, compound: bytes, to: tuple[str, int]) -> None:
        self._rtcp.sendto(compound, to)

    def close(self) -> None:
        for each in (self._rtp, self._rtcp):
            asyncio.get_running_loop().remove_reader(each)
            each.close()


def _pair(host: str) -> tuple[socket.socket, socket.socket]:
    while True:
        rtp, rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        rtp.bind((host, 0))
        port = rtp.getsockname()[1]
        try:
            if port % 2 == 0:
                rtcp.bind((host, port + 1))
                break
        except OSError:
            pass
        rtp.close()
        rtcp.close()
    for each in (rtp, rtcp):
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return rtp, rtcp


def _take(port: socket.socket, kept: list[Arrival]) -> None:
    datagram, ancillary, _, _ = port.recvmsg(2048, 64)
    seconds, nanoseconds = (
        int.from_bytes(ancillary[0][2][at : at + 8], sys.byteorder) for at in (0, 8)
    )
    kept.append(Arrival(seconds + nanoseconds / 1e9, datagram))


class Speaker:
    """A phone in a call: it speaks in a codec, in packets of a length, and keeps what comes."""

    def __init__(
        self, party: Party, tap: Tap, encoding: Encoding, payload_type: int, ptime_ms: int
    ) -> None:
        self.party = party
        self.tap = tap
        self.encoding = encoding
        self.payload_type = payload_type
        self.ptime_ms = ptime_ms
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(16)
        self.timestamp = secrets.randbits(32)
        self._encoder = encoding.encoder(ptime_ms)
        self._marker = True
        self._due: float | None = None

    async def says(self, pcm: bytes) -> None:
        """Speak, at the speed of speech."""
        size = SAMPLE_RATE * self.ptime_ms // 1000 * SAMPLE_BYTES
        for at in range(0, len(pcm), size):
            payload = self._encoder.encode(pcm[at : at + size].ljust(size, b"\0"))
            self._send(self.payload_type, payload)
            await self._passes(self.ptime_ms)

    async def is_silent(self, ms: int) -> None:
        """Send nothing but a sign of silence (RFC 3389)."""
        self._send(COMFORT_NOISE, b"\x40")
        self._marker = True
        await self._passes(ms)

    def loses(self, packets: int) -> None:
        """So many packets never arrive."""
        self.sequence += packets
        self.timestamp += packets * self.ptime_ms * self.encoding.clock_rate // 1000

    def _send(self, payload_type: int, payload: bytes) -> None:
        place = (self.sequence % 2**16, self.timestamp % 2**32, self.ssrc)
        packet = RtpPacket(payload_type, *place, payload, self._marker)
        self.tap.sendto(build(packet), self.party.remote_rtp)
        self.sequence += 1
        self._marker = False

    async def _passes(self, ms: int) -> None:
        self.timestamp += ms * self.encoding.clock_rate // 1000
        now = asyncio.get_running_loop().time()
        self._due = (now if self._due is None else self._due) + ms / 1000
        await asyncio.sleep(self._due - now)

    @property
    def came(self) -> list[RtpPacket]:
        return [parse(datagram) for _, datagram in self.tap.packets]

    @property
    def heard(self) -> bytes:
        """PCM of all that came."""
        decoder = self.encoding.decoder()
        return b"".join(decoder.decode(packet.payload) for packet in self.came)


async def speaker(
    server: SipServer,
    encoding: Encoding = Encoding.PCMU,
    *,
    payload_type: int = 0,
    ptime_ms: int = 20,
    events: bool = True,
    user: str = "bob",
) -> Speaker:
    """A phone that has called the silent agent, in a codec of its choice."""
    tap = Tap()
    caller = Party(Datagrams(await open_port()), tap, user=user)
    caller.meets(server)
    rate = "48000/2" if encoding is Encoding.OPUS else "8000"
    lines = (f"rtpmap:{payload_type} {encoding.value}/{rate}", f"ptime:{ptime_ms}")
    codecs = f"{payload_type} 101" if events else f"{payload_type}"
    answer = await caller.dial("sip:200@127.0.0.1", caller.sdp(codecs, lines=lines))
    assert answer.status == 200
    return Speaker(caller, tap, encoding, payload_type, ptime_ms)


NewSpeaker = Callable[..., Awaitable[Speaker]]


async def call_of(session: BusSession, user: str) -> CallId:
    """The call that a user began."""
    for call in await session.presence.live_calls():
        started = (await session.log.read(call))[0]
        assert isinstance(started, e.CallStarted)
        if started.caller == user:
            return call
    raise AssertionError(f"{user} has no call")


async def agent_says(session: BusSession, call: CallId, pcm: bytes) -> None:
    """Have the agent say this, all of it at once."""
    ulaw = pcm_to_ulaw(pcm)
    size = 10 * FRAME_SAMPLES
    for at in range(0, len(ulaw), size):
        last = at + size >= len(ulaw)
        chunk = OutChunk(_GREETING, 0, at, Codec.PCMU, ulaw[at : at + size], last)
        await session.redis.xadd(topics.audio_out(call), {OUT_FIELD: encode_chunk(chunk)})


async def agent_heard(session: BusSession, call: CallId) -> bytes:
    """PCM of all that the bus has of a caller."""
    entries: Any = await session.redis.xrange(topics.audio_in(call))
    frames = [decode_frame(entry_id, fields[b"f"]) for entry_id, fields in entries]
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    return b"".join(ulaw_to_pcm(frame.payload) for frame in frames)


def quiet(ms: int) -> bytes:
    """PCM of silence."""
    return SILENCE * (ms // 20)


def assert_contiguous(speaker: Speaker) -> None:
    """What came has one source, and neither numbers nor time that are missing."""
    came = speaker.came
    step = speaker.ptime_ms * speaker.encoding.clock_rate // 1000
    assert {packet.ssrc for packet in came} == {came[0].ssrc}
    assert {packet.payload_type for packet in came} == {speaker.payload_type}
    for before, after in pairwise(came):
        assert (after.sequence - before.sequence) % 2**16 == 1
        assert (after.timestamp - before.timestamp) % 2**32 == step
