"""Two media streams on loopback: both ports of each, and what is given back."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ingress_sip.rtp.dtls import Certificate
from ingress_sip.rtp.parameters import EventFormat, MediaParameters
from ingress_sip.sockets.udp import NoPortError, RtpPorts, RtpSocket
from ingress_sip.stream import MediaStream
from media.encoding import Encoding


class Clock:
    """Both clocks of a stream; the test moves them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


CERTIFICATE = Certificate(datetime(2026, 1, 1, tzinfo=UTC))


async def stream(host: str, ports: RtpPorts, clock: Clock) -> tuple[MediaStream, RtpSocket]:
    made = MediaStream(
        "call",
        ours=host,
        signalling=host,
        clock_ms=clock,
        now_ms=clock,
        certificate=CERTIFICATE,
    )
    pair = await ports.open(made.rtp_received, towards=host)
    made.use(pair)
    return made, pair


def agreed(host: str, port: int) -> MediaParameters:
    return MediaParameters(
        remote=(host, port),
        remote_rtcp=(host, port + 1),
        encoding=Encoding.PCMU,
        payload_type=0,
        receives={0: Encoding.PCMU},
    )


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_audio_and_reports_flow_and_the_ports_come_back(host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("no IPv6 here")
    clock, ports = Clock(), RtpPorts(host, 42_600, 42_700)
    (alice, one), (bob, other) = [await stream(host, ports, clock) for _ in range(2)]
    alice.agree(agreed(host, other.port))
    bob.agree(agreed(host, one.port))
    heard = []
    for _ in range(400):
        for each in (alice, bob):
            frame = each.hear(0.0)
            assert frame is not None
            each.say(b"\x21" * 160)
            heard.append(frame.ulaw)
        clock.now += 20.0
        await asyncio.sleep(0)  # what was sent is read in the loop's next round
        await asyncio.sleep(0)
    assert heard.count(b"\x21" * 160) > 700
    for each in (alice, bob):
        quality = each.quality()
        assert quality is not None
        assert quality.peer is not None
        assert quality.peer.lost == quality.packets.lost == 0
        assert quality.round_trip_ms is not None
        each.close()
        each.close()
    await asyncio.sleep(0)  # uvloop closes them in its next round
    for port in (one.port, one.port + 1, other.port, other.port + 1):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, port))


async def test_keys_that_are_dialled_arrive() -> None:
    host, clock, ports = "127.0.0.1", Clock(), RtpPorts("127.0.0.1", 42_600, 42_700)
    (alice, one), (bob, other) = [await stream(host, ports, clock) for _ in range(2)]
    events = {"event_clocks": {101: 8000}, "event_format": EventFormat(101, 8000)}
    for each, port in ((alice, other.port), (bob, one.port)):
        each.agree(replace(agreed(host, port), **events))  # type: ignore[arg-type]  # by name
    alice.dial("4#")
    keys = []
    for _ in range(60):
        for each in (alice, bob):
            frame = each.hear(0.0)
            assert frame is not None
            keys += [digit for digit, _ in frame.digits]
            each.say(None)
        clock.now += 20.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert keys == ["4", "#"]
    assert not alice.dialling
    alice.close()
    bob.close()


async def test_a_pair_whose_second_port_is_taken_is_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 42_703))
        ports = RtpPorts("127.0.0.1", 42_702, 42_705)
        pair = await ports.open(lambda *_: None)
        assert pair.port == 42_704
        with pytest.raises(NoPortError):
            await ports.open(lambda *_: None)
        pair.close()
