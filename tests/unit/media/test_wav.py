from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.frames import to_samples
from media.g711 import pcm_to_alaw, pcm_to_ulaw
from media.mixing import interleave
from media.wav import StereoWriter, WavError, read_channels, read_mono, write_mono

RAMP = np.array([0, 256, -256, 32512, -32768], dtype=np.int16)


def wav(code: int, bits: int, body: bytes, channels: int = 1, rate: int = 8000) -> io.BytesIO:
    block = channels * bits // 8
    layout = struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + layout + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return io.BytesIO(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


BODIES = {
    (1, 8): (RAMP // 256 + 128).astype(np.uint8).tobytes(),
    (1, 16): RAMP.tobytes(),
    (1, 24): b"".join(b"\0" + sample.tobytes() for sample in RAMP),
    (1, 32): (RAMP.astype("<i4") << 16).tobytes(),
    (3, 32): (RAMP / 32768).astype("<f4").tobytes(),
    (3, 64): (RAMP / 32768).astype("<f8").tobytes(),
}


@pytest.mark.parametrize(("code", "bits"), BODIES)
def test_every_width_reads_as_the_same_samples(code: int, bits: int) -> None:
    assert to_samples(read_mono(wav(code, bits, BODIES[code, bits]))).tolist() == RAMP.tolist()


def test_g711_files_are_read() -> None:
    ulaw = read_mono(wav(7, 8, pcm_to_ulaw(RAMP.tobytes())))
    alaw = read_mono(wav(6, 8, pcm_to_alaw(RAMP.tobytes())))
    assert to_samples(ulaw).tolist() == pytest.approx(RAMP.tolist(), rel=0.04, abs=8)
    assert to_samples(alaw).tolist() == pytest.approx(RAMP.tolist(), rel=0.04, abs=8)


def test_the_extensible_header_is_read() -> None:
    guid_tail = bytes.fromhex("000000001000800000aa00389b71")
    layout = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 16000, 2, 16, 22, 16, 4)
    layout += b"\x01\x00" + guid_tail
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", 10) + RAMP.tobytes()
    file = io.BytesIO(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    assert read_mono(file) == RAMP.tobytes()


def test_channels_are_averaged_and_the_rate_is_converted() -> None:
    left = np.full(2400, 1000, dtype=np.int16)
    right = np.full(2400, 3000, dtype=np.int16)
    file = wav(1, 16, interleave(left, right).tobytes(), channels=2, rate=24000)
    heard = to_samples(read_mono(file))
    assert len(heard) == 800
    assert heard[100:-100].tolist() == pytest.approx([2000] * 600, abs=1)


def test_a_recording_keeps_both_sides_aligned_to_the_sample() -> None:
    file = io.BytesIO()
    with StereoWriter(file) as writer:
        writer.write(np.array([1, 2, 3], np.int16), np.array([-1], np.int16))
        writer.write(np.array([4], np.int16), np.array([-4, -5], np.int16))
    file.seek(0)
    with wave.open(file) as reader:
        assert (reader.getnchannels(), reader.getsampwidth(), reader.getframerate()) == (2, 2, 8000)
        pairs = to_samples(reader.readframes(reader.getnframes())).reshape(-1, 2)
    assert pairs.tolist() == [[1, -1], [2, 0], [3, 0], [4, -4], [0, -5]]


def test_what_we_write_we_read() -> None:
    file = io.BytesIO()
    write_mono(file, RAMP.tobytes(), 8000)
    file.seek(0)
    assert read_mono(file) == RAMP.tobytes()


def test_a_recording_still_being_written_gives_what_is_there() -> None:
    whole = wav(1, 16, RAMP.tobytes()).getvalue()
    assert read_mono(io.BytesIO(whole[:-3])) == RAMP[:3].tobytes()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a RIFF"),
        (b"OggS" + bytes(40), "not a RIFF"),
        (b"RIFF\0\0\0\0WAVE", "no audio data"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "before its format"),
        (b"RIFF\0\0\0\0WAVEfmt \x02\0\0\0\x01\0", "cut short"),
        (wav(1, 16, b"", channels=0).getvalue(), "0 channels"),
        (wav(0x55, 16, b"").getvalue(), "format 85"),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, why: str) -> None:
    with pytest.raises(WavError, match=why):
        read_mono(io.BytesIO(data))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_wav_errors(body: bytes) -> None:
    for data in (body, b"RIFF\0\0\0\0WAVE" + body, b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + body):
        try:
            samples, rate = read_channels(io.BytesIO(data))
        except WavError:
            continue
        assert samples.ndim == 2
        assert rate > 0
