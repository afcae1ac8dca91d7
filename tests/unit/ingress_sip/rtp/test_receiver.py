from __future__ import annotations

import numpy as np
import pytest

from ingress_sip.rtp.packet import RtpError, RtpPacket, build
from ingress_sip.rtp.receiver import Heard, HeardFrame, RtpReceiver
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.rtp.telephone_event import Digit
from media.correlate import find
from media.frames import FRAME_BYTES, Codec, to_pcm, to_samples
from media.g711 import encode, ulaw_to_pcm

PEER = ("192.0.2.1", 4000)
STRANGER = ("203.0.113.9", 4000)
CODECS = {0: Codec.PCMU, 8: Codec.PCMA, 96: Codec.L16}
EVENTS = 101


def chirp(seconds: float = 1.0) -> bytes:
    time = np.arange(int(seconds * 8000)) / 8000
    return to_pcm(8000 * np.sin(2 * np.pi * (300 + 600 * time) * time))


class Call:
    """A peer that sends, and our receiver with a tick half-way between its packets."""

    def __init__(self, payload_type: int = 0) -> None:
        self.receiver = RtpReceiver(CODECS, EVENTS)
        self.sender = RtpSender(payload_type=payload_type, ssrc=7, sequence=65500, timestamp=5)
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
        codec = CODECS[self.sender.payload_type]
        for number, at in enumerate(range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)):
            datagram = self.sender.audio(encode(pcm[at : at + FRAME_BYTES], codec))
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
    assert match.peak > 0.99
    assert match.lag <= 480
    assert call.kinds().count(Heard.RECEIVED) == 50
    for frame in call.heard:
        assert len(frame.ulaw) == 160
        assert len(frame.pcm) == 320
    received = [frame for frame in call.heard if frame.kind is Heard.RECEIVED]
    assert all(frame.pcm == ulaw_to_pcm(frame.ulaw) for frame in received)


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
    for datagrams in list(call.sender.digit("9", event_type=EVENTS, duration_ms=100))[:-1]:
        call.step(*datagrams)
    assert call.digits == []
    call.rest(10)
    assert call.digits == [Digit("9", 80)]


def test_unknown_payload_types_are_ignored_and_do_not_take_the_lock() -> None:
    receiver = RtpReceiver({0: Codec.PCMU})
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


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"hello, this is no RTP",
        build(RtpPacket(96, 1, 1, 1, b"odd")),
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
    call.sender.payload_type = 8
    call.talk(chirp(0.2))
    assert call.kinds()[-8:] == [Heard.RECEIVED] * 8


def test_a_new_answer_changes_what_is_known() -> None:
    call = Call(8)
    call.receiver.renegotiate({0: Codec.PCMU}, None, STRANGER)
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
    receiver = RtpReceiver(CODECS)
    frame = receiver.tick(0.0)
    assert frame == HeardFrame(b"\xff" * 160, bytes(320), Heard.SILENCE)
    assert receiver.quality().loss == 0.0


def test_rtcp_on_the_rtp_port_is_no_audio_but_a_sign_of_life() -> None:
    # RFC 5761 section 4: 192 to 223 in the octet that RTP has for marker and payload type.
    receiver = RtpReceiver({**CODECS, 72: Codec.PCMU}, EVENTS)
    receiver.receive(build(RtpPacket(0, 1, 0, 7, bytes(160))), PEER, 0.0)
    report = bytes([0x80, 200]) + bytes(26)
    assert receiver.receive(report, PEER, 900.0) == ()
    assert receiver.heard_ms == 900.0
    receiver.receive(report, STRANGER, 1200.0)
    assert receiver.heard_ms == 900.0
    assert receiver.quality().packets.received == 1


def test_a_keep_alive_of_an_unknown_type_is_a_sign_of_life() -> None:
    receiver = RtpReceiver(CODECS, EVENTS)  # RFC 6263 section 4.6
    receiver.receive(build(RtpPacket(0, 1, 0, 7, bytes(160))), PEER, 0.0)
    receiver.receive(build(RtpPacket(20, 2, 0, 7, b"")), PEER, 900.0)
    assert (receiver.heard_ms, receiver.ignored) == (900.0, 1)
