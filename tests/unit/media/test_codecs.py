"""Every codec both ways with real speech, and against what another program made of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codec import PayloadError
from media.correlate import find
from media.encoding import Encoding
from media.frames import samples_in, to_pcm, to_samples
from media.opus import duration_ms
from media.wav import read_mono

GOLDEN = Path(__file__).parents[2] / "golden" / "audio"
#: The cosine with the original: Opus is no waveform coder.
NEAR = {Encoding.PCMU: 0.99, Encoding.PCMA: 0.99, Encoding.G722: 0.999, Encoding.OPUS: 0.86}
#: From PCM to PCM, ms: the codec's own filters and two resamplers, or one.
DELAY_MS = {Encoding.PCMU: 0.0, Encoding.PCMA: 0.0, Encoding.G722: 5.4, Encoding.OPUS: 8.4}


def speech() -> bytes:
    with (GOLDEN / "speech.wav").open("rb") as file:
        return read_mono(file)


def golden_payloads(encoding: Encoding) -> list[bytes]:
    if encoding is Encoding.OPUS:
        with av.open(str(GOLDEN / "speech.opus")) as ogg:
            return [bytes(packet) for packet in ogg.demux(audio=0) if packet.size]
    name = {Encoding.PCMU: "ulaw", Encoding.PCMA: "alaw", Encoding.G722: "g722"}[encoding]
    data = (GOLDEN / f"speech.{name}").read_bytes()
    return [data[at : at + 160] for at in range(0, len(data), 160)]


@pytest.mark.parametrize(
    ("encoding", "ptime_ms"),
    [
        (encoding, ptime_ms)
        for encoding in Encoding
        for ptime_ms in (10, 20, 30, 40, 60)
        if (encoding, ptime_ms) != (Encoding.OPUS, 30)  # it has no frames of 30 ms
    ],
)
def test_speech_survives_both_ways(encoding: Encoding, ptime_ms: int) -> None:
    encoder, decoder = encoding.encoder(ptime_ms), encoding.decoder()
    size, heard = samples_in(ptime_ms) * 2, b""
    pcm = speech()
    for at in range(0, len(pcm) - size + 1, size):
        payload = encoder.encode(pcm[at : at + size])
        assert decoder.samples(payload) * 2 == size
        decoded = decoder.decode(payload)
        assert len(decoded) == size  # from the first one on
        heard += decoded
    match = find(to_samples(pcm)[8000:24000], to_samples(heard))
    assert match.peak > NEAR[encoding]
    assert (match.lag - 8000) / 8 == pytest.approx(DELAY_MS[encoding], abs=0.15)


@pytest.mark.parametrize("encoding", Encoding)
def test_what_another_program_encoded_is_understood(encoding: Encoding) -> None:
    decoder = encoding.decoder()
    heard = b"".join(decoder.decode(payload) for payload in golden_payloads(encoding))
    assert find(to_samples(speech())[8000:24000], to_samples(heard)).peak > 0.98


@pytest.mark.parametrize("encoding", [Encoding.G722, Encoding.OPUS])
def test_no_click_where_payloads_meet(encoding: Encoding) -> None:
    time = np.arange(16000) / 8000
    pcm = to_pcm(8000 * np.sin(2 * np.pi * 400 * time))
    encoder, decoder = encoding.encoder(20), encoding.decoder()
    heard = b"".join(
        decoder.decode(encoder.encode(pcm[at : at + 320])) for at in range(0, 32000, 320)
    )
    steps = np.abs(np.diff(to_samples(heard)[1600:].astype(float)))
    steepest = 8000 * 2 * np.pi * 400 / 8000
    assert steps.max() < 1.15 * steepest


@pytest.mark.parametrize(
    ("payload", "duration"),
    [
        (bytes([0 << 3]), 10),
        (bytes([1 << 3]), 20),
        (bytes([3 << 3]), 60),
        (bytes([3 << 3 | 1]), 120),
        (bytes([13 << 3 | 2]), 40),
        (bytes([16 << 3]), 2.5),
        (bytes([31 << 3 | 3, 6]), 120),
        (bytes([16 << 3 | 3, 0x80 | 48]), 120),
    ],
)
def test_the_length_of_an_opus_payload_stands_in_front(payload: bytes, duration: float) -> None:
    assert duration_ms(payload) == duration


@pytest.mark.parametrize(
    "payload", [b"", bytes([3]), bytes([3, 0]), bytes([3 << 3 | 3, 3]), bytes([19 << 3 | 3, 49])]
)
def test_no_opus_payload(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        Encoding.OPUS.decoder().samples(payload)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("duration", ["2.5", "5", "10", "20", "40", "60"])
def test_every_frame_of_opus_comes_out_at_its_length(duration: str, channels: int) -> None:
    context = av.CodecContext.create("libopus", "w")
    layout = "mono" if channels == 1 else "stereo"
    context.sample_rate, context.layout, context.format = 48000, layout, "s16"
    context.options = {"frame_duration": duration, "application": "audio"}
    count = int(float(duration) * 48)
    decoder, heard = Encoding.OPUS.decoder(), b""
    for number in range(20):
        time = (number * count + np.arange(count)) / 48000
        wave = (8000 * np.sin(2 * np.pi * 400 * time)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            np.repeat(wave, channels)[None, :], format="s16", layout=layout
        )
        frame.sample_rate, frame.pts = 48000, number * count
        for packet in context.encode(frame):
            heard += decoder.decode(bytes(packet))
            assert len(heard) == 2 * samples_in(float(duration)) * (number + 1)
    tone = to_samples(heard)[200:].astype(float)
    if duration not in ("2.5", "5"):  # of which twenty are mostly the codec's beginning
        assert np.sqrt(np.mean(tone**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)


def test_after_what_is_no_payload_the_stream_goes_on() -> None:
    decoder = Encoding.OPUS.decoder()
    payloads = golden_payloads(Encoding.OPUS)
    heard = b""
    for number, payload in enumerate(payloads):
        if number == 50:
            with pytest.raises(PayloadError):
                decoder.decode(bytes([0x49, 1, 2, 3]))
            with pytest.raises(PayloadError):
                decoder.decode(b"")
        heard += decoder.decode(payload)
    assert find(to_samples(speech())[8000:24000], to_samples(heard)).peak > 0.98


@given(st.sampled_from(Encoding), st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_a_payload_or_a_payload_error(
    encoding: Encoding, payloads: list[bytes]
) -> None:
    decoder = encoding.decoder()
    for payload in payloads:
        with suppress(PayloadError):
            due = decoder.samples(payload)
            assert 0 < due <= 960
            assert len(decoder.decode(payload)) == 2 * due
