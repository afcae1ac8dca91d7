from __future__ import annotations

import pytest

from ingress_web.stream import MediaStream
from media.frames import FRAME_SAMPLES
from tests.unit.ingress_web.dialects.documented import STARTS, begun, started


class Wire:
    """A connection that keeps what it is to send."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []

    def send(self, message: str | bytes) -> None:
        self.sent.append(message)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("carrier", STARTS)
def test_audio_goes_in_messages_that_the_carrier_takes(carrier: str) -> None:
    wire, dialect, begins = Wire(), begun(carrier), started(carrier)
    stream = MediaStream(lambda: 0.0)
    stream.attach(wire, dialect, begins.decoder, begins.codec)
    stream.queue(b"\xff" * 8 * FRAME_SAMPLES, 7)
    *audio, mark = wire.sent
    if carrier == "vonage":  # messages of 20 ms, at 16 kHz
        assert [len(message) for message in audio] == [640] * 8
    else:
        assert len(audio) == 1
    assert isinstance(mark, str)
    assert '"7"' in mark
