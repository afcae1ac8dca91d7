"""What the phone makes of its packets: audio at its place, holes, waits."""

from __future__ import annotations

import struct

import numpy as np

from trunkline.phone.heard import listen
from trunkline.phone.line import FRAME, Packet, parse

CODES = [bytes([code]) * FRAME for code in (0x10, 0x20, 0x30, 0x40, 0x50)]


def packets(*numbers: int, first: int = 65_534, stamp: int = 2**32 - FRAME) -> list[Packet]:
    """Packets of the stream by their place in it, each at its time; both counters wrap."""
    return [
        Packet(n * 0.02, (first + n) % 2**16, (stamp + n * FRAME) % 2**32, CODES[n])
        for n in numbers
    ]


def test_a_stream_over_both_wraps_is_whole() -> None:
    heard = listen(packets(0, 1, 2, 3, 4))
    assert (heard.packets, heard.lost, heard.jumps, heard.late) == (5, 0, 0, 0)
    assert len(heard.samples) == 5 * FRAME
    assert len(np.unique(heard.samples)) == 5


def test_what_never_came_is_silence_and_counted() -> None:
    heard = listen(packets(0, 1, 4))
    assert heard.lost == 2
    assert not heard.samples[2 * FRAME : 4 * FRAME].any()
    assert heard.samples[4 * FRAME :].all()


def test_order_and_doubles_do_not_matter() -> None:
    assert np.array_equal(
        listen(packets(0, 2, 1, 1, 3, 4)).samples, listen(packets(0, 1, 2, 3, 4)).samples
    )


def test_a_clock_that_jumps_is_told() -> None:
    stream = packets(0, 1, 2)
    stream[2] = stream[2]._replace(timestamp=stream[2].timestamp + 480)
    assert listen(stream).jumps == 1


def test_a_long_wait_is_late() -> None:
    stream = packets(0, 1, 2)
    heard = listen([*stream[:2], stream[2]._replace(at=0.25)])
    assert heard.late == 1
    assert heard.longest_wait_ms == 230.0


def test_nothing_is_nothing() -> None:
    assert len(listen([]).samples) == 0


def test_other_datagrams_are_no_audio() -> None:
    header = struct.pack(">BBHII", 0x80, 0, 7, 160, 1)
    assert parse(header + b"x" * FRAME, 1.0) == Packet(1.0, 7, 160, b"x" * FRAME)
    assert parse(header[:11], 1.0) is None
    assert parse(bytes([0x80, 200]) + header[2:], 1.0) is None
    assert parse(b"\x00" + header[1:], 1.0) is None
