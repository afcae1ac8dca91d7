"""Smart Turn v3: whether a turn is over, by how its last seconds sound. A model file by its path.

Input `input_features` float32 [B, 80, 800]: the last 8 s at 16 kHz, zeros before them, as Whisper's
log-mel spectrogram of the waveform at zero mean and unit variance. Its first output is already a
probability. About 8 MB; one thread of its own, so that neither the calls nor each other wait for it
in the event loop.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from media.frames import SAMPLE_RATE, to_samples
from media.resample import Resampler
from media.whisper_features import RATE, Features, log_mel, normalized

_SECONDS: Final = 8
_INPUT: Final = "input_features"


class SmartTurnError(RuntimeError):
    """The model cannot be used: the message names the file, or the package to install."""


class Session(Protocol):
    """What we need of an `onnxruntime.InferenceSession`."""

    def run(self, output_names: None, inputs: dict[str, Features]) -> Any: ...


class SmartTurn:
    """One model in memory. Any number of calls; one at a time runs."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="smart-turn")

    @classmethod
    def load(cls, path: str) -> SmartTurn:
        """Read the model.

        Raises:
            SmartTurnError
        """
        if not Path(path).is_file():
            raise SmartTurnError(f"endpointing.smart_turn: there is no file {path!r}")
        try:
            import onnxruntime  # noqa: PLC0415  (optional: only who names a model needs it)
        except ImportError as missing:
            raise SmartTurnError(
                "endpointing.smart_turn needs an extra: pip install trunkline[smart-turn]"
            ) from missing
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise SmartTurnError(f"{path!r} is no model for onnxruntime: {error}") from error
        if [each.name for each in session.get_inputs()] != [_INPUT]:
            raise SmartTurnError(f"{path!r} is no Smart Turn v3 model: its input is not {_INPUT}")
        return cls(session)

    async def probability(self, pcm: bytes) -> float:
        """How likely the turn is complete, 0..1, whose last seconds these are: PCM at 8000 Hz.

        Raises:
            SmartTurnError
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._probability, pcm)

    def _probability(self, pcm: bytes) -> float:
        try:
            outputs = self._session.run(None, {_INPUT: features(pcm)[np.newaxis]})
            return float(np.asarray(outputs[0]).reshape(-1)[0])
        except Exception as error:  # onnxruntime has no error type of its own in public
            raise SmartTurnError(f"the model failed: {error}") from error


def features(pcm: bytes) -> Features:
    """The model's input for PCM at 8000 Hz: float32 [80, 800]."""
    last = pcm[-_SECONDS * SAMPLE_RATE * 2 :]
    resampler = Resampler(SAMPLE_RATE, RATE)
    heard = to_samples(resampler.process(last) + resampler.flush()).astype(np.float64) / 32768
    heard = heard[-_SECONDS * RATE :]
    return log_mel(normalized(np.pad(heard, (_SECONDS * RATE - len(heard), 0))))
