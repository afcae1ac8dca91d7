"""No key is told twice, whichever ways it comes."""

from __future__ import annotations

from ingress_sip.rtp import telephone_event
from ingress_sip.rtp.keys import Keys
from ingress_sip.rtp.packet import RtpPacket
from ingress_sip.rtp.telephone_event import Digit, TelephoneEvent
from media.dtmf import tone
from media.frames import FRAME_BYTES, SILENCE


class Line:
    """A caller whose keys come as tones, as events, or both."""

    def __init__(self, *, tones: bool = True) -> None:
        self.keys = Keys(tones=tones)
        self.now = 0.0
        self.told: list[Digit] = []

    def sound(self, digit: str, ms: int = 100) -> None:
        pcm = tone(digit, ms)
        for at in range(0, len(pcm), FRAME_BYTES):
            self.step(pcm[at : at + FRAME_BYTES].ljust(FRAME_BYTES, b"\0"))

    def rest(self, ms: int = 100) -> None:
        for _ in range(ms // 20):
            self.step(SILENCE)

    def step(self, pcm: bytes) -> None:
        self.told += self.keys.tick(self.now, pcm)
        self.now += 20.0

    def event(self, code: int, duration: int, *, end: bool = False, start: int = 0) -> None:
        payload = telephone_event.build(TelephoneEvent(code, end, 10, duration))
        self.told += self.keys.event(RtpPacket(101, 1, start, 1, payload), 8000, self.now)


def test_tones_are_told_where_they_are_asked_for() -> None:
    deaf, line = Line(tones=False), Line()
    for each in (deaf, line):
        for digit in "11*":
            each.sound(digit)
            each.rest()
    assert deaf.told == []
    assert [digit for digit, _ in line.told] == ["1", "1", "*"]


def test_a_tone_beside_its_event_is_told_once() -> None:
    line = Line()
    pcm = tone("5", 100)
    for press in range(3):
        for step in range(1, 6):
            line.event(5, 160 * step, start=5000 * press)
            line.step(pcm[(step - 1) * FRAME_BYTES :][:FRAME_BYTES])
        line.event(5, 800, end=True, start=5000 * press)
        line.rest()
    assert line.told == [Digit("5", 100)] * 3


def test_the_sound_that_leaks_before_an_event_is_that_event() -> None:
    line = Line()
    line.sound("7", 60)
    line.rest(200)  # the gateway is slow
    assert line.told == [Digit("7", 60)]
    line.event(7, 800, end=True, start=0)
    line.event(7, 800, end=True, start=8000)
    assert [digit for digit, _ in line.told] == ["7", "7"]  # the leak, and the second press


def test_another_key_or_a_later_one_is_its_own() -> None:
    line = Line()
    line.sound("7", 60)
    line.rest(200)
    line.event(8, 800, end=True)
    late = Line()
    late.sound("7", 60)
    late.rest(3000)
    late.event(7, 800, end=True)
    assert [digit for digit, _ in line.told] == ["7", "8"]
    assert [digit for digit, _ in late.told] == ["7", "7"]


def test_an_event_whose_end_is_lost_is_told_once_too() -> None:
    line = Line()
    line.sound("7", 60)
    line.rest(100)
    line.event(7, 800)
    line.rest(400)
    assert [digit for digit, _ in line.told] == ["7"]
