"""What fuzzing starts from: real messages of every kind, as they stand in the golden tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ingress_sip.rtp import rtcp, telephone_event
from ingress_sip.rtp.packet import RtpPacket, build

GOLDEN = Path(__file__).parents[1] / "golden"
FINDS = Path(__file__).parent / "finds"


@dataclass(frozen=True)
class Seeds:
    """Inputs that are worth mutating, by what reads them."""

    sip: tuple[bytes, ...]
    sdp: tuple[bytes, ...]
    rtp: tuple[bytes, ...]


def seeds() -> Seeds:
    sip = [*_torture(), *_transcripts()]
    bodies = {data.partition(b"\r\n\r\n")[2] for data in sip}
    sdp = [body for body in sorted(bodies) if body.startswith(b"v=0")]
    return Seeds(tuple(sip), (*sdp, *_SDP), _packets())


def _torture() -> list[bytes]:
    return [file.read_bytes() for file in sorted(GOLDEN.glob("rfc*/messages/*.dat"))]


def _transcripts() -> list[bytes]:
    """Both sides of every transcript: what a peer sent, and what we did, sent back to us."""
    found: dict[bytes, None] = {}
    for file in sorted((GOLDEN / "sip").glob("*.txt")):
        for block in file.read_text("utf-8").split("\n\n"):
            if block.startswith((">", "<")) and "SIP/2.0" in block:
                lines = [line[1:].removeprefix(" ") for line in block.strip("\n").split("\n")]
                lines[0] = re.sub(r"^\([^)]*\) (again: )?", "", lines[0])
                end = [] if "" in lines else [""]
                found["\r\n".join([*lines, *end, ""]).encode()] = None
    return list(found)


_SDP = (
    b"v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns= \r\nc=IN IP6 2001:db8::1\r\nb=AS:64\r\nt=0 0\r\n"
    b"a=group:BUNDLE audio\r\na=inactive\r\nm=audio 54400 RTP/SAVPF 0 8 9 96 101 13\r\n"
    b"a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;maxptime=40\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:30\r\na=maxptime:60\r\n"
    b"a=rtcp:54401 IN IP4 203.0.113.1\r\na=rtcp-mux\r\na=setup:actpass\r\n"
    b"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:"
    b"77:88:99:AA:BB:CC:DD:EE:FF\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 "
    b"inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:32\r\n"
    b"m=video 0 RTP/AVP 31\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    b"v=0\no=a b 1 2 IN IP4 h\ns=\nc=IN IP4 0.0.0.0\nt=0 0\nm=audio 4/2 RTP/AVP 8\na=sendonly\n",
)


def _packets() -> tuple[bytes, ...]:
    digit = telephone_event.build(telephone_event.TelephoneEvent(5, True, 10, 800))
    block = rtcp.ReportBlock(7, 12, -3, 70_000, 20, 99, 65_536)
    report = rtcp.Report(1, rtcp.SenderInfo(2**63, 160, 9, 1440), (block, block))
    return (
        build(RtpPacket(0, 1, 160, 7, bytes(160))),
        build(RtpPacket(101, 65_535, 2**32 - 1, 7, digit, True)),
        build(RtpPacket(8, 0, 0, 7, bytes(80), False, (1, 2, 3), (0xBEDE, bytes(8)))),
        b"\xa0\x00" + bytes(10) + b"x" * 20 + b"\x04" * 4,
        rtcp.build(report, "alice@192.0.2.7"),
        rtcp.build(rtcp.Report(1, None, ()), "", "bye"),
    )
