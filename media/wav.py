"""WAV files: stereo recordings out, any common WAV in.

The reader is our own because the standard library's refuses what callers bring: mu-law and A-law,
floating point, and (before Python 3.12) the extensible header that sox writes for 24 bits.
Sources: the RIFF/WAVE description of IBM and Microsoft (1991), RFC 2361 for the format codes.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from media.frames import SAMPLE_BYTES, SAMPLE_RATE, Codec, Samples, to_pcm
from media.g711 import decode_batch
from media.mixing import interleave
from media.resample import resample


class WavError(ValueError):
    """The file is no WAV that we can read; the message says what it is instead."""


class StereoWriter:
    """Writes a 16-bit stereo WAV piece by piece; left and right stay aligned to the sample.

    Give it a seekable binary file: closing writes the length into the header. The file itself
    stays open, it is the caller's.
    """

    def __init__(self, file: BinaryIO, rate: int = SAMPLE_RATE) -> None:
        self._wave = wave.open(file, "wb")  # noqa: SIM115  (closed by close)
        self._wave.setnchannels(2)
        self._wave.setsampwidth(SAMPLE_BYTES)
        self._wave.setframerate(rate)

    def write(self, left: Samples, right: Samples) -> None:
        """Append one piece of both sides; the shorter side is followed by silence."""
        self._wave.writeframes(to_pcm(interleave(left, right)))

    def close(self) -> None:
        self._wave.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def write_mono(file: BinaryIO, pcm: bytes, rate: int = SAMPLE_RATE) -> None:
    """Write PCM as a 16-bit mono WAV."""
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(SAMPLE_BYTES)
        output.setframerate(rate)
        output.writeframes(pcm)


def read_channels(file: BinaryIO) -> tuple[NDArray[np.float64], int]:
    """Read a WAV: samples of shape (frames, channels) in -32768..32767, and the rate in Hz.

    Understands 8, 16, 24 and 32-bit integers, 32 and 64-bit floats, mu-law and A-law.
    A data chunk that is cut short (a recording still being written) gives what is there.
    Raises WavError.
    """
    data = file.read()
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise WavError("not a RIFF/WAVE file")
    layout: tuple[int, int, int, int] | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if name == b"fmt ":
            layout = _layout(body)
        elif name == b"data":
            if layout is None:
                raise WavError("the data comes before its format")
            return _samples(body, *layout)
        at += 8 + size + size % 2  # chunks are padded to even length
    raise WavError("no audio data in the file")


def read_mono(file: BinaryIO, rate: int = SAMPLE_RATE) -> bytes:
    """Read a WAV as mono PCM at `rate` Hz: channels averaged, resampled. Raises WavError."""
    channels, file_rate = read_channels(file)
    return resample(to_pcm(channels.mean(axis=1)), file_rate, rate)


def _layout(body: bytes) -> tuple[int, int, int, int]:
    """(format code, channels, rate, bits) of a fmt chunk."""
    if len(body) < 16:
        raise WavError("the format chunk is cut short")
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE:
        if len(body) < 26:
            raise WavError("the extensible format chunk is cut short")
        code = int.from_bytes(body[24:26], "little")  # the sub-format's first two bytes
    if not channels or not rate:
        raise WavError(f"{channels} channels at {rate} Hz")
    return code, channels, rate, bits


def _samples(
    body: bytes, code: int, channels: int, rate: int, bits: int
) -> tuple[NDArray[np.float64], int]:
    decoder = _DECODERS.get((code, bits))
    if decoder is None:
        raise WavError(f"format {code} with {bits} bits is not supported")
    block = channels * bits // 8
    flat = decoder(body[: len(body) // block * block])
    return flat.astype(np.float64).reshape(-1, channels), rate


def _int24(body: bytes) -> NDArray[Any]:
    triples = np.frombuffer(body, dtype=np.uint8).reshape(-1, 3)
    padded = np.zeros((len(triples), 4), dtype=np.uint8)
    padded[:, 1:] = triples
    return padded.view("<i4").reshape(-1) / 2**16


_EXTENSIBLE: Final = 0xFFFE
_PCM, _FLOAT, _ALAW, _MULAW = 1, 3, 6, 7

_DECODERS: Final[dict[tuple[int, int], Callable[[bytes], NDArray[Any]]]] = {
    (_PCM, 8): lambda body: (np.frombuffer(body, dtype=np.uint8) - 128.0) * 256,
    (_PCM, 16): lambda body: np.frombuffer(body, dtype="<i2"),
    (_PCM, 24): _int24,
    (_PCM, 32): lambda body: np.frombuffer(body, dtype="<i4") / 2**16,
    (_FLOAT, 32): lambda body: np.nan_to_num(np.frombuffer(body, dtype="<f4")) * 32768.0,
    (_FLOAT, 64): lambda body: np.nan_to_num(np.frombuffer(body, dtype="<f8")) * 32768.0,
    (_ALAW, 8): lambda body: decode_batch(np.frombuffer(body, dtype=np.uint8), Codec.PCMA),
    (_MULAW, 8): lambda body: decode_batch(np.frombuffer(body, dtype=np.uint8), Codec.PCMU),
}
