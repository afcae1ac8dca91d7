"""The embedded synthesizer: eSpeak NG, by ctypes, in a hundred languages.

It is formant synthesis: clear, robotic, and a thousand times faster than real time, so the first
audio is there within a millisecond. The library keeps one global state and is not thread-safe:
every sentence of the process goes through one thread (`Engine`), where it spends a few ms.

API: eSpeak NG `speak_lib.h`, revision 12. The package `espeakng-loader` brings library and voices.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import espeakng_loader
from pydantic import Field

from workers.ports import Ask, ProviderError
from workers.providers.options import Options, parse

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: audio by callback, in the thread that asks
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report errors instead of ending the process
_UTF8 = 1  # espeakCHARS_UTF8; without espeakSSML a "<" is only a "<"
_BY_CHARACTER = 1  # POS_CHARACTER
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
#: Audio per callback, ms.
_PIECE_MS = 40

#: Takes a piece of audio; returns False when no more is wanted.
Deliver = Callable[[bytes], bool]

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class ESpeakOptions(Options):
    """`tts.options` in agents.yaml."""

    #: Words per minute.
    rate: int = Field(default=170, ge=80, le=450)
    #: 0..100; 50 is the voice's own.
    pitch: int = Field(default=50, ge=0, le=100)
    #: Used when the agent names no voice; "" chooses by its language.
    voice: str = ""
    #: Give audio so many times faster than it is spoken: the pace of a service, for trying things
    #: out. 0: at once.
    pace: float = Field(default=0.0, ge=0, le=100)


@dataclass(frozen=True, slots=True)
class Voice:
    """How a sentence is to be spoken."""

    name: str
    rate: int = 170
    pitch: int = 50


class Engine:
    """The library, and the one thread that may touch it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="espeak")
        self._voice: Voice | None = None
        self._deliver: Deliver = lambda _: False
        self._callback = _Callback(self._take)  # kept: the library holds only its address
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        #: Hz of what it speaks.
        self.sample_rate: int = self._thread.submit(self._start).result()

    def has_voice(self, name: str) -> bool:
        """Does it know this voice or language? Blocks for about a millisecond."""
        return self._thread.submit(self._choose, Voice(name)).result()

    def say(self, text: str, voice: Voice, deliver: Deliver) -> Future[None]:
        """Speak `text`, piece by piece, to `deliver`, which is called in the engine's thread."""
        return self._thread.submit(self._speak, text, voice, deliver)

    def _start(self) -> int:
        data = espeakng_loader.get_data_path().encode()
        rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, _PIECE_MS, data, _DONT_EXIT))
        if rate <= 0:
            raise ProviderError("espeak-ng does not start; reinstall the package espeakng-loader")
        self._library.espeak_SetSynthCallback(self._callback)
        return rate

    def _choose(self, voice: Voice) -> bool:
        if voice == self._voice:
            return True
        self._voice = None
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            return False
        self._library.espeak_SetParameter(_RATE, voice.rate, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        self._voice = voice
        return True

    def _speak(self, text: str, voice: Voice, deliver: Deliver) -> None:
        if not self._choose(voice):
            raise ProviderError(f"espeak-ng has no voice {voice.name!r}", error_type="refused")
        self._deliver = deliver
        spoken = text.replace("\0", " ").encode()
        error = self._library.espeak_Synth(
            spoken, ctypes.c_size_t(len(spoken) + 1), 0, _BY_CHARACTER, 0, _UTF8, None, None
        )
        if error != 0:
            raise ProviderError(f"espeak-ng could not speak this sentence (error {error})")

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        # The library's rule: 1 ends the synthesis, 0 goes on. A null pointer is its end.
        if not samples or count <= 0:
            return 0
        return 0 if self._deliver(ctypes.string_at(samples, 2 * count)) else 1


@functools.cache
def engine() -> Engine:
    """The process's engine, started when it is first asked for."""
    return Engine()


class ESpeakSynthesizer:
    """Speaks with one voice; any number of sentences at once, one after the other inside."""

    def __init__(self, voice: Voice, pace: float = 0.0) -> None:
        self._voice = voice
        self._pace = pace
        self.sample_rate = engine().sample_rate

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        """Say a sentence, in pieces of 40 ms that come as they are made."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        unwanted = threading.Event()

        def deliver(pcm: bytes) -> bool:
            if unwanted.is_set():
                return False
            loop.call_soon_threadsafe(pieces.put_nowait, pcm)
            return True

        def end(_: Future[None]) -> None:
            if not unwanted.is_set():
                loop.call_soon_threadsafe(pieces.put_nowait, None)

        spoken = engine().say(text, self._voice, deliver)
        spoken.add_done_callback(end)
        try:
            while (piece := await pieces.get()) is not None:
                if self._pace:
                    await asyncio.sleep(len(piece) / 2 / self.sample_rate / self._pace)
                yield piece
            spoken.result()
        finally:
            unwanted.set()
            spoken.cancel()

    async def close(self) -> None:
        """The engine stays: it belongs to the process."""


def synthesizer(ask: Ask) -> ESpeakSynthesizer:
    """The factory named in the entry points.

    The agent's `voice` is one of eSpeak NG's (`en-us`, `hi`, `en-us+f3`, ...); without one there or
    in the options it is chosen by the agent's language.

    Raises:
        ProviderError: an option is wrong, or there is no such voice.
    """
    options = parse(ESpeakOptions, ask.options, where=f"agent {ask.agent.name!r}: tts.options")
    language = ask.agent.language.lower()
    voice = ask.agent.voice or options.voice
    wanted = [voice] if voice else [language, language.partition("-")[0]]
    for name in wanted:
        if engine().has_voice(name):
            return ESpeakSynthesizer(Voice(name, options.rate, options.pitch), options.pace)
    raise ProviderError(
        f"agent {ask.agent.name!r}: espeak-ng has no voice {wanted[0]!r}: take one that "
        "`espeak-ng --voices` lists, like en-us or hi, or leave `voice` out",
        error_type="refused",
    )
