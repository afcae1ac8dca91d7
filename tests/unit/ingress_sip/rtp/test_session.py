"""Both halves of a call's media, on a network and a clock of our own."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.rtp import rtcp
from ingress_sip.rtp.packet import RtpError, RtpPacket, build, parse
from ingress_sip.rtp.parameters import EventFormat, MediaParameters
from ingress_sip.rtp.receiver import HeardFrame
from ingress_sip.rtp.session import Identity, RtpSession
from ingress_sip.rtp.source import Address
from ingress_sip.rtp.telephone_event import Digit
from media.correlate import find
from media.dtmf import dial
from media.encoding import Encoding
from media.frames import to_pcm, to_samples
from media.g711 import pcm_to_ulaw
from media.listening.listener import Heard

ALICE, BOB, MALLORY = ("192.0.2.1", 4000), ("192.0.2.2", 5000), ("203.0.113.9", 6000)
EVENTS = 101
EPOCH_MS = 1.7e12


def agreed(encoding: Encoding = Encoding.PCMU, **changes: object) -> MediaParameters:
    parameters = MediaParameters(
        remote=BOB,
        remote_rtcp=(BOB[0], BOB[1] + 1),
        encoding=encoding,
        payload_type=96,
        receives={96: encoding},
        event_clocks={EVENTS: encoding.clock_rate},
        event_format=EventFormat(EVENTS, encoding.clock_rate),
    )
    return replace(parameters, **changes)  # type: ignore[arg-type]  # fields by name


def session(parameters: MediaParameters, ours: Address, seed: int = 1) -> RtpSession:
    return RtpSession(
        parameters,
        Identity(ssrc=seed, sequence=65530, timestamp=2**32 - 9, cname=f"c{seed}"),
        ours=ours[0],
        signalling=parameters.remote[0],
        now_ms=0.0,
        epoch_ms=EPOCH_MS,
        chance=random.Random(seed).random,
    )


class Line:
    """Two sessions and the network between them."""

    def __init__(self, parameters: MediaParameters, delay_ms: float = 0.0) -> None:
        self.alice = session(parameters, ALICE, 1)
        theirs = replace(parameters, remote=ALICE, remote_rtcp=(ALICE[0], ALICE[1] + 1))
        self.bob = session(theirs, BOB, 2)
        self.delay_ms = delay_ms
        self.now = 0.0
        self.heard: list[HeardFrame] = []
        self.sent: list[bytes] = []
        self._ways: list[tuple[float, RtpSession, bytes, Address, bool]] = []

    def step(self, frame: bytes | None = None, *, lost: bool = False) -> None:
        """A tick at both ends: Alice says this frame."""
        self._arrive()
        self.alice.tick(self.now)
        self.heard.append(self.bob.tick(self.now))
        self.alice.say(frame, self.now)
        self.bob.say(None, self.now)
        for one, other, port in ((self.alice, self.bob, ALICE), (self.bob, self.alice, BOB)):
            for datagram, to, is_rtcp in one.outgoing:
                assert to == ((BOB, ALICE)[port == BOB][0], to[1])
                source = (port[0], port[1] + is_rtcp)
                if one is self.alice and not is_rtcp:
                    self.sent.append(datagram)
                if not (lost and one is self.alice):
                    self._ways.append((self.now + self.delay_ms, other, datagram, source, is_rtcp))
            one.outgoing.clear()
        self.now += 20.0

    def talk(self, pcm: bytes, lost: float = 0.0) -> None:
        rng = random.Random(4)
        ulaw = pcm_to_ulaw(pcm)
        for at in range(0, len(ulaw) - 159, 160):
            self.step(ulaw[at : at + 160], lost=rng.random() < lost)

    def rest(self, ms: int) -> None:
        for _ in range(ms // 20):
            self.step()

    def _arrive(self) -> None:
        due = [way for way in self._ways if way[0] <= self.now]
        self._ways = [way for way in self._ways if way[0] > self.now]
        for at, to, datagram, source, is_rtcp in due:
            (to.rtcp_received if is_rtcp else to.rtp_received)(datagram, source, at)

    @property
    def digits(self) -> list[Digit]:
        return [digit for frame in self.heard for digit in frame.digits]


def chirp(seconds: float = 1.0) -> bytes:
    time = np.arange(int(seconds * 8000)) / 8000
    return to_pcm(8000 * np.sin(2 * np.pi * (300 + 600 * time) * time))


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("encoding", Encoding)
def test_what_one_says_the_other_hears(encoding: Encoding, ptime_ms: int) -> None:
    line = Line(agreed(encoding, ptime_ms=ptime_ms))
    line.talk(chirp())
    line.rest(400)
    sound = b"".join(frame.pcm for frame in line.heard)
    assert find(to_samples(chirp())[800:7200], to_samples(sound)).peak > 0.97
    packets = [parse(datagram) for datagram in line.sent]
    told = 20 if (encoding, ptime_ms) == (Encoding.OPUS, 30) else ptime_ms
    step = told * encoding.clock_rate // 1000
    for earlier, later in pairwise(packets):
        assert (later.sequence - earlier.sequence) & 0xFFFF == 1
        assert (later.timestamp - earlier.timestamp) & 0xFFFFFFFF == step
    assert [packet.marker for packet in packets].count(True) == 1
    assert packets[0].marker
    kinds = [frame.kind for frame in line.heard]
    assert Heard.CONCEALED not in kinds[kinds.index(Heard.RECEIVED) :]


def test_packets_of_30_ms_leave_at_two_ticks_of_three() -> None:
    alice = session(agreed(ptime_ms=30), ALICE)
    counts = []
    for tick in range(9):
        alice.say(None, tick * 20.0)
        counts.append(len(alice.outgoing))
        alice.outgoing.clear()
    assert counts == [0, 1, 1] * 3
    alice = session(agreed(ptime_ms=10), ALICE)
    alice.say(None, 0.0)
    assert len(alice.outgoing) == 2


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
def test_a_reply_that_starves_leaves_no_seam_in_the_numbers(ptime_ms: int) -> None:
    line = Line(agreed(ptime_ms=ptime_ms))
    ulaw = pcm_to_ulaw(chirp())
    for number in range(60):
        line.step(None if number % 7 == 3 else ulaw[number * 160 % 6400 :][:160])
    packets = [parse(datagram) for datagram in line.sent]
    assert len(packets) == 60 * 20 // ptime_ms
    for earlier, later in pairwise(packets):
        assert (later.sequence - earlier.sequence) & 0xFFFF == 1
        assert (later.timestamp - earlier.timestamp) & 0xFFFFFFFF == ptime_ms * 8
        assert not later.marker


def test_nothing_is_sent_while_on_hold_and_time_goes_on() -> None:
    line = Line(agreed(ptime_ms=40))
    line.talk(chirp(0.1))
    line.alice.renegotiate(agreed(ptime_ms=40, sending=False), line.now)
    sent = len(line.sent)
    line.rest(200)
    assert len(line.sent) == sent
    line.alice.renegotiate(agreed(ptime_ms=40), line.now)
    line.talk(chirp(0.1))
    first, last, resumed = (parse(line.sent[at]) for at in (0, sent - 1, sent))
    assert (resumed.sequence - last.sequence) & 0xFFFF == 1
    assert (resumed.timestamp - first.timestamp) & 0xFFFFFFFF == 300 * 8
    assert resumed.marker


@pytest.mark.parametrize("ticks", [10, 11])
def test_what_was_said_before_a_key_leaves_before_it(ticks: int) -> None:
    line = Line(agreed(ptime_ms=40))
    line.talk(chirp(ticks / 50))
    line.alice.dial("1")
    line.talk(chirp(0.4))
    packets = [parse(datagram) for datagram in line.sent]
    types = [packet.payload_type for packet in packets]
    after = types.index(96, types.index(EVENTS))
    assert packets[after].payload == b"\xff" * 320


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_keys_arrive_once_and_in_order(encoding: Encoding, lost: float) -> None:
    line = Line(agreed(encoding, ptime_ms=40))
    line.talk(chirp(0.2))
    line.alice.dial("19,#", tone_ms=120)
    assert line.alice.dialling
    line.talk(chirp(4.0), lost=lost)
    line.rest(400)
    assert not line.alice.dialling
    assert [digit for digit, _ in line.digits] == ["1", "9", "#"]
    if not lost:
        assert {duration for _, duration in line.digits} == {120}
    assert line.bob.garbage == 0
    packets = [parse(datagram) for datagram in line.sent]
    for earlier, later in pairwise(packets):
        if earlier.payload_type == 96 and later.payload_type == EVENTS:
            # Its time starts where audio's ended.
            step = 40 * encoding.clock_rate // 1000
            assert (later.timestamp - earlier.timestamp) & 0xFFFFFFFF == step


def test_to_a_peer_without_events_keys_are_tones() -> None:
    line = Line(agreed(event_format=None, event_clocks={}))
    line.talk(chirp(0.2))
    line.alice.dial("5#")
    line.rest(1000)
    sound = to_samples(b"".join(frame.pcm for frame in line.heard))
    assert find(to_samples(dial("5#"))[:3000], sound).peak > 0.99
    assert line.digits == []


@pytest.mark.parametrize("pause", "w,")
def test_a_pause_between_keys_is_half_a_second(pause: str) -> None:
    line = Line(agreed())
    line.rest(100)
    line.alice.dial(f"1{pause}2")
    line.rest(1200)
    begun = {
        packet.timestamp: None
        for packet in map(parse, line.sent)
        if packet.payload_type == EVENTS
    }  # fmt: skip
    first, second = begun
    # The key and the gap that follows each, 100 ms, and the pause: in samples of 8 kHz.
    assert (second - first) & 0xFFFFFFFF == (100 + 100 + 500) * 8


def test_hold_ends_a_key() -> None:
    line = Line(agreed())
    line.rest(100)
    line.alice.dial("12")
    line.rest(60)
    line.alice.lapse()
    line.rest(600)
    assert [digit for digit, _ in line.digits] == ["1", "2"]


@pytest.mark.parametrize(("digits", "tone_ms"), [("1x", 100), ("1" * 65, 100), ("1", 20)])
def test_what_is_no_key_is_refused(digits: str, tone_ms: int) -> None:
    alice = session(agreed(), ALICE)
    with pytest.raises(ValueError, match=r"digit|one of"):
        alice.dial(digits, tone_ms)
    assert not alice.dialling


def test_reports_tell_both_sides_of_loss_jitter_and_round_trip() -> None:
    line = Line(agreed(), delay_ms=40.0)
    line.talk(chirp(30.0), lost=0.1)
    told = line.alice.quality()
    assert told.round_trip_ms == pytest.approx(80, abs=21)  # a tick of each side's is in it
    assert told.peer is not None
    assert told.peer.loss == pytest.approx(0.1, abs=0.03)
    assert told.peer.jitter_ms < 1
    assert line.bob.quality().round_trip_ms is not None
    worse, better = line.bob.quality().mos, told.mos
    assert worse < better - 0.3


def test_a_peer_who_moves_is_followed_by_the_reports() -> None:
    alice = session(agreed(), ALICE)
    moved = (BOB[0], 7000)
    alice.rtp_received(build(RtpPacket(96, 1, 0, 9, bytes(160))), moved, 0.0)
    alice.say(None, 0.0)
    alice.tick(6000.0)
    assert [(to, is_rtcp) for _, to, is_rtcp in alice.outgoing] == [
        (moved, False),
        ((moved[0], 7001), True),
    ]
    alice.close(6020.0)
    goodbye = rtcp.parse(alice.outgoing[-1].datagram)[-1]
    assert isinstance(goodbye, rtcp.Goodbye)
    alice.close(6040.0)
    assert len(alice.outgoing) == 3


def test_a_peer_that_wants_no_reports_gets_none() -> None:
    alice = session(agreed(remote_rtcp=None), ALICE)
    alice.rtp_received(build(RtpPacket(96, 1, 0, 9, bytes(160))), BOB, 0.0)
    alice.say(None, 0.0)
    alice.tick(6000.0)
    assert [is_rtcp for _, _, is_rtcp in alice.outgoing] == [False]


def test_muxed_reports_share_the_port() -> None:
    alice = session(agreed(rtcp_mux=True), ALICE)
    alice.rtp_received(build(RtpPacket(96, 1, 0, 9, bytes(160))), BOB, 0.0)
    alice.say(None, 0.0)
    alice.tick(6000.0)
    assert [(to, is_rtcp) for _, to, is_rtcp in alice.outgoing] == [(BOB, False)] * 2
    bob = session(agreed(remote=ALICE, rtcp_mux=True), BOB, 2)
    for datagram, _, _ in alice.outgoing:
        bob.rtp_received(datagram, ALICE, 10.0)
    assert bob.garbage == 0


def test_reports_of_strangers_are_not_believed() -> None:
    alice = session(agreed(), ALICE)
    alice.say(None, 0.0)
    block = rtcp.ReportBlock(1, 255, 500, 1, 99999)
    forged = rtcp.build(rtcp.Report(666, None, (block,)), "m")
    alice.rtcp_received(forged, MALLORY, 10.0)
    assert alice.quality().peer is None
    alice.rtcp_received(forged, (BOB[0], 5001), 10.0)
    assert alice.quality().peer is not None


class Seal:
    """A protection whose proof is a word in front."""

    def __init__(self, word: bytes) -> None:
        self._word = word

    def protect(self, rtp: bytes) -> bytes:
        return rtp[:2] + self._word + rtp[2:]

    def unprotect(self, srtp: bytes) -> bytes:
        if srtp[2 : 2 + len(self._word)] != self._word:
            raise RtpError("forged")
        return srtp[:2] + srtp[2 + len(self._word) :]

    protect_rtcp, unprotect_rtcp = protect, unprotect


def test_a_forged_packet_moves_nothing_and_a_proven_one_does_at_once() -> None:
    alice = session(agreed(), ALICE)
    alice.protection = Seal(b"key")
    datagram = build(RtpPacket(96, 1, 0, 9, bytes(160)))
    alice.rtp_received(datagram, BOB, 0.0)
    alice.rtp_received(Seal(b"yek").protect(datagram), BOB, 0.0)
    assert (alice.source, alice.garbage, alice.fault) == (None, 2, "forged")
    alice.rtp_received(Seal(b"key").protect(datagram), BOB, 0.0)
    again = build(RtpPacket(96, 9000, 90000, 10, bytes(160)))
    alice.rtp_received(Seal(b"key").protect(again), MALLORY, 20.0)
    assert alice.source == MALLORY
    alice.say(None, 20.0)
    [(said, to, _)] = alice.outgoing
    assert to == MALLORY
    assert parse(Seal(b"key").unprotect(said)).payload_type == 96


class Shaking:
    """A handshake of one question and one answer."""

    def __init__(self) -> None:
        self.protection: Seal | None = None
        self.asked = 0
        self._due: list[bytes] = []

    def receive(self, datagram: bytes) -> None:
        if datagram != b"\x16hello":
            raise RtpError("no hello")
        self._due.append(b"\x16finished")
        self.protection = Seal(b"key")

    def datagrams_to_send(self) -> list[bytes]:
        due, self._due = self._due, []
        return due

    def handle_timeout(self) -> None:
        self.asked += 1
        if self.asked == 3:
            raise RtpError("nobody there")


def test_without_keys_there_is_silence_and_a_handshake_makes_them() -> None:
    alice = session(agreed(secure=True), ALICE)
    alice.handshake = shaking = Shaking()
    spoken = build(RtpPacket(96, 1, 0, 9, bytes(160)))
    alice.rtp_received(spoken, BOB, 0.0)
    alice.say(None, 0.0)
    alice.tick(6000.0)
    alice.rtp_received(b"\x16hello", MALLORY, 6000.0)  # who asks from elsewhere gets no answer
    assert (alice.source, alice.outgoing, shaking.asked) == (None, [], 1)
    alice.rtp_received(b"\x16hullo", BOB, 6000.0)
    assert alice.garbage == 1
    alice.rtp_received(b"\x16hello", BOB, 6010.0)
    assert [datagram for datagram, _, _ in alice.outgoing] == [b"\x16finished"]
    alice.rtp_received(Seal(b"key").protect(spoken), BOB, 6020.0)
    alice.say(None, 6020.0)
    assert alice.source == BOB
    assert parse(Seal(b"key").unprotect(alice.outgoing[-1].datagram)).payload_type == 96


def test_a_handshake_that_fails_leaves_silence() -> None:
    alice = session(agreed(secure=True), ALICE)
    alice.handshake = Shaking()
    for tick in range(5):
        alice.tick(tick * 20.0)
        alice.say(None, tick * 20.0)
    alice.close(100.0)
    assert (alice.handshake, alice.outgoing, alice.fault) == (None, [], "nobody there")


def test_protected_reports_are_protected() -> None:
    theirs = agreed(remote=ALICE, remote_rtcp=(ALICE[0], ALICE[1] + 1))
    alice, bob = session(agreed(), ALICE), session(theirs, BOB, 2)
    alice.protection = bob.protection = Seal(b"key")
    for tick in range(300):
        now = tick * 20.0
        for one, other, port in ((alice, bob, ALICE), (bob, alice, BOB)):
            one.say(None, now)
            one.tick(now)
            for datagram, _, is_rtcp in one.outgoing:
                deliver = other.rtcp_received if is_rtcp else other.rtp_received
                deliver(datagram, (port[0], port[1] + is_rtcp), now)
            one.outgoing.clear()
    assert alice.quality().peer is not None
    assert (alice.garbage, bob.garbage) == (0, 0)


def test_another_codec_goes_on_and_another_clock_is_another_source() -> None:
    alice = session(agreed(), ALICE)
    alice.say(None, 0.0)
    alice.renegotiate(agreed(Encoding.G722), 10.0)
    alice.say(None, 20.0)
    alice.renegotiate(agreed(Encoding.OPUS), 30.0)
    alice.say(None, 40.0)
    ulaw, wide, opus = (parse(datagram) for datagram, _, _ in alice.outgoing)
    assert (wide.ssrc, wide.timestamp) == (ulaw.ssrc, (ulaw.timestamp + 160) & 0xFFFFFFFF)
    assert opus.ssrc != ulaw.ssrc
    assert opus.marker
    assert opus.sequence == (wide.sequence + 1) & 0xFFFF


addresses = st.sampled_from([BOB, (BOB[0], 5001), MALLORY])


@given(st.lists(st.tuples(st.binary(max_size=400), addresses, st.booleans()), max_size=20))
def test_no_datagram_is_raised_out_of_it(datagrams: list[tuple[bytes, Address, bool]]) -> None:
    alice = session(agreed(Encoding.OPUS), ALICE)
    for number, (datagram, source, is_rtcp) in enumerate(datagrams):
        (alice.rtcp_received if is_rtcp else alice.rtp_received)(datagram, source, number * 5.0)
        alice.rtp_received(b"\x80\x60" + datagram, source, number * 5.0)
        alice.tick(number * 20.0)
    assert alice.garbage <= 2 * len(datagrams)
    alice.quality()
