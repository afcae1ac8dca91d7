"""Speech that is sent ahead to a far end that queues it: what is heard is what is confirmed."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.audio import OutChunk
from calls.events import PlaybackStarted, PlaybackStopped
from calls.ids import ReplyId
from legs.ahead import LEAST, MOST, Ahead
from media.frames import Codec

FRAME = 160
REPLY = ReplyId("1.0")


def speech(frames: int) -> bytes:
    """Audio that begins and ends softly, and whose frames can be told apart."""
    return b"".join(bytes([0xFF, 0x20 + number % 64]) * (FRAME // 2) for number in range(frames))


class FarEnd:
    """Plays what it is sent in real time, as Twilio does: marks when reached, and at a clear."""

    def __init__(self) -> None:
        self.is_open = True
        self.ahead = Ahead(self)
        self.waiting: deque[bytes | int] = deque()
        self.heard = b""
        self.sent: list[bytes] = []
        self.clears = 0
        self.answers = True
        self.position = 0
        self.ledger: list[PlaybackStarted | PlaybackStopped] = []

    def queue(self, payload: bytes, mark: int) -> None:
        self.sent.append(payload)
        self.waiting += [payload[at : at + FRAME] for at in range(0, len(payload), FRAME)]
        self.waiting.append(mark)

    def clear(self) -> None:
        self.clears += 1
        marks = [each for each in self.waiting if isinstance(each, int)]
        self.waiting.clear()
        for mark in marks:
            self._reached(mark)

    def _reached(self, mark: int) -> None:
        if self.answers:
            self.ahead.reached(mark)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.ahead.speak(self.position, float(self.position) / 8, 0.0)
            while self.waiting and isinstance(self.waiting[0], int):
                self._reached(int(self.waiting.popleft()))
            if self.waiting:
                frame = self.waiting.popleft()
                assert isinstance(frame, bytes)
                self.heard += frame
            while self.waiting and isinstance(self.waiting[0], int):
                self._reached(int(self.waiting.popleft()))
            self.position += FRAME
            self.ledger += self.ahead.playout.ledger
            self.ahead.playout.ledger.clear()

    def add(self, sentence: int, frames: int, *, reply: ReplyId = REPLY, last: bool = True) -> None:
        chunk = OutChunk(reply, sentence, 0, Codec.PCMU, speech(frames), last)
        self.ahead.playout.add(chunk)

    def pause(self) -> None:
        self.ahead.playout.pause(self.position, float(self.position) / 8)
        self.ledger += self.ahead.playout.ledger
        self.ahead.playout.ledger.clear()

    @property
    def stops(self) -> list[tuple[int, int, str]]:
        """Sentence, offset and why, of what stopped."""
        stopped = (each for each in self.ledger if isinstance(each, PlaybackStopped))
        return [(each.index, each.offset, each.why) for each in stopped]


@pytest.fixture
def far() -> FarEnd:
    end = FarEnd()
    end.ahead.playout.confirm(REPLY)
    return end


def test_what_is_sent_is_heard_without_a_gap_and_in_a_few_messages(far: FarEnd) -> None:
    far.add(0, 50)
    far.ahead.playout.end_reply(REPLY, 1)
    far.tick(60)
    assert far.heard[: 50 * FRAME] == speech(50)
    assert len(far.sent) <= 12
    assert far.stops == [(0, 50 * FRAME, "finished")]
    assert far.ahead.playout.complete(REPLY)


def test_no_more_is_ahead_than_is_allowed(far: FarEnd) -> None:
    far.add(0, 200)
    far.tick()
    for _ in range(100):
        far.tick()
        waiting = sum(len(each) for each in far.waiting if isinstance(each, bytes))
        assert LEAST - FRAME <= waiting <= MOST


def test_a_reply_is_complete_once_it_is_heard_not_once_it_is_sent(far: FarEnd) -> None:
    far.add(0, 6)
    far.ahead.playout.end_reply(REPLY, 1)
    far.tick(2)
    assert sum(map(len, far.sent)) >= 6 * FRAME
    assert not far.ahead.playout.complete(REPLY)
    far.tick(10)
    assert far.ahead.playout.complete(REPLY)


def test_the_ledger_tells_where_the_caller_heard_it(far: FarEnd) -> None:
    far.tick(5)
    far.add(0, 20)
    far.tick(40)
    started, stopped = far.ledger
    assert isinstance(started, PlaybackStarted)
    assert (started.position, started.offset) == (5 * FRAME, 0)
    assert (stopped.position, stopped.offset) == (25 * FRAME, 20 * FRAME)


def test_the_caller_speaks_what_was_not_heard_is_cleared_and_said_again(far: FarEnd) -> None:
    far.add(0, 100)
    far.tick(33)
    far.pause()
    assert far.clears == 1
    [(_, offset, why)] = far.stops
    assert why == "paused"
    assert far.heard[:offset] == speech(100)[:offset]
    assert 0 <= len(far.heard) - offset <= MOST - LEAST + FRAME  # no more than a mark's distance
    far.tick(10)
    assert len(far.waiting) == 0
    far.ahead.playout.resume()
    before = len(far.heard)
    far.tick(120)
    resumed = far.heard[before:]
    # The edge of the first frame is rounded, where it begins in the midst of a wave.
    assert resumed[FRAME : (100 * FRAME - offset)] == speech(100)[offset + FRAME :]
    assert far.stops[-1] == (0, 100 * FRAME, "finished")


def test_an_answer_that_a_clear_brings_back_is_no_confirmation(far: FarEnd) -> None:
    far.add(0, 100)
    far.tick(1)
    far.pause()
    assert far.stops == []  # nothing of it was known to be heard, so nothing had started


def test_what_was_sent_of_the_next_sentence_is_taken_back_with_the_rest_of_this_one(
    far: FarEnd,
) -> None:
    far.add(0, 10)
    far.add(1, 50)
    far.ahead.playout.end_reply(REPLY, 2)
    far.tick(8)
    assert len(b"".join(far.sent)) > 10 * FRAME
    far.pause()
    assert [each[0] for each in far.stops] == [0]
    far.ahead.playout.resume()
    far.tick(80)
    assert speech(50) in far.heard
    assert far.stops[-1] == (1, 50 * FRAME, "finished")
    assert far.ahead.playout.complete(REPLY)


def test_a_protected_sentence_is_heard_to_its_end_and_not_said_twice(far: FarEnd) -> None:
    far.ahead.playout.protect(REPLY, 0)
    far.add(0, 30)
    far.add(1, 30)
    far.tick(10)
    far.pause()
    assert far.clears == 0
    far.tick(60)
    assert far.heard[: 30 * FRAME] == speech(30)
    assert far.stops == [(0, 30 * FRAME, "finished")]


def test_the_next_turn_throws_away_what_was_sent_of_the_one_before(far: FarEnd) -> None:
    far.add(0, 100)
    far.tick(20)
    far.ahead.playout.drop_before(2, far.position, 0.0)
    far.tick(5)
    [(_, _, why)] = far.stops
    assert (why, far.clears, len(far.waiting)) == ("dropped", 1, 0)


def test_a_carrier_that_answers_no_mark_is_believed_to_have_played(far: FarEnd) -> None:
    far.answers = False
    far.add(0, 10)
    far.ahead.playout.end_reply(REPLY, 1)
    far.tick(50)
    assert not far.ahead.playout.complete(REPLY)
    far.tick(100)
    assert far.ahead.playout.complete(REPLY)


def test_speech_that_comes_no_faster_than_it_is_played_is_sent_as_it_comes(far: FarEnd) -> None:
    data = speech(40)
    for number in range(40):
        at = number * FRAME
        chunk = OutChunk(REPLY, 0, at, Codec.PCMU, data[at : at + FRAME], number == 39)
        far.ahead.playout.add(chunk)
        far.tick()
    far.tick(10)
    assert far.heard[: 40 * FRAME] == data
    assert far.stops == [(0, 40 * FRAME, "finished")]


def test_a_lost_connection_takes_back_what_it_had_not_played(far: FarEnd) -> None:
    far.add(0, 60)
    far.ahead.playout.end_reply(REPLY, 1)
    far.tick(20)
    far.is_open = False
    far.waiting.clear()
    far.ahead.lost()
    far.tick(50)
    far.is_open = True
    far.tick(80)
    assert far.stops[-1] == (0, 60 * FRAME, "finished")
    assert far.ahead.playout.complete(REPLY)
    assert speech(60)[-20 * FRAME :] in far.heard


def test_the_first_words_need_no_tick(far: FarEnd) -> None:
    far.tick(3)
    far.add(0, 20)
    far.ahead.hurry(far.position, 0.0)
    assert len(far.sent) == 1


@given(
    st.lists(
        st.sampled_from(["tick", "pause", "resume", "more", "turn", "lost", "mute"]), max_size=60
    )
)
def test_whatever_happens_no_word_is_left_out_and_the_ledger_is_in_order(acts: list[str]) -> None:
    far, turn, sentence = FarEnd(), 1, 0
    far.ahead.playout.confirm(REPLY)
    reply = REPLY
    for act in acts:
        match act:
            case "tick":
                far.tick(3)
            case "pause":
                far.pause()
            case "resume":
                far.ahead.playout.resume()
            case "more":
                far.add(sentence, 7, reply=reply)
                sentence += 1
            case "turn":
                turn, sentence = turn + 1, 0
                reply = ReplyId(f"{turn}.0")
                far.ahead.playout.drop_before(turn, far.position, 0.0)
                far.ahead.playout.confirm(reply)
            case "lost":
                far.waiting.clear()
                far.ahead.lost()
            case "mute":
                far.answers = not far.answers
    far.answers = True
    far.ahead.playout.resume()
    far.ahead.playout.end_reply(reply, sentence)
    far.tick(sentence * 7 + 150)
    if sentence:
        assert far.ahead.playout.complete(reply)
    playing: tuple[str, int] | None = None
    reached: dict[tuple[str, int], int] = {}
    for entry in far.ledger:
        place = (entry.reply, entry.index)
        if isinstance(entry, PlaybackStarted):
            assert playing is None
            assert entry.offset == reached.get(place, 0)
            playing = place
        else:
            assert playing == place
            assert entry.offset >= reached.get(place, 0)
            reached[place], playing = entry.offset, None
    assert playing is None
    finished = {each for each in reached if each[0] == reply}
    assert len(finished) == sentence
