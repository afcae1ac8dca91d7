from __future__ import annotations

from ingress_sip.rtp.packet import parse
from ingress_sip.rtp.sender import RtpSender

FRAME = b"\xff" * 160


def sender() -> RtpSender:
    return RtpSender(payload_type=8, ssrc=77, sequence=0xFFFE, timestamp=0xFFFFFFFF - 100)


def test_numbers_are_contiguous_across_their_wraps() -> None:
    packets = [parse(sender_.audio(FRAME)) for sender_ in [sender()] for _ in range(4)]
    assert [packet.sequence for packet in packets] == [0xFFFE, 0xFFFF, 0, 1]
    assert [packet.timestamp for packet in packets] == [0xFFFFFFFF - 100, 59, 219, 379]
    assert {(packet.ssrc, packet.payload_type, packet.payload) for packet in packets} == {
        (77, 8, FRAME)
    }


def test_the_marker_starts_each_talkspurt_and_pauses_take_their_time() -> None:
    out = sender()
    first, second = parse(out.audio(FRAME)), parse(out.audio(FRAME))
    out.pause()
    out.pause()
    third = parse(out.audio(FRAME))
    assert [first.marker, second.marker, third.marker] == [True, False, True]
    assert third.sequence == (second.sequence + 1) & 0xFFFF
    assert third.timestamp == second.timestamp + 3 * 160


def test_a_digit_takes_the_time_of_the_audio_it_replaces() -> None:
    out = sender()
    before = parse(out.audio(FRAME))
    ticks = list(out.digit("1", event_type=101, duration_ms=100))
    after = parse(out.audio(FRAME))
    assert [len(tick) for tick in ticks] == [1, 1, 1, 1, 1, 1, 1]
    assert (after.timestamp - before.timestamp) & 0xFFFFFFFF == 8 * 160
    assert (after.sequence - before.sequence) & 0xFFFF == 8
    assert after.marker


def test_a_new_codec_goes_on_with_the_numbering() -> None:
    out = sender()
    out.audio(FRAME)
    out.payload_type = 0
    packet = parse(out.audio(FRAME))
    assert (packet.payload_type, packet.sequence, packet.marker) == (0, 0xFFFF, False)


def test_totals_are_kept_for_the_sender_report() -> None:
    out = sender()
    out.audio(FRAME)
    list(out.digit("1", event_type=101, duration_ms=40))
    assert (out.packets, out.octets) == (5, 160 + 4 * 4)


def test_lengths_count_at_the_clock_of_the_codec() -> None:
    out = RtpSender(payload_type=96, ssrc=77, sequence=1, timestamp=0, clock_rate=48000)
    first, second = parse(out.audio(b"opus", 320)), parse(out.audio(b"opus", 320))
    assert second.timestamp - first.timestamp == 1920
    events = [parse(each) for (each,) in out.digit("5", event_type=101, event_clock=48000)]
    assert [int.from_bytes(each.payload[2:], "big") for each in events] == [
        *(960 * count for count in range(1, 6)),
        4800,
        4800,
    ]
    assert {each.timestamp for each in events} == {second.timestamp + 1920}


def test_another_clock_is_another_source() -> None:
    out = sender()
    out.audio(FRAME)
    out.restart(ssrc=78, timestamp=9, clock_rate=48000)
    packet = parse(out.audio(FRAME))
    assert (packet.ssrc, packet.timestamp, packet.sequence, packet.marker) == (78, 9, 0xFFFF, True)
    assert out.packets == 1
