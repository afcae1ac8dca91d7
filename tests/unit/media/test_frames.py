from __future__ import annotations

import numpy as np
import pytest

from media.frames import FRAME_BYTES, SILENCE, Codec, samples_in, to_pcm, to_samples
from media.g711 import decode


def test_static_payload_types_are_those_of_rfc_3551() -> None:
    assert [codec.payload_type for codec in (Codec.PCMU, Codec.PCMA, Codec.L16)] == [0, 8, None]


@pytest.mark.parametrize("codec", Codec)
def test_silence_decodes_to_almost_nothing(codec: Codec) -> None:
    frame = codec.silence()
    assert len(frame) == 160 * codec.bytes_per_sample
    assert np.abs(to_samples(decode(frame, codec))).max() <= 8  # A-law has no zero


def test_pcm_is_little_endian_and_goes_both_ways() -> None:
    pcm = b"\x01\x00\xff\xff\x00\x80"
    assert to_samples(pcm).tolist() == [1, -1, -32768]
    assert to_pcm(to_samples(pcm)) == pcm


def test_floats_are_rounded_and_saturated() -> None:
    samples = to_samples(to_pcm(np.array([0.6, -0.6, 1e9, -1e9])))
    assert samples.tolist() == [1, -1, 32767, -32768]


def test_a_frame_is_20_ms() -> None:
    assert len(SILENCE) == FRAME_BYTES == 2 * samples_in(20)
