"""What a call's frames are: the caller's speech, or the agent's echo, noise, silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from bus.audio import SILENT, InFrame
from calls.agent import Agent
from media import g711
from media.echo import EchoGate
from media.evidence import Evidence
from media.frames import FRAME_SAMPLES
from media.vad import Vad, VadUnavailableError, vad_of

_log = structlog.get_logger(__name__)
#: Speech that begins so soon after the agent's last sample speaks over it. In samples.
_OVER: Final = 10 * FRAME_SAMPLES


class Ear(Protocol):
    """Tells the caller's speech from all else. One per call: it has a memory."""

    def hear(self, frame: InFrame) -> tuple[bytes, bool]:
        """The frame's audio, 20 ms of PCM at 8000 Hz, and whether the caller speaks in it."""
        ...

    def begin(self) -> None:
        """An utterance has begun: what `is_noise` says is of the frames from here on."""
        ...

    @property
    def is_noise(self) -> bool:
        """Was too little of the utterance speech, whatever words a transcriber finds in it?"""
        ...

    def over_agent(self, position: int) -> bool:
        """Was the agent speaking when the caller began, at `position` (samples)?"""
        ...


@dataclass(slots=True)
class PhoneEar:
    """The ear for a telephone line."""

    vad: Vad
    echo: EchoGate | None
    evidence: Evidence
    _agent_until: int = -_OVER

    @classmethod
    def of(cls, agent: Agent) -> PhoneEar:
        return cls(
            _vad(agent),
            EchoGate() if agent.interruption.echo else None,
            Evidence(),
        )

    def hear(self, frame: InFrame) -> tuple[bytes, bool]:
        pcm = g711.decode(frame.payload, frame.codec)
        if frame.agent_level != SILENT:
            self._agent_until = frame.position + FRAME_SAMPLES
        voice = speech = self.vad.is_speech(pcm)
        if self.echo is not None:
            # The gate learns from every frame, speech or not.
            speech = self.echo.may_be_caller(pcm, frame.agent_level) and voice
        # Over the agent the gate lets only the loud middle of a word through. By that alone, whose
        # level hardly moves, a "no" would be noise.
        self.evidence.add(pcm, voice, self.vad.probability)
        return pcm, speech

    def begin(self) -> None:
        self.evidence.reset()

    @property
    def is_noise(self) -> bool:
        return not self.evidence.enough

    def over_agent(self, position: int) -> bool:
        return position - self._agent_until < _OVER


def _vad(agent: Agent) -> Vad:
    try:
        return vad_of(agent.endpointing.vad)
    except VadUnavailableError as error:
        _log.warning("asr.vad_unavailable", wanted=agent.endpointing.vad, error=str(error))
        return vad_of("webrtc")
