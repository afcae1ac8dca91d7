"""What is fuzzed. A target takes one input and raises whatever a hostile peer must not cause.

Refusing an input is no find: the peer's errors are caught here. That what was read can be written
and reads back the same is checked on the way, and that the SIP core forgets what is over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random

from ingress_sip.rtp import rtcp, telephone_event
from ingress_sip.rtp.packet import RtpError, RtpPacket, build, is_rtcp
from ingress_sip.rtp.packet import parse as parse_rtp
from ingress_sip.sdp.offer_answer import LocalMedia, answer
from ingress_sip.sdp.session import SdpError, parse_sdp
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.digest import (
    Credentials,
    DigestClient,
    DigestServer,
    new_key,
    passwords,
)
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import CSeq, NameAddr, Via
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.stream import StreamReader
from ingress_sip.signalling.uri import parse_uri
from tests.fuzz.sequences import PEER, SDP, new_core, request, run_out, sequence, serve

Target = Callable[[bytes], None]

_LISTS = ("Via", "Contact", "Route", "Record-Route", "Accept", "Allow", "Supported", "Require")


def sip(data: bytes) -> None:
    """One datagram: parsed, every field looked at, written, parsed again."""
    try:
        message = parse_datagram(data)
    except SipError:
        return
    if message is None:
        return
    # What a transaction lives by is checked by the parser: these raise nothing any more.
    _ = message.via.branch, message.from_.tag, message.to.tag, message.cseq, message.call_id
    assert parse_datagram(message.encode()) == message
    for value in (message.via, message.from_, message.to, message.cseq):
        assert type(value).parse(str(value)) == value
    if isinstance(message, Request):
        assert parse_uri(str(message.uri)) == message.uri
    for name in _LISTS:
        with suppress(SipError):
            message.headers.get_list(name)
        with suppress(SipError):
            message.tokens(name)
    with suppress(SipError):
        _ = message.contact
    _ = message.content_type, message.from_.display_name, message.to.uri.user


def field(data: bytes) -> None:
    """One field's value, by every reader of fields."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (Via.parse, Via.salvage, NameAddr.parse, CSeq.parse, parse_uri):
        with suppress(SipError):
            value = parse(text)
            assert type(value) is not Via or str(value)


def core(data: bytes) -> None:
    """One datagram to a user agent that is in the middle of something."""
    agent = _STAGES[zlib.crc32(data) % len(_STAGES)]()
    agent.messages_to_send()
    agent.receive(data, PEER, 1.0)
    serve(agent, 1.0)
    if data.lstrip(b"\r\n").startswith(b"ACK "):
        # It may let a BYE go that waited for it, but is no request to be answered.
        for out in agent.messages_to_send():
            assert not out.data.startswith(b"SIP/2.0 ") or b" ACK\r\n" not in out.data
    run_out(agent, 1.0)


def conversation(data: bytes) -> None:
    """Whole conversations; the input is only their seed."""
    sequence(Random(zlib.crc32(data)))


def sdp(data: bytes) -> None:
    """One description: parsed, answered, written, parsed again."""
    try:
        session = parse_sdp(data)
    except SdpError:
        return
    # Once: blanks at the very end are not kept, and which line comes last may change.
    written = parse_sdp(session.encode())
    assert parse_sdp(written.encode()) == written
    for media in session.media:
        media.rtpmaps()
        session.address_of(media)
    with suppress(SdpError):
        reply = parse_sdp(answer(data, _LOCAL).body)
        assert len(reply.media) == len(session.media)


_LOCAL = LocalMedia("192.0.2.1", 40000, session_id=1, version=1)


def rtp(data: bytes) -> None:
    """One datagram at an RTP port, RTCP or not, and as an event's payload."""
    with suppress(RtpError):
        packet = parse_rtp(data)
        assert parse_rtp(build(packet)) == packet
    with suppress(RtpError):
        for found in rtcp.parse(data):
            if isinstance(found, rtcp.Report):
                for block in found.blocks:
                    rtcp.round_trip_ms(block, 1 << 63)
    is_rtcp(data)
    reader = telephone_event.DigitReader()
    for number, start in enumerate(range(0, min(len(data), 256), 4)):
        payload = data[start : start + 4 * (1 + number % 3)]
        timestamp = struct.unpack("!I", payload[:4].ljust(4, b"\0"))[0] if number % 2 else number
        with suppress(RtpError):
            reader.push(
                RtpPacket(101, number, timestamp, 7, payload, number % 5 == 0), 20.0 * number
            )
    reader.tick(1e6)
    assert not reader.pressed


def stream(data: bytes) -> None:
    """Messages out of a stream: however it is cut, the same come, and the same error at the end."""
    random = Random(zlib.crc32(data))
    whole = _framed([data])
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((1, 2, 5, 40))))
    pieces = [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]
    assert _framed(pieces) == whole
    for message in whole[0]:
        sip(message)


def _framed(pieces: list[bytes]) -> tuple[list[bytes], int | None]:
    """The messages and the status of the error that ended them."""
    reader, found = StreamReader(), list[bytes]()
    try:
        for piece in pieces:
            for each in reader.feed(piece):  # what came before an error counts
                if isinstance(each, bytes):
                    found.append(each)
    except SipError as error:
        return found, error.status
    return found, None


def digest(data: bytes) -> None:
    """A challenge to us, and somebody's credentials."""
    text = data.decode("utf-8", "surrogateescape").replace("\r", " ").replace("\n", " ")
    client = DigestClient(Credentials("alice", "secret"), lambda: "cnonce")
    for name in ("WWW-Authenticate", "Proxy-Authenticate"):
        with suppress(SipError):
            client.challenged(Headers([(name, text)]))
    for value in client.headers("REGISTER", "sip:a", b""):
        assert "\n" not in value[1]
    asked = replace(_REGISTER, headers=Headers([*_REGISTER.headers, ("Authorization", text)]))
    with suppress(SipError):
        _SERVER.verify(asked, PEER.host, 1.0)
        raise AssertionError("let in")


def _register() -> Request:
    message = parse_datagram(request("REGISTER"))
    assert isinstance(message, Request)
    return message


_REGISTER = _register()
_SERVER = DigestServer(
    "example.com",
    passwords("example.com", [("alice", "another")]),
    key=new_key(lambda: "key"),
    tokens=lambda: "token",
)


def credentials() -> list[bytes]:
    """Real challenges, and answers to them that are wrong by the password alone."""
    challenges = _SERVER.challenge(PEER.host, 0.0)
    client = DigestClient(Credentials("alice", "secret"), lambda: "cnonce")
    assert client.challenged(Headers(challenges))
    answers = client.headers("REGISTER", str(_REGISTER.uri), b"")
    return [value.encode() for _, value in (*challenges, *answers)]


def _stage(*steps: Callable[[SipCore], None]) -> Callable[[], SipCore]:
    def begin() -> SipCore:
        agent = new_core()
        for step in steps:
            step(agent)
        return agent

    return begin


def _hear(
    agent: SipCore, method: str, cseq: int = 1, to_tag: str = "", branch: str = "z9hG4bK-1"
) -> None:
    agent.receive(request(method, cseq, to_tag, branch), PEER, 0.0)


def _act(agent: SipCore, action: str) -> None:
    dialog = DialogId("call-1@192.0.2.7", "token1", "alice")
    match action:
        case "ring":
            agent.ring(dialog, 0.0)
        case "accept":
            agent.accept(dialog, SDP, 0.0)
        case "reject":
            agent.reject(dialog, 486, 0.0)
        case _:
            agent.hang_up(dialog, 0.0)


_INVITE = partial(_hear, method="INVITE")
_ACK = partial(_hear, method="ACK", to_tag="token1", branch="z9hG4bK-a")
_REINVITE = partial(_hear, method="INVITE", cseq=2, to_tag="token1", branch="z9hG4bK-2")
_RING, _ACCEPT = partial(_act, action="ring"), partial(_act, action="accept")
_REJECT, _HANG_UP = partial(_act, action="reject"), partial(_act, action="hang up")
_STAGES = (
    _stage(),
    _stage(_INVITE, _RING),
    _stage(_INVITE, _ACCEPT),
    _stage(_INVITE, _REJECT),
    _stage(_INVITE, _ACCEPT, _HANG_UP),
    _stage(_INVITE, _ACCEPT, _ACK),
    _stage(_INVITE, _ACCEPT, _ACK, _REINVITE),
    _stage(_INVITE, _ACCEPT, _ACK, _HANG_UP),
)


TARGETS: dict[str, Target] = {
    "sip": sip, "stream": stream, "field": field, "digest": digest, "core": core,
    "conversation": conversation, "sdp": sdp, "rtp": rtp,
}  # fmt: skip
