from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.rtp import telephone_event
from ingress_sip.rtp.packet import RtpError, RtpPacket, parse
from ingress_sip.rtp.sender import RtpSender
from ingress_sip.rtp.telephone_event import Digit, DigitReader, TelephoneEvent

EVENTS = 101


def sent(digits: str, duration_ms: int = 100, timestamp: int = 1000) -> list[RtpPacket]:
    """What our own sender makes of some digits, five ticks apart."""
    sender = RtpSender(payload_type=0, ssrc=1, sequence=65530, timestamp=timestamp)
    packets = []
    for digit in digits:
        for tick in sender.digit(digit, event_type=EVENTS, duration_ms=duration_ms):
            packets += [parse(datagram) for datagram in tick]
        for _ in range(5):
            sender.pause()
    return packets


def read(packets: list[RtpPacket], every_ms: float = 20.0) -> list[Digit]:
    reader = DigitReader()
    digits: list[Digit] = []
    for count, packet in enumerate(packets):
        digits += reader.push(packet, count * every_ms)
    digits += reader.tick(len(packets) * every_ms + 1000)
    assert not reader.pressed
    return digits


def event(
    digit: int, timestamp: int, duration: int, *, end: bool = False, marker: bool = False
) -> RtpPacket:
    payload = telephone_event.build(TelephoneEvent(digit, end, 10, duration))
    return RtpPacket(EVENTS, 0, timestamp, 1, payload, marker)


def test_the_payload_is_that_of_rfc_4733() -> None:
    payload = telephone_event.build(TelephoneEvent(11, True, 10, 800))
    assert payload.hex() == "0b8a0320"
    assert telephone_event.parse(payload) == (TelephoneEvent(11, True, 10, 800),)


@pytest.mark.parametrize("payload", [b"", b"abc", b"abcde", bytes(68)])
def test_malformed_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(RtpError, match="telephone-event payload"):
        telephone_event.parse(payload)


def test_all_digits_are_heard_once_with_their_length() -> None:
    assert read(sent("0123456789*#ABCD", 120)) == [Digit(d, 120) for d in "0123456789*#ABCD"]


def test_the_end_is_sent_three_times_with_the_same_timestamp() -> None:
    packets = sent("5", 60)
    events = [telephone_event.parse(packet.payload)[0] for packet in packets]
    assert [event.duration for event in events] == [160, 320, 480, 480, 480]
    assert [event.end for event in events] == [False, False, True, True, True]
    assert {packet.timestamp for packet in packets} == {1000}
    assert [packet.marker for packet in packets] == [True, False, False, False, False]
    assert [packet.sequence for packet in packets] == [65530, 65531, 65532, 65533, 65534]


def test_the_marker_may_be_missing() -> None:
    packets = [packet._replace(marker=False) for packet in sent("112")]
    assert [digit.digit for digit in read(packets)] == ["1", "1", "2"]


def test_a_digit_without_its_end_packets_ends_by_silence() -> None:
    reader = DigitReader()
    for count, packet in enumerate(sent("7", 100)[:-3]):
        assert reader.push(packet, count * 20.0) == ()
    assert reader.pressed
    assert reader.tick(159.0) == ()
    assert reader.tick(160.0) == (Digit("7", 80),)
    assert reader.tick(180.0) == ()


def test_a_digit_without_its_end_packets_ends_by_the_next_one() -> None:
    packets = sent("78")
    del packets[4:7]
    assert [digit.digit for digit in read(packets)] == ["7", "8"]


def test_late_packets_of_a_digit_that_was_told_are_ignored() -> None:
    packets = sent("12")
    assert read([*packets, *packets, packets[0]]) == [Digit("1", 100), Digit("2", 100)]


def test_a_long_press_is_one_digit_over_its_segments() -> None:
    second = 1000 + 0xFFFF
    packets = [
        event(3, 1000, 160, marker=True),
        event(3, 1000, 0xFFFF),
        event(3, second, 800),
        event(3, 1000, 0xFFFF),  # reordered
        event(3, second, 1600, end=True),
        event(3, second, 1600, end=True),
    ]
    assert read(packets) == [Digit("3", round((0xFFFF + 1600) / 8))]


def test_the_same_key_again_is_no_segment() -> None:
    packets = [
        event(3, 1000, 160, marker=True),
        event(3, 1000 + 0xFFFF, 160, end=True, marker=True),
    ]
    assert [digit.digit for digit in read(packets)] == ["3", "3"]


def test_several_events_in_one_packet() -> None:
    payload = b"".join(
        telephone_event.build(TelephoneEvent(digit, True, 10, 400)) for digit in (4, 5, 5)
    )
    packet = RtpPacket(EVENTS, 0, 0xFFFFFFFF, 1, payload)
    assert read([packet, packet]) == [Digit("4", 50), Digit("5", 50), Digit("5", 50)]


def test_other_events_are_no_digits() -> None:
    assert read([event(16, 1000, 400, end=True)]) == []  # hook flash


@given(st.data())
def test_any_loss_that_leaves_a_packet_of_each_digit_leaves_each_digit(data: st.DataObject) -> None:
    digits = data.draw(st.text("0123456789*#", min_size=1, max_size=6))
    timestamp = data.draw(st.integers(0, 0xFFFFFFFF))
    by_digit: dict[int, list[RtpPacket]] = {}
    for packet in sent(digits, timestamp=timestamp):
        by_digit.setdefault(packet.timestamp, []).append(packet)
    kept = []
    for packets in by_digit.values():
        chosen = data.draw(st.lists(st.sampled_from(packets), min_size=1, max_size=20))
        kept += sorted(chosen, key=packets.index)
    assert "".join(digit.digit for digit in read(kept)) == digits


@pytest.mark.parametrize("duration_ms", [0, -5, 9000])
def test_impossible_lengths_are_refused(duration_ms: int) -> None:
    with pytest.raises(ValueError, match="a digit of"):
        list(telephone_event.press("1", duration_ms))


def test_the_clock_of_opus_counts_six_times_as_fast() -> None:
    reader = DigitReader(48000)
    events = list(telephone_event.press("3", 100, clock_rate=48000))
    assert [event.duration for event in events] == [960, 1920, 2880, 3840, 4800]
    digits: list[Digit] = []
    for number, event in enumerate(events):
        packet = RtpPacket(110, number, 7, 1, telephone_event.build(event), marker=number == 0)
        digits += reader.push(packet, number * 20.0)
    assert digits == [Digit("3", 100)]


def test_a_press_of_three_seconds_on_the_clock_of_opus_is_one_digit() -> None:
    # A segment holds 1.37 s there (RFC 4733 section 2.5.1.3); here its starts are lost.
    reader, digits = DigitReader(48000), []
    for step in range(1, 151):
        at = step * 960
        segment, into = divmod(at - 1, 0xFFFF)
        event = TelephoneEvent(8, step == 150, 10, into + 1)
        if step % 70 > 3:
            packet = RtpPacket(110, step, segment * 0xFFFF, 1, telephone_event.build(event))
            digits += reader.push(packet, step * 20.0)
            digits += reader.tick(step * 20.0)
    assert [digit for digit, _ in digits] == ["8"]
    assert digits[0].duration_ms == pytest.approx(3000, abs=30)
