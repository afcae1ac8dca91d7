from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.rtp.packet import RtpError, RtpPacket, build
from ingress_sip.rtp.parameters import MediaParameters
from ingress_sip.rtp.receiver import HeardFrame, RtpReceiver
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.rtp.telephone_event import Digit
from media.correlate import find
from media.encoding import Encoding
from media.frames import FRAME_BYTES, to_pcm, to_samples
from media.g711 import pcm_to_ulaw
from media.listening.listener import Heard

PEER = ("192.0.2.1", 4000)
STRANGER = ("203.0.113.9", 4000)
CODECS = {0: Encoding.PCMU, 8: Encoding.PCMA, 9: Encoding.G722, 96: Encoding.OPUS}
EVENTS = 101
AGREED = MediaParameters(
    remote=PEER,
    encoding=Encoding.PCMU,
    payload_type=0,
    receives=CODECS,
    event_clocks={EVENTS: 8000},
)


def chirp(seconds: float = 1.0) -> bytes:
    time = np.arange(int(seconds * 8000)) / 8000
    return to_pcm(8000 * np.sin(2 * np.pi * (300 + 600 * time) * time))


class Call:
    """A peer that sends, and our receiver with a tick half-way between its packets."""

    def __init__(self, payload_type: int = 0) -> None:
        self.receiver = RtpReceiver(AGREED)
        self.encoding = CODECS[payload_type]
        self.encoder = self.encoding.encoder(20)
        self.sender = RtpSender(
            payload_type=payload_type,
            ssrc=7,
            sequence=65500,
            timestamp=5,
            clock_rate=self.encoding.clock_rate,
        )
        self.now = 1000.0
        self.heard: list[HeardFrame] = []
        self.digits: list[Digit] = []

    def step(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.digits += self.receiver.receive(datagram, PEER, self.now)
        frame = self.receiver.tick(self.now + 10)
        self.heard.append(frame)
        self.digits += frame.digits
        self.now += 20

    def talk(self, pcm: bytes, lost: frozenset[int] = frozenset()) -> None:
        for number, at in enumerate(range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)):
            datagram = self.sender.audio(self.encoder.encode(pcm[at : at + FRAME_BYTES]))
            self.step(*([] if number in lost else [datagram]))

    def rest(self, ticks: int = 20) -> None:
        for _ in range(ticks):
            self.step()

    def kinds(self) -> list[Heard]:
        return [frame.kind for frame in self.heard]

    def sound(self) -> bytes:
        return b"".join(frame.pcm for frame in self.heard)


@pytest.mark.parametrize("payload_type", CODECS)
def test_whatever_the_codec_mu_law_comes_out(payload_type: int) -> None:
    call = Call(payload_type)
    call.talk(chirp())
    call.rest()
    match = find(to_samples(chirp())[:4000], to_samples(call.sound()))
    assert match.peak > (0.98 if payload_type == 96 else 0.99)
    assert match.lag <= 480 + 80
    assert call.kinds().count(Heard.RECEIVED) == 50
    for frame in call.heard:
        assert len(frame.ulaw) == 160
        assert len(frame.pcm) == 320
    assert all(frame.ulaw == pcm_to_ulaw(frame.pcm) for frame in call.heard)
    assert call.receiver.quality().codec == CODECS[payload_type].value


def test_losses_are_concealed_and_told() -> None:
    call = Call()
    call.talk(chirp(), lost=frozenset({20, 30, 31}))
    call.rest()
    kinds = call.kinds()
    start, end = kinds.index(Heard.RECEIVED), len(kinds) - kinds[::-1].index(Heard.RECEIVED)
    assert kinds[start:end].count(Heard.CONCEALED) == 3
    assert end - start == 50
    assert any(call.heard[start + 20].pcm)
    quality = call.receiver.quality()
    assert quality.packets.lost == 3
    assert quality.loss == pytest.approx(3 / 50)
    assert 3.0 < quality.mos < 4.3
    assert quality.mos < Call().receiver.quality().mos


def test_an_unspoilt_call_is_rated_best() -> None:
    call = Call()
    call.talk(chirp(3.0))
    quality = call.receiver.quality()
    assert (quality.loss, quality.jitter_ms, quality.delay_ms) == (0.0, 0.0, 20.0)
    assert quality.mos == pytest.approx(4.38, abs=0.03)


def test_keys_are_heard_once_and_make_no_loss() -> None:
    call = Call()
    call.talk(chirp())
    for digit in "42#":
        for datagrams in call.sender.digit(digit, event_type=EVENTS, duration_ms=80):
            call.step(*datagrams)
        call.talk(chirp(0.1))
    call.talk(chirp())
    assert call.digits == [Digit("4", 80), Digit("2", 80), Digit("#", 80)]
    assert call.receiver.quality().packets.lost == 0
    assert Heard.CONCEALED not in call.kinds()


def test_a_key_whose_end_is_lost_comes_from_the_tick() -> None:
    call = Call()
    call.talk(chirp(0.1))
    for datagrams in list(call.sender.digit("9", event_type=EVENTS, duration_ms=100))[:-3]:
        call.step(*datagrams)
    assert call.digits == []
    call.rest(10)
    assert call.digits == [Digit("9", 80)]


def test_unknown_payload_types_are_ignored_and_do_not_take_the_lock() -> None:
    receiver = RtpReceiver(AGREED)
    assert receiver.receive(build(RtpPacket(34, 1, 1, 1, b"video")), STRANGER, 0.0) == ()
    assert (receiver.ignored, receiver.source) == (1, None)
    receiver.receive(build(RtpPacket(0, 1, 1, 1, bytes(160))), PEER, 0.0)
    assert receiver.source == PEER
    receiver.receive(build(RtpPacket(0, 1, 1, 2, bytes(160))), STRANGER, 0.0)
    assert (receiver.foreign, receiver.source) == (1, PEER)


def test_comfort_noise_is_a_pause() -> None:
    call = Call()
    call.talk(chirp(0.4))
    call.step(build(RtpPacket(13, (65500 + 20) & 0xFFFF, 5 + 20 * 160, 7, b"\x40")))
    call.rest(10)
    assert call.receiver.quality().packets.lost == 0
    assert Heard.CONCEALED not in call.kinds()
    assert call.kinds()[-8:] == [Heard.SILENCE] * 8


def test_what_nobody_agreed_to_leaves_no_hole_in_the_numbers() -> None:
    call = Call()  # comfort noise of a type of its own, by a peer that never offered it
    for _ in range(3):
        call.talk(chirp(0.4))
        call.sender.payload_type = 98
        call.step(call.sender.audio(b"\x40"))
        call.sender.payload_type = 0
    call.talk(chirp(0.4))
    call.rest()
    quality = call.receiver.quality()
    assert (call.receiver.ignored, quality.packets.lost, quality.loss) == (3, 0, 0.0)
    assert call.receiver.reception is not None
    assert call.receiver.reception.lost == 0


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"hello, this is no RTP",
        build(RtpPacket(96, 1, 1, 1, b"\x03")),
        build(RtpPacket(EVENTS, 1, 1, 1, b"odd")),
    ],
)
def test_garbage_is_an_rtp_error_and_the_call_goes_on(datagram: bytes) -> None:
    call = Call()
    call.talk(chirp(0.2))
    with pytest.raises(RtpError):
        call.receiver.receive(datagram, PEER, call.now)
    call.talk(chirp(0.2))
    assert call.heard[-1].kind is Heard.RECEIVED


def test_another_codec_among_those_agreed_may_come_at_any_time() -> None:
    call = Call(0)
    call.talk(chirp(0.2))
    call.sender.payload_type, call.encoder = 8, Encoding.PCMA.encoder(20)
    call.talk(chirp(0.2))
    assert call.kinds()[-8:] == [Heard.RECEIVED] * 8


def test_a_new_answer_changes_what_is_known() -> None:
    call = Call(8)
    call.receiver.renegotiate(replace(AGREED, receives={0: Encoding.PCMU}, remote=STRANGER))
    call.talk(chirp(0.2))
    assert call.receiver.ignored == 10
    call.receiver.receive(build(RtpPacket(0, 1, 1, 9, bytes(160))), PEER, call.now)
    call.receiver.receive(build(RtpPacket(0, 1, 1, 1, bytes(160))), STRANGER, call.now)
    assert call.receiver.source == STRANGER


def test_a_new_stream_has_its_own_report() -> None:
    call = Call()
    call.talk(chirp(0.2))
    assert call.receiver.reception is not None
    assert (call.receiver.reception.ssrc, call.receiver.reception.received) == (7, 10)
    call.sender.ssrc = 8
    call.talk(chirp(0.1))
    assert (call.receiver.reception.ssrc, call.receiver.reception.received) == (8, 5)
    assert call.receiver.quality().packets.received == 15


def test_before_anything_came_there_is_silence() -> None:
    receiver = RtpReceiver(AGREED)
    frame = receiver.tick(0.0)
    assert frame == HeardFrame(b"\xff" * 160, bytes(320), Heard.SILENCE)
    assert receiver.quality().loss == 0.0


def test_a_keep_alive_of_an_unknown_type_is_a_sign_of_life() -> None:
    receiver = RtpReceiver(AGREED)  # RFC 6263 section 4.6
    receiver.receive(build(RtpPacket(0, 1, 0, 7, bytes(160))), PEER, 0.0)
    receiver.receive(build(RtpPacket(20, 2, 0, 7, b"")), PEER, 900.0)
    assert (receiver.heard_ms, receiver.ignored) == (900.0, 1)


def test_an_authenticated_packet_moves_the_source_at_once() -> None:
    receiver = RtpReceiver(AGREED)
    receiver.receive(build(RtpPacket(0, 1, 0, 7, bytes(160))), PEER, 0.0)
    receiver.receive(build(RtpPacket(0, 1, 0, 8, bytes(160))), STRANGER, 20.0, proven=True)
    assert receiver.source == STRANGER


@pytest.mark.parametrize("order", [(0, 9, 96, 8), (96, 0), (9, 96)])
def test_the_codec_may_change_by_a_new_answer_in_mid_speech(order: tuple[int, ...]) -> None:
    call = Call(order[0])
    for payload_type in order:
        call.encoding = CODECS[payload_type]
        call.encoder = call.encoding.encoder(20)
        call.receiver.renegotiate(replace(AGREED, receives={payload_type: call.encoding}))
        call.sender.payload_type = payload_type
        call.sender.clock_rate = call.encoding.clock_rate  # the same source, RFC 7160 or not
        call.talk(chirp(0.4))
    call.rest()
    kinds = call.kinds()
    start, end = kinds.index(Heard.RECEIVED), len(kinds) - kinds[::-1].index(Heard.RECEIVED)
    assert kinds[start:end] == [Heard.RECEIVED] * 20 * len(order)
    sound = to_samples(call.sound())[160 * start :]
    for number in range(len(order)):
        assert find(to_samples(chirp(0.4))[800:], sound[3200 * number :][:3600]).peak > 0.95


@pytest.mark.parametrize("ptime_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("payload_type", CODECS)
def test_any_packet_length_of_any_codec(payload_type: int, ptime_ms: int) -> None:
    call = Call(payload_type)
    encoder, size = call.encoding.encoder(ptime_ms), ptime_ms * 16
    for at in range(0, len(chirp()) - size + 1, size):
        payload = encoder.encode(chirp()[at : at + size])
        datagram = call.sender.audio(payload, ptime_ms * 8)
        arrival = 1000.0 + at / 16
        while call.now <= arrival - 20:
            call.step()
        call.receiver.receive(datagram, PEER, arrival)
    call.rest()
    assert find(to_samples(chirp())[1600:7200], to_samples(call.sound())).peak > 0.97
    assert call.receiver.quality().packets.lost == 0


def test_a_payload_that_its_codec_cannot_read_is_silence() -> None:
    call = Call(96)
    call.talk(chirp(0.2))
    # Two frames of equal length in an odd number of bytes (RFC 6716 section 3.2.3).
    call.step(call.sender.audio(bytes([0x49, 1, 2, 3]), 320))
    call.step()
    call.talk(chirp(0.2))
    call.rest()
    assert call.receiver.quality().packets.garbled == 1
    assert call.receiver.quality().packets.lost == 0


@given(st.sampled_from([*CODECS, EVENTS, 13]), st.binary(max_size=300))
def test_no_payload_does_harm(payload_type: int, payload: bytes) -> None:
    receiver = RtpReceiver(AGREED)
    for number in range(3):
        packet = RtpPacket(payload_type, number, 960 * number, 7, payload)
        with suppress(RtpError):
            receiver.receive(build(packet), PEER, number * 20.0)
    for tick in range(10):
        receiver.tick(50.0 + tick * 20)


def test_an_event_on_the_clock_of_opus() -> None:
    agreed = replace(AGREED, event_clocks={101: 48000, 102: 8000})
    for event_type, clock in ((101, 48000), (102, 8000)):
        call = Call(96)
        call.receiver.renegotiate(agreed)
        call.talk(chirp(0.2))
        for datagrams in call.sender.digit("7", event_type=event_type, event_clock=clock):
            call.step(*datagrams)
        call.talk(chirp(0.2))
        call.rest()
        assert call.digits == [Digit("7", 100)]
        assert call.receiver.quality().packets.lost == 0
