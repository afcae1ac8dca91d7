"""Speech both ways through a server, as it is heard at the other end: codecs, lengths, streams."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, NamedTuple

from bus.session import BusSession
from calls import events as e
from calls.ids import CallId
from ingress_sip.media_setup import MediaConfig
from ingress_sip.server import SipServer
from media.correlate import coverage, find
from media.dtmf import dial
from media.encoding import Encoding
from media.frames import to_samples
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.phone import StartServer
from tests.integration.ingress_sip.talk import (
    NewSpeaker,
    agent_heard,
    agent_says,
    assert_contiguous,
    call_of,
    quiet,
    recording,
)

CALLER = recording("awb-on-tuesday-morning")
AGENT = recording("rms-what-are-your-opening-hours")


class Way(NamedTuple):
    """How a phone speaks."""

    encoding: Encoding
    payload_type: int
    ptime_ms: int

    @property
    def peak(self) -> float:
        """How alike what is decoded is to what was said, at least: Opus keeps no waveform."""
        return 0.85 if self.encoding is Encoding.OPUS else 0.98


WAYS = (
    Way(Encoding.PCMU, 0, 10),
    Way(Encoding.PCMU, 0, 20),
    Way(Encoding.PCMU, 0, 30),
    Way(Encoding.PCMA, 8, 40),
    Way(Encoding.PCMA, 8, 60),
    Way(Encoding.G722, 9, 20),
    Way(Encoding.G722, 9, 30),
    Way(Encoding.OPUS, 107, 20),
    Way(Encoding.OPUS, 107, 60),
)


async def speaks_both_ways(
    server: SipServer, session: BusSession, new_speaker: NewSpeaker, way: Way
) -> None:
    user = f"{way.encoding.value}-{way.ptime_ms}"
    phone = await new_speaker(
        server, way.encoding, payload_type=way.payload_type, ptime_ms=way.ptime_ms, user=user
    )
    call = await call_of(session, user)
    await agent_says(session, call, AGENT)
    await phone.says(quiet(200) + CALLER + quiet(1000))
    await phone.party.hang_up()
    heard, told = to_samples(await agent_heard(session, call)), to_samples(phone.heard)
    # On a busy machine packets come late, and the jitter buffer stretches a pause.
    assert coverage(to_samples(CALLER), heard, piece_ms=300) >= 0.75, user
    assert find(to_samples(AGENT), told).peak > way.peak, user
    assert_contiguous(phone)
    assert [packet.marker for packet in phone.came].count(True) == 1
    assert phone.came[0].marker


async def test_every_codec_and_packet_length_is_heard_both_ways(
    server: SipServer, session: BusSession, new_speaker: NewSpeaker
) -> None:
    """All of them at once: one server, a call each."""
    async with asyncio.TaskGroup() as calls:
        for way in WAYS:
            calls.create_task(speaks_both_ways(server, session, new_speaker, way), name=str(way))


async def kept_quality(session: BusSession, call: CallId) -> list[e.MediaQuality]:
    return [each for each in await session.log.read(call) if isinstance(each, e.MediaQuality)]


async def test_a_stream_that_pauses_restarts_and_changes_its_source_is_heard_whole(
    server: SipServer,
    session: BusSession,
    new_speaker: NewSpeaker,
    eventually: Eventually[Any],
) -> None:
    """Comfort noise in a pause (RFC 3389), numbers that begin anew, another SSRC from a gateway."""
    parts = [
        recording(name)
        for name in ("slt-friday-please", "rms-on-thursday", "awb-morning-please", "rms-yes-please")
    ]
    phone = await new_speaker(server)
    call = await call_of(session, "bob")
    await phone.says(quiet(200) + parts[0])
    await phone.is_silent(400)
    await phone.says(parts[1] + quiet(100))
    phone.ssrc, phone.sequence, phone.timestamp = (secrets.randbits(bits) for bits in (32, 16, 32))
    await phone.says(quiet(100) + parts[2] + quiet(100))
    phone.sequence += 20_000
    phone.timestamp += 90_000_000
    await phone.says(quiet(100) + parts[3] + quiet(300))
    await phone.party.hang_up()
    heard, at = to_samples(await agent_heard(session, call)), 0
    for part in parts:
        match = find(to_samples(part), heard[at:])
        assert match.peak > 0.8
        at += match.lag + len(part) // 2
    [quality] = await eventually(lambda: kept_quality(session, call))
    assert quality.lost == 0


async def test_keys_are_heard_by_their_tones(
    start_server: StartServer,
    session: BusSession,
    new_speaker: NewSpeaker,
    eventually: Eventually[Any],
) -> None:
    """From phones that send no events, in what they speak; each once, and with its length."""
    server = await start_server(media=MediaConfig(tone_detection=True))
    ways = {"PCMA": Way(Encoding.PCMA, 8, 20), "G722": Way(Encoding.G722, 9, 20)}
    keys = "14##09*D"

    async def presses(user: str, way: Way) -> None:
        phone = await new_speaker(
            server, way.encoding, payload_type=way.payload_type, events=False, user=user
        )
        call = await call_of(session, user)
        await phone.says(quiet(200) + CALLER + quiet(200) + dial(keys) + quiet(200))

        async def pressed() -> list[e.DigitPressed]:
            log = await session.log.read(call)
            found = [each for each in log if isinstance(each, e.DigitPressed)]
            return found if len(found) >= len(keys) else []

        found = await eventually(pressed)
        assert "".join(each.digit for each in found) == keys, user
        assert all(60 <= each.duration_ms <= 140 for each in found)
        await phone.party.hang_up()

    async with asyncio.TaskGroup() as calls:
        for user, way in ways.items():
            calls.create_task(presses(user, way))
