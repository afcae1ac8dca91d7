"""The recording's two channels, aligned to the sample."""

from __future__ import annotations

import numpy as np

from bus.audio import InFrame, OutChunk
from calls import events as e
from calls.conversation import Conversation
from calls.ids import ReplyId
from media import g711
from media.frames import Codec
from tests.support.facts import aside, playing, sentence, stopped
from workers.recorder.stereo import agent_channel, caller_channel, spoken

RAMP = bytes(np.arange(160 * 10, dtype=np.uint16).astype(np.uint8))


def pcm(payload: bytes) -> list[int]:
    return list(np.frombuffer(g711.ulaw_to_pcm(payload), dtype="<i2"))


def chunk(sentence: int, offset: int, data: bytes, reply: str = "1.0") -> OutChunk:
    return OutChunk(ReplyId(reply), sentence, offset, Codec.PCMU, data)


def test_each_frame_stands_at_its_position() -> None:
    frames = [InFrame(3, 0, Codec.PCMU, RAMP[:160]), InFrame(1, 0, Codec.PCMA, bytes(160))]
    channel = caller_channel(frames, 160 * 5)
    assert len(channel) == 800
    assert list(channel[480:640]) == pcm(RAMP[:160])
    assert not channel[:160].any()
    assert not channel[320:480].any()
    assert list(channel[160:320]) == list(np.frombuffer(g711.alaw_to_pcm(bytes(160)), dtype="<i2"))


def test_frames_past_the_end_are_cut() -> None:
    channel = caller_channel([InFrame(1, 0, Codec.PCMU, RAMP[:160])], 200)
    assert list(channel[160:]) == pcm(RAMP[:40])


def test_an_unbelievable_length_takes_no_memory() -> None:
    assert len(caller_channel([], -5)) == 0
    assert len(caller_channel([], 10**15)) == 8000 * 3600 * 4


def test_repeated_and_shuffled_chunks_make_one_sentence() -> None:
    chunks = [chunk(0, 320, RAMP[320:800]), chunk(0, 0, RAMP[:320]), chunk(0, 0, bytes(320))]
    assert list(spoken(chunks)[ReplyId("1.0"), 0]) == pcm(RAMP[:800])


def test_what_comes_after_a_hole_is_left_out() -> None:
    assert (
        len(spoken([chunk(0, 0, RAMP[:160]), chunk(0, 320, RAMP[:160])])[ReplyId("1.0"), 0]) == 160
    )


def test_each_run_of_the_ledger_stands_where_it_was_played() -> None:
    facts: list[e.Event] = [
        sentence("1.0", 0, "Hello."),
        playing("1.0", 0, offset=0, position=160),
        stopped("1.0", 0, offset=320, position=480, why="paused"),
        playing("1.0", 0, offset=320, position=960),
        stopped("1.0", 0, offset=480, position=1120),
    ]
    channel = agent_channel(Conversation.of(facts), spoken([chunk(0, 0, RAMP[:800])]), 1600)
    assert list(channel[160:480]) == pcm(RAMP[:320])
    assert list(channel[960:1120]) == pcm(RAMP[320:480])
    silent = np.ones(1600, dtype=bool)
    silent[160:480] = silent[960:1120] = False
    assert not channel[silent].any()


def test_what_was_said_beside_the_answer_is_in_the_recording() -> None:
    facts = [aside("1.a0"), playing("1.a0", 0, position=320), stopped("1.a0", 0, 160, 480)]
    channel = agent_channel(
        Conversation.of(facts), spoken([chunk(0, 0, RAMP[:160], reply="1.a0")]), 800
    )
    assert list(channel[320:480]) == pcm(RAMP[:160])
    assert not channel[:320].any()
    assert not channel[480:].any()


def test_what_was_never_played_is_not_in_the_recording() -> None:
    channel = agent_channel(
        Conversation.of([sentence("1.0", 0, "Hello.")]), spoken([chunk(0, 0, RAMP)]), 1600
    )
    assert not channel.any()


def test_a_run_from_nowhere_is_harmless() -> None:
    facts = [playing("1.0", 0, position=10**9), stopped("1.0", 0, 160, 10**9 + 160)]
    channel = agent_channel(Conversation.of(facts), spoken([chunk(0, 0, RAMP)]), 1600)
    assert not channel.any()
