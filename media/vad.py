"""Is there speech in this frame?

`vad_of` makes a detector by the name that agents.yaml uses. Silero's (media/silero.py) is the
default and the best judge in noise; WebRTC's is cheap and the best in quiet; `EnergyVad` needs
nothing but this package and is the poorest. All speak of one frame only; what makes a turn out of
frames is the business of turn-taking. `WithoutHangover` makes the first two let go of speech when
the speech ends. The figures of each: bench/VAD.md.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from media.frames import FRAME_BYTES, SAMPLE_RATE
from media.g711 import rms
from media.lowest import Lowest

Kind = Literal["silero", "webrtc", "energy"]


class Vad(Protocol):
    """Judges consecutive frames of one stream; keeps state, so one instance a stream."""

    @property
    def probability(self) -> float:
        """Of speech in the frame judged last: 0 to 1, and nothing between where it cannot tell."""
        ...

    def is_speech(self, frame_pcm: bytes) -> bool:
        """Whether this PCM frame (20 ms, 320 bytes) holds speech. ValueError for any other size."""
        ...


class VadUnavailableError(RuntimeError):
    """The VAD asked for is not installed: install the extra it names, or choose another."""


def vad_of(kind: Kind) -> Vad:
    """A new detector for one stream. Raises VadUnavailableError if its package is missing."""
    match kind:
        case "silero":
            from media.silero import SileroVad  # noqa: PLC0415  (it is made of what is here)

            return WithoutHangover(SileroVad(gate=WebRtcVad(2)))
        case "webrtc":
            return WithoutHangover(WebRtcVad())
        case "energy":
            return EnergyVad()


class WebRtcVad:
    """The detector of the WebRTC project, by the package webrtcvad-wheels."""

    def __init__(self, mode: int = 3) -> None:
        """`mode` 0 to 3: from letting doubtful frames through to holding them back.

        Raises VadUnavailableError without the package, ValueError for another mode.
        """
        try:
            import webrtcvad  # noqa: PLC0415  (optional: only who chooses it needs it)
        except ImportError as missing:
            raise VadUnavailableError(
                "webrtcvad is missing; it comes with an extra: pip install trunkline[embedded]"
            ) from missing
        if mode not in range(4):
            raise ValueError(f"mode is 0 to 3, not {mode}")
        self._vad = webrtcvad.Vad(mode)
        self.probability = 0.0

    def is_speech(self, frame_pcm: bytes) -> bool:
        speech = bool(self._vad.is_speech(checked(frame_pcm), SAMPLE_RATE))
        self.probability = float(speech)
        return speech


class EnergyVad:
    """Speech is what stands out of the noise floor.

    The floor falls at once to a quieter frame and rises by about 3 dB a second, so that speech
    does not lift it and a new noise is learnt in a few seconds.
    """

    _RATIO: Final = 3.5  # of amplitudes: 11 dB over the floor
    _RISE: Final = 1.007  # a frame: 3 dB a second
    _LEAST: Final = 40  # of 32768 (-58 dBov): line noise and G.711's own steps stay below
    _MOST_FLOOR: Final = 2000

    def __init__(self) -> None:
        self._floor = float(self._LEAST)
        self.probability = 0.0

    def is_speech(self, frame_pcm: bytes) -> bool:
        level = rms(checked(frame_pcm))
        self._floor = min(max(level, self._LEAST), self._floor * self._RISE, self._MOST_FLOOR)
        speech = level > self._RATIO * self._floor
        self.probability = float(speech)
        return speech


class WithoutHangover:
    """A detector that no longer hears speech once the level has fallen away under it.

    WebRTC's goes on for 60 to 120 ms after the last sample of speech, and whoever waits for a
    silence waits for that too. So a frame that it calls speech is not when both hold:

    - it is 35 dB below the loudest frame since the detector last heard none: the softest fricative
      is seldom below that, and noise less than about 30 dB below the speech never is;
    - it is within 8 dB of the quietest frame of the last 2 s: the end of a long vowel is not.

    In such noise, then, the detector decides alone. So it does at an onset, whose own frames are
    the loudest yet. What this does to hangover and to false ends: bench/VAD.md.
    """

    _FALLEN: Final = 1 / 56  # of amplitudes: -35 dB
    _NEAR: Final = 2.5  # of amplitudes: 8 dB
    _WINDOW: Final = 100  # frames
    _LEAST: Final = 8  # of 32768 (-72 dBov): G.711's smallest steps are one quiet

    def __init__(self, vad: Vad) -> None:
        self._vad = vad
        self._recent = Lowest(self._WINDOW)
        self._loudest = 0

    @property
    def probability(self) -> float:
        return self._vad.probability

    def is_speech(self, frame_pcm: bytes) -> bool:
        speech = self._vad.is_speech(checked(frame_pcm))
        level = rms(frame_pcm)
        quietest = self._recent.add(level)
        if not speech:
            self._loudest = 0
            return False
        self._loudest = max(self._loudest, level)
        return level >= self._FALLEN * self._loudest or level >= self._NEAR * max(
            self._LEAST, quietest
        )


def checked(frame_pcm: bytes) -> bytes:
    """The frame itself. Raises ValueError for any size but FRAME_BYTES."""
    if len(frame_pcm) != FRAME_BYTES:
        raise ValueError(f"a frame is {FRAME_BYTES} bytes of PCM, not {len(frame_pcm)}")
    return frame_pcm
