"""Speech that comes no faster than it is played: gaps, and what is learned from them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from bus.audio import OutChunk
from calls.events import PlaybackStarted, PlaybackStopped
from calls.ids import ReplyId, reply_id
from legs.hold import LONGEST, Hold
from legs.playout import PREBUFFER, Playout
from media.frames import FRAME_MS, FRAME_SAMPLES, Codec, samples_in

SENTENCE_MS = 2000
SENTENCES = 3
REPLIES = 20


class Coming(NamedTuple):
    at_ms: float
    chunk: OutChunk


class Voice(NamedTuple):
    """A synthesizer: how much each chunk holds, how late it may be (ms), and how fast it speaks."""

    chunk_ms: int
    jitter_ms: float
    speed: float = 1.0

    def speaks(self, reply: ReplyId, at_ms: float, chance: random.Random) -> Iterator[Coming]:
        """A reply, sentence after sentence: a chunk comes when it has been spoken, or later."""
        spoken = came = at_ms
        for sentence in range(SENTENCES):
            for begin in range(0, SENTENCE_MS, self.chunk_ms):
                length = min(self.chunk_ms, SENTENCE_MS - begin)
                spoken += length / self.speed
                came = max(came, spoken + chance.uniform(0, self.jitter_ms))
                audio = bytes([sentence + 1]) * samples_in(length)
                last = begin + length >= SENTENCE_MS
                yield Coming(
                    came,
                    OutChunk(reply, sentence, samples_in(begin), Codec.PCMU, audio, last),
                )
            spoken = max(spoken, came)


class Heard(NamedTuple):
    """Of one reply: how often it ran dry, and how long it was held before it began, ms."""

    gaps: int
    held_ms: float


class Listener:
    """One call."""

    def __init__(self, voice: Voice, seed: int, playout: Playout | None = None) -> None:
        self.playout = playout or Playout()
        self._voice = voice
        self._chance = random.Random(seed)
        self._position = 0

    def hears(self, turn: int) -> Heard:
        """One reply, to its end; asserts that the ledger tells all of it, in order."""
        reply = reply_id(turn, 0)
        self.playout.confirm(reply)
        self.playout.end_reply(reply, SENTENCES)
        now_ms = self._position * FRAME_MS / FRAME_SAMPLES
        coming = list(self._voice.speaks(reply, now_ms, self._chance))
        could_begin, began, here, heard = None, None, 0, bytearray()
        while not self.playout.complete(reply):
            now_ms = self._position * FRAME_MS / FRAME_SAMPLES
            while coming and coming[0].at_ms <= now_ms:
                self.playout.add(coming[0].chunk)
                here += len(coming.pop(0).chunk.payload)
            if could_begin is None and here >= PREBUFFER:
                could_begin = self._position
            frame = self.playout.next(self._position, now_ms)
            if frame:
                began = self._position if began is None else began
                heard += frame
            self._position += FRAME_SAMPLES
        assert heard == b"".join(
            bytes([sentence + 1]) * samples_in(SENTENCE_MS) for sentence in range(SENTENCES)
        )
        gaps = self._check_ledger()
        self._position += samples_in(1000)
        assert began is not None
        assert could_begin is not None
        return Heard(gaps, (began - could_begin) * FRAME_MS / FRAME_SAMPLES)

    def _check_ledger(self) -> int:
        ledger, place = list(self.playout.ledger), (0, 0)
        self.playout.ledger.clear()
        for started, stopped in zip(ledger[::2], ledger[1::2], strict=True):
            assert isinstance(started, PlaybackStarted)
            assert isinstance(stopped, PlaybackStopped)
            assert (started.index, started.offset) == place
            assert stopped.position - started.position == stopped.offset - started.offset
            ended = stopped.why == "finished"
            place = (stopped.index + 1, 0) if ended else (stopped.index, stopped.offset)
        assert place == (SENTENCES, 0)
        return sum(isinstance(each, PlaybackStopped) and each.why == "starved" for each in ledger)


def unlearning() -> Playout:
    """A playout that never holds anything back."""
    playout = Playout()
    playout._hold.gap_heard = lambda samples: None  # type: ignore[method-assign, assignment, misc]
    return playout


def test_a_call_learns_how_late_its_chunks_come() -> None:
    """50 ms of jitter, chunks of 40 to 200 ms: a reply of 6 s had gaps, and hardly has any."""
    before, after = [], []
    for seed in range(18):
        voice = Voice(chunk_ms=40 + seed % 9 * 20, jitter_ms=50)
        forgetful, learning = Listener(voice, seed, unlearning()), Listener(voice, seed)
        before += [forgetful.hears(turn) for turn in range(1, REPLIES)]
        after += [learning.hears(turn) for turn in range(1, REPLIES)]
    assert fmean(reply.gaps for reply in before) > 1.0
    assert fmean(reply.gaps for reply in after) < 0.4
    later = fmean(reply.held_ms for reply in after) - fmean(reply.held_ms for reply in before)
    assert later < 50


@given(
    chunk_ms=st.integers(1, 10).map(lambda frames: frames * FRAME_MS),
    jitter_ms=st.floats(0, 80),
    seed=st.integers(0, 1000),
)
def test_a_voice_at_the_speed_of_playback_is_heard_whole_and_hardly_later(
    chunk_ms: int, jitter_ms: float, seed: int
) -> None:
    """What is heard is all there, tiled by the ledger; no reply waits longer than it may."""
    listener = Listener(Voice(chunk_ms, jitter_ms), seed)
    replies = [listener.hears(turn) for turn in range(1, 6)]
    longest = LONGEST * FRAME_MS / FRAME_SAMPLES
    assert all(reply.held_ms <= longest for reply in replies)
    assert replies[0].held_ms == 0
    assert listener.playout._hold.samples <= LONGEST


@given(chunk_ms=st.integers(1, 10).map(lambda frames: frames * FRAME_MS), seed=st.integers(0, 1000))
def test_a_voice_that_is_ahead_never_waits(chunk_ms: int, seed: int) -> None:
    listener = Listener(Voice(chunk_ms, jitter_ms=0, speed=4.0), seed)
    assert all(listener.hears(turn).gaps == 0 for turn in range(1, 4))
    assert listener.playout._hold.samples == 0


class Player:
    """Feeds a playout by hand: frame after frame, with a gap where it is told to."""

    def __init__(self) -> None:
        self.playout = Playout()
        self.position = 0
        for turn in range(1, 9):
            self.playout.confirm(reply_id(turn, 0))

    def add(self, turn: int, begin: int, frames: int, *, last: bool = False) -> None:
        audio = bytes([turn]) * FRAME_SAMPLES * frames
        at = begin * FRAME_SAMPLES
        self.playout.add(OutChunk(reply_id(turn, 0), 0, at, Codec.PCMU, audio, last))
        self.playout.end_reply(reply_id(turn, 0), 1)

    def ticks(self, count: int) -> str:
        """`#` for each frame that is played, `.` for silence."""
        shown = ""
        for _ in range(count):
            shown += "#" if self.playout.next(self.position, 0.0) else "."
            self.position += FRAME_SAMPLES
        return shown

    def hears_a_gap(self, turn: int = 1, frames: int = 3) -> None:
        self.add(turn, 0, 2)
        assert self.ticks(2 + frames) == "##" + "." * frames
        self.add(turn, 2, 2, last=True)
        assert self.ticks(2) == "##"


def test_the_gap_that_was_heard_is_waited_before_the_next_sentence() -> None:
    player = Player()
    player.hears_a_gap(frames=3)
    player.add(2, 0, 2)
    assert player.ticks(2) == ".."
    player.add(2, 2, 2)
    assert player.ticks(4) == ".###"


def test_what_came_while_the_turn_had_not_ended_has_waited_already() -> None:
    player = Player()
    player.hears_a_gap(frames=3)
    player.playout._confirmed.pop(2)
    player.add(2, 0, 2)
    player.ticks(4)
    player.playout.confirm(reply_id(2, 0))
    assert player.ticks(1) == "#"


def test_a_sentence_that_is_all_here_does_not_wait() -> None:
    player = Player()
    player.hears_a_gap()
    player.add(2, 0, 4, last=True)
    assert player.ticks(1) == "#"


def test_no_filler_begins_while_the_answer_waits() -> None:
    player = Player()
    player.hears_a_gap()
    aside = ReplyId("2.a0")
    player.add(2, 0, 2)
    player.playout.end_reply(aside, 1)
    filler = b"\x77" * FRAME_SAMPLES
    player.playout.add(OutChunk(aside, 0, 0, Codec.PCMU, filler, last=True))
    assert player.ticks(5) == "...##"


def test_silence_that_the_caller_asked_for_teaches_nothing() -> None:
    player = Player()
    player.add(1, 0, 2)
    player.ticks(3)
    player.playout.pause(player.position, 0.0)
    player.ticks(5)
    player.playout.resume()
    player.add(1, 2, 2, last=True)
    player.ticks(2)
    player.add(2, 0, 2)
    assert player.ticks(1) == "#"


def test_a_stall_of_ours_teaches_nothing() -> None:
    player = Player()
    player.add(1, 0, 2)
    player.ticks(3)
    player.playout.lapse(player.position, 0.0)
    player.position += FRAME_SAMPLES
    player.add(1, 2, 2, last=True)
    player.ticks(2)
    player.add(2, 0, 2)
    assert player.ticks(1) == "#"


def test_gaps_add_up_to_no_more_than_the_longest_hold() -> None:
    hold = Hold()
    for _ in range(3):
        hold.gap_heard(samples_in(50))
    assert hold.samples == LONGEST
    hold.gap_heard(samples_in(5000))
    assert hold.samples == LONGEST


def test_a_hold_is_forgiven_slowly() -> None:
    hold = Hold()
    hold.gap_heard(samples_in(20))
    for _ in range(10):
        hold.sentence_heard()
    assert 0 < hold.samples < samples_in(20)
    for _ in range(100):
        hold.sentence_heard()
    assert hold.samples == 0
