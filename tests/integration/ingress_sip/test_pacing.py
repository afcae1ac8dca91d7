"""What leaves a server, packet by packet, by the kernel's clock where it arrives; and reports."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pytest

from bus.session import BusSession
from calls import events as e
from ingress_sip.rtp import rtcp, rtcp_session
from ingress_sip.rtp.packet import parse
from ingress_sip.rtp.rtcp import Report, ReportBlock, SenderInfo
from ingress_sip.server import SipServer
from legs.ticker import LATE_MS
from media.frames import FRAME_MS, FRAME_SAMPLES, Codec
from media.g711 import pcm_to_ulaw
from media.seam import EDGE
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.talk import (
    NewSpeaker,
    Speaker,
    agent_says,
    assert_contiguous,
    call_of,
    quiet,
    recording,
)

SILENCE = Codec.PCMU.silence()
SPEECH = recording("rms-what-is-your-address")


def offsets_ms(speaker: Speaker) -> list[float]:
    """Of each packet, how far its arrival stands from its timestamp; the most punctual has 0."""
    first = speaker.came[0].timestamp
    moments = [
        arrival.at * 1000 - (parse(arrival.datagram).timestamp - first) % 2**32 / 8
        for arrival in speaker.tap.packets
    ]
    return [moment - min(moments) for moment in moments]


async def test_speech_and_silence_leave_as_one_even_stream(
    server: SipServer, session: BusSession, new_speaker: NewSpeaker
) -> None:
    phone = await new_speaker(server)
    call = await call_of(session, "bob")
    await phone.says(quiet(200))
    await agent_says(session, call, SPEECH)
    await phone.says(quiet(2000))
    await phone.party.hang_up()
    assert_contiguous(phone)
    payloads = [packet.payload for packet in phone.came]
    assert {len(payload) for payload in payloads} == {FRAME_SAMPLES}
    # RFC 3551 section 4.1: silence is sent, so all of it is one talkspurt.
    assert [packet.marker for packet in phone.came] == [True] + [False] * (len(payloads) - 1)
    begin = next(at for at, payload in enumerate(payloads) if payload != SILENCE)
    assert begin >= 5
    said = pcm_to_ulaw(SPEECH)
    assert b"".join(payloads[begin:]).startswith(said)
    assert set(payloads[begin + len(said) // FRAME_SAMPLES :]) == {SILENCE}
    found = offsets_ms(phone)
    third = len(found) // 3
    assert median(found) < FRAME_MS
    assert abs(median(found[-third:]) - median(found[:third])) < FRAME_MS / 2


async def test_what_a_stall_held_up_follows_at_once_and_what_is_too_late_never(
    server: SipServer, session: BusSession, new_speaker: NewSpeaker
) -> None:
    phone = await new_speaker(server)
    call = await call_of(session, "bob")
    await agent_says(session, call, SPEECH)
    await phone.says(quiet(400))
    before = len(phone.came)
    time.sleep(0.4)  # noqa: ASYNC251  (the stall)
    await phone.says(quiet(2000))
    await phone.party.hang_up()
    came = phone.came
    assert {(b.sequence - a.sequence) % 2**16 for a, b in pairwise(came)} == {1}
    steps = [(b.timestamp - a.timestamp) % 2**32 // FRAME_SAMPLES for a, b in pairwise(came)]
    [jump] = [at for at, step in enumerate(steps) if step != 1]
    # Half of the stall has been missed: nothing is sent for it, and the clock goes on.
    assert jump + 1 - before <= 1
    assert 8 <= steps[jump] <= 15
    assert [at for at, packet in enumerate(came) if packet.marker] == [0, jump + 1]
    found = offsets_ms(phone)
    assert max(found[jump + 1 :]) <= LATE_MS + 2 * FRAME_MS
    assert median(found[-15:]) < FRAME_MS
    # What could not leave leaves after it: no speech is lost. Where it goes on its edge is rounded.
    wanted = np.frombuffer(pcm_to_ulaw(SPEECH), np.uint8)
    begin = next(at for at, packet in enumerate(came) if packet.payload != SILENCE)
    payloads = b"".join(packet.payload for packet in came[begin:])
    said = np.frombuffer(payloads[: len(wanted)], np.uint8)
    assert np.count_nonzero(said != wanted) <= EDGE


async def test_reports_tell_what_was_sent_and_what_came(
    server: SipServer,
    session: BusSession,
    new_speaker: NewSpeaker,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtcp_session, "INTERVAL_MS", 400.0)
    phone = await new_speaker(server)
    call = await call_of(session, "bob")
    first = phone.sequence
    await phone.says(quiet(200))
    phone.loses(3)
    await phone.says(quiet(600))
    reports = [rtcp.parse(arrival.datagram) for arrival in phone.tap.reports]
    assert len(reports) >= 2
    report, description, *rest = reports[-1]
    assert isinstance(report, Report)
    assert isinstance(description, rtcp.SourceDescription)
    assert rest == []
    arrived = phone.tap.reports[-1].at
    sent, [block] = report.sender, report.blocks
    assert sent is not None
    assert report.ssrc == description.ssrc == phone.came[0].ssrc
    before = [
        packet for at, packet in zip(arrivals(phone), phone.came, strict=True) if at < arrived
    ]
    assert abs(sent.packets - len(before)) <= 1
    assert sent.octets == sent.packets * FRAME_SAMPLES
    assert abs(sent.ntp - rtcp.ntp_time(arrived)) < 2**32 // 10
    lead = (sent.timestamp - before[-1].timestamp + 2**31) % 2**32 - 2**31
    assert abs(lead) <= 2 * FRAME_SAMPLES
    assert (block.ssrc, block.lost) == (phone.ssrc, 3)
    assert first + 13 < block.highest_sequence < phone.sequence
    assert block.jitter < 8 * FRAME_MS

    mine = ReportBlock(
        ssrc=report.ssrc, fraction_lost=64, lost=5, highest_sequence=before[-1].sequence,
        jitter=40, last_report=rtcp.middle_ntp(sent.ntp),
        delay=round((time.time() - arrived) * 65536),
    )  # fmt: skip
    info = SenderInfo(rtcp.ntp_time(time.time()), phone.timestamp % 2**32, 40, 6400)
    host, port = phone.party.remote_rtp
    phone.tap.report(rtcp.build(Report(phone.ssrc, info, (mine,)), "phone"), (host, port + 1))
    await asyncio.sleep(0.05)
    await phone.party.hang_up()

    async def told() -> list[e.Event]:
        return [each for each in await session.log.read(call) if each.kind == "media.quality"]

    quality = (await eventually(told))[-1]
    assert isinstance(quality, e.MediaQuality)
    assert (quality.lost, quality.peer_lost, quality.peer_jitter_ms) == (3, 5, 5.0)
    assert quality.round_trip_ms is not None
    assert 0 <= quality.round_trip_ms < 200
    goodbye = rtcp.parse(phone.tap.reports[-1].datagram)[-1]
    assert isinstance(goodbye, rtcp.Goodbye)
    assert goodbye.ssrcs == (report.ssrc,)


def arrivals(speaker: Speaker) -> list[float]:
    return [arrival.at for arrival in speaker.tap.packets]
