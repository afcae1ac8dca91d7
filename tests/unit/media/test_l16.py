from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from media.codec import PayloadError
from media.frames import FRAME_BYTES, SAMPLE_RATE, to_pcm, to_samples
from media.l16 import RATES, L16Decoder, L16Encoder

_TONE = to_pcm(8000 * np.sin(2 * np.pi * 440 / SAMPLE_RATE * np.arange(4000)))
_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")


def correlation(one: bytes, other: bytes, behind: int) -> float:
    left, right = to_samples(one)[: -behind or None], to_samples(other)[behind:]
    return float(np.corrcoef(left, right)[0, 1])


@pytest.mark.parametrize("order", _ORDERS)
@pytest.mark.parametrize("rate", RATES)
def test_a_tone_comes_through_both_ways(rate: int, order: Literal["big", "little"]) -> None:
    encoder, decoder = L16Encoder(rate, order), L16Decoder(rate, order)
    heard = b""
    for at in range(0, len(_TONE), FRAME_BYTES):
        frame = _TONE[at : at + FRAME_BYTES]
        payload = encoder.encode(frame)
        assert len(payload) == len(frame) * rate // SAMPLE_RATE
        assert decoder.samples(payload) == len(frame) // 2
        heard += decoder.decode(payload)
    assert len(heard) == len(_TONE)
    # Each resampler holds 16 samples back.
    assert correlation(_TONE, heard, 0 if rate == SAMPLE_RATE else 32) > 0.99


def test_the_order_of_bytes() -> None:
    assert L16Encoder(8000, "big").encode(b"\x01\x02") == b"\x02\x01"
    assert L16Encoder(8000, "little").encode(b"\x01\x02") == b"\x01\x02"
    assert L16Decoder(8000, "big").decode(b"\x01\x02") == b"\x02\x01"
    assert L16Decoder(8000, "little").decode(b"\x01\x02") == b"\x01\x02"


@pytest.mark.parametrize(
    ("rate", "size"), [(8000, 0), (8000, 3), (16000, 2), (16000, 6), (24000, 640)]
)
def test_what_is_not_whole_is_refused(rate: int, size: int) -> None:
    decoder = L16Decoder(rate, "little")
    for take in (decoder.samples, decoder.decode):
        with pytest.raises(PayloadError, match=f"{size} bytes of L16"):
            take(bytes(size))


def test_a_payload_may_be_of_any_length_that_is_whole() -> None:
    decoder = L16Decoder(24000, "big")
    for samples in (1, 7, 160, 3, 480):
        assert len(decoder.decode(bytes(samples * 6))) == samples * 2


@pytest.mark.parametrize("rate", [0, 11025, 48000])
def test_other_rates_are_not_spoken(rate: int) -> None:
    with pytest.raises(ValueError, match=f"L16 at {rate} Hz"):
        L16Decoder(rate, "little")
    with pytest.raises(ValueError, match=f"L16 at {rate} Hz"):
        L16Encoder(rate, "little")
