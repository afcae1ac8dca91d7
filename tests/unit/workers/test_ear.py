"""The ear: what of a line is the caller's speech."""

from __future__ import annotations

import numpy as np

from bus.audio import SILENT, InFrame
from calls.agent import Agent
from media import g711
from media.frames import FRAME_SAMPLES, Codec
from workers.asr.ear import PhoneEar

#: A word of one syllable: it rises, stays, and falls. Amplitudes of a tone, of 32768.
WORD = (300, 900, 2500, *[12_000] * 8, 3000, 1000, 350)


class Detector:
    """Hears speech in all that sounds."""

    probability = 1.0

    def is_speech(self, pcm: bytes) -> bool:
        return g711.rms(pcm) > 100


def heard(agent_level: int) -> tuple[PhoneEar, list[bool]]:
    """An ear after that word, said while the agent plays (-dBov), and which frames were speech."""
    ear = PhoneEar.of(Agent(name="desk"))
    ear.vad = Detector()
    tone = np.sin(np.arange(FRAME_SAMPLES) * 0.4)
    speech = []
    ear.begin()
    for seq, amplitude in enumerate((*[0] * 20, *WORD)):
        ulaw = g711.pcm_to_ulaw((tone * amplitude).astype("<i2").tobytes())
        speech.append(ear.hear(InFrame(seq, 0, Codec.PCMU, ulaw, False, agent_level))[1])
    return ear, speech[20:]


def test_a_short_word_is_speech_over_the_agent_as_in_silence():
    """The echo gate holds its soft edges back; what is left alone has the even level of a hum."""
    alone, all_of_it = heard(SILENT)
    over, middle = heard(8)
    assert sum(middle) < sum(all_of_it)
    assert not alone.is_noise
    assert not over.is_noise
