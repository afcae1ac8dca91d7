"""The transcript prints each line once, and only when it can no longer change."""

from __future__ import annotations

from calls import events as e
from calls.conversation import Conversation
from calls.ids import reply_id
from trunkline.transcript import Transcript

REPLY = reply_id(1)
LOG: list[e.Event] = [
    e.TranscriptPartial(at=1.0, turn=1, position=0, text="yes"),
    e.TurnEnded(
        at=1602.0, turn=1, text="yes please", confidence=0.9, speech_start=0, speech_end=8000,
        speech_ended_at=1000.0, decided_at=1600.0,
    ),
    e.ReplyStarted(at=1605.0, reply=REPLY),
    e.SentenceReady(at=1610.0, reply=REPLY, index=0, text="It is booked.", first_token_at=1607.0),
    e.ReplyEnded(at=1611.0, reply=REPLY, sentences=1, why="complete"),
    e.SynthesisStarted(at=1620.0, reply=REPLY, index=0, taken_at=1615.0),
    e.PlaybackStarted(at=1640.0, reply=REPLY, index=0, offset=0, position=13_000),
]  # fmt: skip


def test_lines_come_one_by_one_as_the_log_grows() -> None:
    told: list[str] = []
    transcript = Transcript(told.append)
    counts = []
    for length in range(len(LOG) + 1):
        transcript.show(Conversation.of(LOG[:length]))
        counts.append(len(told))
    assert counts == [0, 0, 1, 1, 1, 1, 1, 2]
    transcript.show(Conversation.of(LOG))
    assert told[0] == "  caller  yes please"
    assert told[1].startswith("  agent   It is booked.\n")
    assert "640 ms from your last word to its first: endpoint 600, asr 2, llm_queue 3" in told[1]
    assert len(told) == 2
