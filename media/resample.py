"""A streaming sample-rate converter for any rational ratio.

A Kaiser-windowed sinc, split into one short filter per output phase (polyphase), run over numpy
windows. The filter reaches 16 samples of the slower rate to each side: at 8 kHz that is 2 ms, which
is also how much of the signal it holds back. With a rejection of 95 dB such a filter's edge is
about 1.5 kHz wide; it is placed so that whatever would fold below 85 % of Nyquist (3400 Hz, the
telephone band) is rejected in full.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from media.frames import SAMPLE_RATE, to_pcm, to_samples

REJECTION_DB: Final = 95.0
_REACH: Final = 16
"""Half the filter, in samples of the slower rate."""
_BAND: Final = 0.85
"""Fraction of Nyquist below which no alias may fall."""
_FEW_PHASES: Final = 8
_BLOCK: Final = 8

Floats = NDArray[np.float64]


class Resampler:
    """Converts one stream of mono 16-bit PCM from one rate to another.

    Output is aligned with the input: its sample n is the input at n * from_rate / to_rate, and a
    stream of N samples becomes ceil(N * to_rate / from_rate), the last few of them by `flush`.
    However the input is cut into chunks, even inside a sample, the output is the same to the bit.
    """

    def __init__(self, from_rate: int, to_rate: int = SAMPLE_RATE, *, even: bool = False) -> None:
        """Rates in Hz. Raises ValueError unless both are positive.

        `even`: a chunk gives at once as much as it holds, for the stream begins with the 16 samples
        of silence (of the slower rate) by which it is behind.
        """
        if from_rate <= 0 or to_rate <= 0:
            raise ValueError(f"cannot resample from {from_rate} Hz to {to_rate} Hz")
        divisor = gcd(from_rate, to_rate)
        self._even = even
        self._up = to_rate // divisor
        self._down = from_rate // divisor
        self._bank = _filter_bank(self._up, self._down)
        self._half = b""
        self._history: Floats = np.empty(0)
        self._position = 0  # of the next output, in 1/up input samples from the history's start
        self._taken = 0
        self._given = 0
        self._reset()

    def process(self, pcm: bytes) -> bytes:
        """Take the next bytes of the stream; give what can be said of the output by now."""
        data = self._half + pcm
        self._half = data[len(data) & ~1 :]
        if self._up == self._down:
            return data[: len(data) & ~1]
        fresh = to_samples(data[: len(data) & ~1])
        self._taken += len(fresh)
        return self._run(fresh.astype(np.float64))

    def flush(self) -> bytes:
        """End the stream: give the rest of the output, and stand ready for another stream."""
        if self._up == self._down:
            self._reset()
            return b""
        tail = self._run(np.zeros(self._bank.shape[1]))
        due = -(-self._taken * self._up // self._down) - (self._given - len(tail) // 2)
        self._reset()
        return tail[: due * 2]

    def _reset(self) -> None:
        self._half = b""
        taps = self._bank.shape[1]
        self._history = np.zeros(taps - 1 if self._even else taps // 2)
        self._position = 0
        self._taken = 0
        self._given = 0

    def _run(self, fresh: Floats) -> bytes:
        signal = np.concatenate((self._history, fresh))
        taps = self._bank.shape[1]
        room = len(signal) - taps + 1  # windows that fit
        count = max(0, -(-(room * self._up - self._position) // self._down)) if room > 0 else 0
        output = self._filter(signal, count) if count else np.empty(0)
        end = self._position + count * self._down
        consumed = min(end // self._up, len(signal))
        self._history = signal[consumed:]
        self._position = end - consumed * self._up
        self._given += count
        return to_pcm(output)

    def _filter(self, signal: Floats, count: int) -> Floats:
        if self._up <= _FEW_PHASES:
            output = np.empty(count)
            for first in range(min(self._up, count)):
                start, phase = divmod(self._position + first * self._down, self._up)
                outputs = -(-(count - first) // self._up)
                output[first :: self._up] = self._decimate(signal[start:], phase, outputs)
            return output
        starts, phases = np.divmod(self._position + np.arange(count) * self._down, self._up)
        windows = sliding_window_view(signal, self._bank.shape[1])[starts]
        summed: Floats = np.einsum("ij,ij->i", windows, self._bank[phases])
        return summed

    def _decimate(self, signal: Floats, phase: int, count: int) -> Floats:
        """One phase's filter at every `down`-th sample, _BLOCK outputs a row of one product."""
        matrix = _block_matrix(self._up, self._down, phase)
        rows, step = -(-count // _BLOCK), _BLOCK * self._down
        missing = (rows - 1) * step + len(matrix) - len(signal)
        if missing > 0:
            signal = np.concatenate((signal, np.zeros(missing)))
        # What sliding_window_view gives, at a tenth of its price.
        windows: Floats = np.ndarray(
            (rows, len(matrix)), signal.dtype, signal, strides=(step * signal.itemsize, 8)
        )
        outputs: Floats = (windows @ matrix).reshape(-1)[:count]
        return outputs


def resample(pcm: bytes, from_rate: int, to_rate: int = SAMPLE_RATE) -> bytes:
    """Resample a whole recording."""
    resampler = Resampler(from_rate, to_rate)
    return resampler.process(pcm) + resampler.flush()


@lru_cache(maxsize=32)
def _filter_bank(up: int, down: int) -> Floats:
    """One filter per output phase: shape (up, taps), each row ready to multiply a window.

    Coefficients are rounded to multiples of 2**-30. A 16-bit sample times such a number, summed
    over a filter, fits the 53 bits of a double, so every sum is exact in whatever order BLAS takes
    it: that is what makes the output independent of the chunks.
    """
    slower = max(up, down)
    half = -(-_REACH * slower // up)  # reach in input samples
    taps = 2 * half + 1
    width = (REJECTION_DB - 7.95) / (14.36 * 2 * _REACH)  # Kaiser's estimate, of the slower rate
    cutoff = (1 - _BAND / 2 - width / 2) * up / slower  # of the input rate, at -6 dB
    phase = np.arange(up)[:, None] / up
    time = np.arange(taps)[None, :] - half - phase  # distance to the output, in input samples
    reach = _REACH * slower / up
    beta = 0.1102 * (REJECTION_DB - 8.7)
    window = np.i0(beta * np.sqrt(np.clip(1 - (time / reach) ** 2, 0, None))) / np.i0(beta)
    window[np.abs(time) > reach] = 0
    bank = 2 * cutoff * np.sinc(2 * cutoff * time) * window
    bank /= bank.sum(axis=1, keepdims=True)
    exact: Floats = np.rint(bank * 2**30) / 2**30
    exact.setflags(write=False)
    return exact


@lru_cache(maxsize=64)
def _block_matrix(up: int, down: int, phase: int) -> Floats:
    """A phase's filter as a matrix that makes _BLOCK outputs, `down` samples apart, of one window.

    Shape (taps + (_BLOCK - 1) * down, _BLOCK): each column is the filter, `down` rows further.
    """
    taps = _filter_bank(up, down)[phase]
    matrix = np.zeros((len(taps) + (_BLOCK - 1) * down, _BLOCK))
    for column in range(_BLOCK):
        matrix[column * down : column * down + len(taps), column] = taps
    matrix.setflags(write=False)
    return matrix
