"""What a phone heard lies on the sender's clock, whatever the network did to the packets."""

from __future__ import annotations

import numpy as np

from media.frames import Codec
from media.g711 import pcm_to_ulaw
from trunkline.heard import MAX_SAMPLES, HeardAudio

LOUD = pcm_to_ulaw(np.tile(np.array([8000, -8000], np.int16), 80).tobytes())
SILENT = pcm_to_ulaw(bytes(320))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_packets_find_their_place_over_the_wrap_and_out_of_order() -> None:
    heard = HeardAudio(Clock())
    start = (1 << 32) - 160
    heard.take(start, LOUD, Codec.PCMU)
    heard.take(320, LOUD, Codec.PCMU)  # the one at 0 comes late, this one at 160 is lost
    heard.take(0, SILENT, Codec.PCMU)
    heard.take(0, LOUD, Codec.PCMU)  # doubled: the first counts
    samples = heard.samples()
    assert len(samples) == 4 * 160
    loud = [bool(np.abs(samples[at : at + 160]).max() > 1000) for at in range(0, 640, 160)]
    assert loud == [True, False, False, True]


def test_what_is_before_the_first_packet_or_far_away_is_left_out() -> None:
    heard = HeardAudio(Clock())
    heard.take(1000, LOUD, Codec.PCMU)
    heard.take(840, LOUD, Codec.PCMU)
    heard.take(1000 + MAX_SAMPLES, LOUD, Codec.PCMU)
    assert len(heard.samples()) == 160


def test_nothing_heard_is_nothing() -> None:
    heard = HeardAudio(Clock())
    assert len(heard.samples()) == 0
    assert heard.silent_for(0.0) is None


def test_silence_is_counted_from_the_last_voice() -> None:
    clock = Clock()
    heard = HeardAudio(clock)
    heard.take(0, LOUD, Codec.PCMU)
    clock.now += 1.5
    heard.take(160, SILENT, Codec.PCMU)
    assert heard.silent_for(since=100.0) == 1.5
    assert heard.silent_for(since=100.1) is None
