from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from media import g711
from media.frames import Codec, to_samples
from media.wav import read_mono

GOLDEN = Path(__file__).parents[2] / "golden" / "audio"
CODES = bytes(range(256))


def ulaw_value(code: int) -> int:
    """G.711 table 2, as the formula that generates it."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def alaw_value(code: int) -> int:
    """G.711 table 1, as the formula that generates it."""
    code ^= 0x55
    segment, step = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = step + 8 if segment == 0 else step + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


def test_every_code_has_the_value_of_the_standard() -> None:
    assert to_samples(g711.ulaw_to_pcm(CODES)).tolist() == [ulaw_value(code) for code in CODES]
    assert to_samples(g711.alaw_to_pcm(CODES)).tolist() == [alaw_value(code) for code in CODES]


def test_every_code_comes_back() -> None:
    assert g711.pcm_to_alaw(g711.alaw_to_pcm(CODES)) == CODES
    again = g711.pcm_to_ulaw(g711.ulaw_to_pcm(CODES))
    assert again == CODES.replace(b"\x7f", b"\xff")  # negative zero is zero


@pytest.mark.parametrize(("codec", "name"), [(Codec.PCMU, "ulaw"), (Codec.PCMA, "alaw")])
def test_reference_audio_decodes_to_the_speech_it_was_made_of(codec: Codec, name: str) -> None:
    with (GOLDEN / "speech.wav").open("rb") as file:
        speech = to_samples(read_mono(file)).astype(float)
    reference = (GOLDEN / f"speech.{name}").read_bytes()
    error = to_samples(g711.decode(reference, codec)) - speech
    assert 10 * np.log10((speech @ speech) / (error @ error)) > 36


@pytest.mark.parametrize(("codec", "name"), [(Codec.PCMU, "ulaw"), (Codec.PCMA, "alaw")])
def test_reference_audio_is_encoded_as_the_reference_does(codec: Codec, name: str) -> None:
    reference = (GOLDEN / f"speech.{name}").read_bytes()
    assert g711.encode(g711.decode(reference, codec), codec) == reference
    with (GOLDEN / "speech.wav").open("rb") as file:
        ours = g711.encode(read_mono(file), codec)
    # One step apart at most: sox rounds at the edges between steps.
    ranks = np.unique(to_samples(g711.decode(CODES, codec)), return_inverse=True)[1]
    apart = ranks[np.frombuffer(ours, np.uint8)] - ranks[np.frombuffer(reference, np.uint8)]
    assert len(ours) == len(reference)
    assert np.abs(apart).max() <= 1


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA])
def test_batches_give_what_packets_give(codec: Codec) -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16).reshape(256, 256)
    codes = g711.encode_batch(samples, codec)
    assert codes.tobytes() == g711.encode(samples.tobytes(), codec)
    decoded = g711.decode_batch(codes, codec)
    assert decoded.shape == samples.shape
    assert decoded.tobytes() == g711.decode(codes.tobytes(), codec)


def test_transcoding_goes_through_the_nearest_code() -> None:
    through_pcm = g711.pcm_to_ulaw(g711.alaw_to_pcm(CODES))
    assert g711.alaw_to_ulaw(CODES) == through_pcm
    assert g711.ulaw_to_alaw(CODES) == g711.pcm_to_alaw(g711.ulaw_to_pcm(CODES))


def test_l16_is_big_endian_on_the_wire() -> None:
    assert g711.decode(b"\x01\x02", Codec.L16) == b"\x02\x01"
    assert g711.encode(b"\x02\x01", Codec.L16) == b"\x01\x02"


@pytest.mark.parametrize("codec", Codec)
def test_half_a_sample_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        g711.encode(b"abc", codec)
