"""How a leg sounds where the agent's speech breaks off in its midst, and where it goes on."""

from __future__ import annotations

import numpy as np

from bus.audio import OUT_FIELD, OutChunk, encode_chunk
from calls import events as e
from calls.ids import ReplyId
from media.frames import FRAME_SAMPLES, SAMPLE_RATE, Codec, to_pcm, to_samples
from media.g711 import pcm_to_ulaw, ulaw_to_pcm
from tests.support.facts import speech
from tests.support.leg import Call


def tone(begin: int, frames: int) -> bytes:
    """Some frames of a tone of 435 Hz: they begin and end anywhere in its wave."""
    time = np.arange(begin * FRAME_SAMPLES, (begin + frames) * FRAME_SAMPLES) / SAMPLE_RATE
    return pcm_to_ulaw(to_pcm(10_000 * np.sin(2 * np.pi * 435 * time)))


def comes(call: Call, begin: int, frames: int) -> None:
    place = (ReplyId("0.0"), 0, begin * FRAME_SAMPLES)
    chunk = OutChunk(*place, Codec.PCMU, tone(begin, frames), last=False)
    call.leg.audio_came([(b"1-0", {OUT_FIELD: encode_chunk(chunk)})])


def greatest_step(frames: list[bytes | None]) -> int:
    whole = b"".join(frame or Codec.PCMU.silence() for frame in frames)
    return int(np.abs(np.diff(to_samples(ulaw_to_pcm(whole)).astype(int))).max())


def test_gaps_and_interruptions_do_not_click() -> None:
    call = Call()
    comes(call, 0, 3)
    call.ticks(6)  # it runs dry
    comes(call, 3, 12)
    call.ticks(3)
    call.happens(speech(1, position=1440))
    call.ticks(3)
    call.happens(e.SpeechDropped(at=0, turn=1, position=1440, why="noise"))
    call.ticks(3)
    said = call.phone.said
    runs = [said[:4], said[6:10], said[12:15]]
    assert [len([frame for frame in run if frame]) for run in runs] == [4, 4, 3]
    assert [frame for frame in said if frame is None] == [None] * 4
    assert greatest_step(said) < 1.2 * greatest_step([tone(0, 2)])
    assert [said[1], said[13]] == [tone(1, 1), tone(7, 1)]


def test_speech_that_goes_on_is_not_touched() -> None:
    call = Call()
    comes(call, 0, 4)
    call.ticks(4)
    assert call.phone.said == [tone(number, 1) for number in range(4)]
