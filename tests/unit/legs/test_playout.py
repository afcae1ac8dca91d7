"""The playout queue and its ledger, tick by tick."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bus.audio import OutChunk
from calls.events import PlaybackStarted, PlaybackStopped
from calls.ids import ReplyId
from legs.playout import Playout
from media.frames import Codec

FRAME = 160


def payload(mark: int, frames: int) -> bytes:
    """Audio whose frames can be told apart."""
    return b"".join(bytes([mark, number % 256]) * (FRAME // 2) for number in range(frames))


class Player:
    """Plays, and keeps what left and when."""

    def __init__(self, *confirmed: str) -> None:
        """Turns have ended with the words that `confirmed` answer."""
        self.queue = Playout()
        for reply in confirmed or ("1.0", "2.0", "3.0", "9.0", "10.0"):
            self.queue.confirm(ReplyId(reply))
        self.position = 0
        self.left: dict[int, bytes] = {}
        self.ledger: list[PlaybackStarted | PlaybackStopped] = []

    def add(
        self, reply: str, sentence: int, data: bytes, *, at: int = 0, last: bool = True
    ) -> None:
        """Add audio `data[at:]` at frame `at`."""
        begin = at * FRAME
        chunk = OutChunk(ReplyId(reply), sentence, begin, Codec.PCMU, data[begin:], last)
        self.queue.add(chunk)

    def tick(self, times: int = 1) -> list[bytes | None]:
        frames = []
        for _ in range(times):
            frame = self.queue.next(self.position, float(self.position))
            if frame is not None:
                self.left[self.position] = frame
            frames.append(frame)
            self.position += FRAME
            self.take()
        return frames

    def take(self) -> None:
        self.ledger += self.queue.ledger
        self.queue.ledger.clear()

    def pause(self) -> None:
        self.queue.pause(self.position, 0.0)
        self.take()

    def drop_before(self, turn: int) -> None:
        self.queue.drop_before(turn, self.position, 0.0)
        self.take()

    @property
    def audio(self) -> bytes:
        return b"".join(self.left[position] for position in sorted(self.left))

    @property
    def reasons(self) -> list[str]:
        return [entry.why for entry in self.ledger if isinstance(entry, PlaybackStopped)]

    def runs(self) -> list[tuple[str, int, int, int, int]]:
        """(reply, sentence, begin, end, position) of each run, in samples."""
        found, begun = [], None
        for entry in self.ledger:
            if isinstance(entry, PlaybackStarted):
                assert begun is None, "two runs at once"
                begun = entry
            else:
                assert begun is not None
                assert (begun.reply, begun.index) == (entry.reply, entry.index)
                assert entry.position - begun.position == entry.offset - begun.offset
                found.append((entry.reply, entry.index, begun.offset, entry.offset, begun.position))
                begun = None
        return found


def test_sentences_are_played_in_order_without_a_gap() -> None:
    player = Player()
    first, second = payload(1, 3), payload(2, 2)
    player.add("1.0", 1, second)
    player.add("1.0", 0, first)
    player.queue.end_reply(ReplyId("1.0"), 2)
    frames = player.tick(7)
    assert b"".join(frame for frame in frames[:5] if frame) == first + second
    assert frames[5:] == [None, None]
    assert player.runs() == [("1.0", 0, 0, 480, 0), ("1.0", 1, 0, 320, 480)]
    assert player.reasons == ["finished", "finished"]
    assert player.queue.complete(ReplyId("1.0"))


def test_nothing_is_played_before_there_is_enough_of_it() -> None:
    player = Player()
    data = payload(1, 3)
    player.add("1.0", 0, data[:FRAME], last=False)
    assert player.tick() == [None]
    player.add("1.0", 0, data[: 2 * FRAME], at=1, last=False)
    assert player.tick() == [data[:FRAME]]


def test_a_short_sentence_does_not_wait_for_more() -> None:
    player = Player()
    player.add("1.0", 0, payload(1, 1))
    assert player.tick() == [payload(1, 1)]


def test_starved_audio_goes_on_from_where_it_stopped() -> None:
    player = Player()
    data = payload(1, 6)
    player.add("1.0", 0, data[: 2 * FRAME], last=False)
    player.tick(4)
    player.add("1.0", 0, data, at=2)
    player.tick(5)
    assert player.audio == data
    assert player.reasons == ["starved", "finished"]
    assert player.runs() == [("1.0", 0, 0, 320, 0), ("1.0", 0, 320, 960, 640)]


def test_a_pause_is_exact_to_the_sample() -> None:
    player = Player()
    data = payload(1, 10)
    player.add("1.0", 0, data)
    player.tick(4)
    player.pause()
    assert player.tick(3) == [None] * 3
    player.queue.resume()
    player.tick(6)
    assert player.audio == data
    assert player.runs() == [("1.0", 0, 0, 640, 0), ("1.0", 0, 640, 1600, 1120)]


def test_a_pause_in_silence_says_nothing() -> None:
    player = Player()
    player.pause()
    assert player.ledger == []


def test_what_comes_during_a_pause_waits() -> None:
    player = Player()
    player.pause()
    player.add("1.0", 0, payload(1, 4))
    assert player.tick(2) == [None, None]
    player.queue.resume()
    assert player.tick() == [payload(1, 4)[:FRAME]]


def test_a_dropped_reply_stops_at_once_and_never_comes_back() -> None:
    player = Player()
    player.add("1.0", 0, payload(1, 10))
    player.tick(2)
    player.drop_before(2)
    player.add("1.0", 0, payload(1, 10))
    player.add("1.0", 1, payload(2, 10))
    player.queue.end_reply(ReplyId("1.0"), 2)
    assert player.tick(3) == [None] * 3
    assert player.reasons == ["dropped"]
    assert not player.queue.complete(ReplyId("1.0"))


def test_the_next_reply_is_played_after_a_drop() -> None:
    player = Player()
    player.add("1.0", 0, payload(1, 10))
    player.tick(2)
    player.pause()
    player.add("2.0", 0, payload(2, 2))
    player.drop_before(2)
    assert player.tick(2) == [payload(2, 2)[:FRAME], payload(2, 2)[FRAME:]]


def test_without_barge_in_replies_are_played_one_after_the_other() -> None:
    player = Player()
    player.add("2.0", 0, payload(2, 2))
    player.add("1.0", 0, payload(1, 2))
    player.tick(3)
    assert player.audio == payload(1, 2)  # the first may have more to say
    player.queue.end_reply(ReplyId("1.0"), 1)
    player.queue.end_reply(ReplyId("2.0"), 1)
    player.tick(3)
    assert player.audio == payload(1, 2) + payload(2, 2)


def test_replies_are_ordered_by_number() -> None:
    player = Player()
    for turn in (10, 9):
        player.add(f"{turn}.0", 0, payload(turn, 1))
        player.queue.end_reply(ReplyId(f"{turn}.0"), 1)
    player.tick(3)
    assert player.audio == payload(9, 1) + payload(10, 1)


def test_a_sentence_without_audio_is_passed_over() -> None:
    player = Player()
    player.add("1.0", 0, b"")
    player.add("1.0", 1, payload(1, 2))
    player.queue.end_reply(ReplyId("1.0"), 2)
    player.tick(4)
    assert player.audio == payload(1, 2)
    assert [run[1] for run in player.runs()] == [1]
    assert player.queue.complete(ReplyId("1.0"))


def test_a_sentence_that_failed_midway_ends_there() -> None:
    player = Player()
    data = payload(1, 4)
    player.add("1.0", 0, data, last=False)
    player.tick(4)
    player.add("1.0", 0, data, at=4)
    player.add("1.0", 1, payload(2, 1))
    player.tick(4)
    assert player.audio == data + payload(2, 1)
    assert player.reasons[-1] == "finished"


def test_a_reply_of_no_sentences_is_complete() -> None:
    player = Player()
    assert not player.queue.complete(ReplyId("1.0"))
    player.queue.end_reply(ReplyId("1.0"), 0)
    assert player.queue.complete(ReplyId("1.0"))


def test_the_end_of_the_call_stops_what_is_playing() -> None:
    player = Player()
    player.add("1.0", 0, payload(1, 10))
    player.tick(3)
    player.queue.close(player.position, 0.0)
    player.take()
    assert player.reasons == ["dropped"]
    assert player.tick() == [None]


def test_a_second_taking_of_a_sentence_neither_lengthens_nor_shortens_it() -> None:
    player = Player()
    data = payload(1, 6)
    player.add("1.0", 0, data)
    player.add("1.0", 0, payload(9, 8), at=6)
    player.add("1.0", 0, payload(9, 3), at=2)
    player.tick(9)
    assert player.audio == data


def test_a_reply_to_a_guess_is_held_until_the_turn_ends_with_its_words() -> None:
    player = Player("1.0")
    player.add("2.0", 0, payload(1, 3))
    player.add("2.1", 0, payload(2, 3))
    assert player.tick(2) == [None, None]
    assert player.queue.confirm(ReplyId("2.1")) == 3 * FRAME
    player.add("2.0", 1, payload(1, 3))
    player.tick(5)
    assert player.audio == payload(2, 3)


def test_a_reply_to_a_withdrawn_guess_is_thrown_away() -> None:
    player = Player("1.0")
    player.add("2.0", 0, payload(1, 3))
    assert player.queue.withdraw(ReplyId("2.0")) == 3 * FRAME
    player.queue.confirm(ReplyId("2.1"))
    player.add("2.0", 0, payload(1, 3))
    assert player.tick(2) == [None, None]


def test_a_protected_sentence_is_heard_to_its_end_and_then_the_caller_has_the_floor() -> None:
    player = Player()
    first, second = payload(1, 4), payload(2, 4)
    player.add("1.0", 0, first)
    player.add("1.0", 1, second)
    player.queue.protect(ReplyId("1.0"), 0)
    player.tick(1)
    player.pause()
    player.tick(8)
    assert player.audio == first
    assert player.reasons == ["finished"]
    player.queue.resume()
    player.tick(8)
    assert player.audio == first + second


def test_of_an_interrupted_reply_only_the_protected_sentence_goes_on() -> None:
    player = Player()
    first = payload(1, 4)
    player.add("1.0", 0, first[: 2 * FRAME], last=False)
    player.add("1.0", 1, payload(2, 4))
    player.queue.protect(ReplyId("1.0"), 0)
    player.tick(1)
    player.pause()
    player.drop_before(2)
    player.add("1.0", 0, first, at=2)  # the rest of it comes only now
    player.add("2.0", 0, payload(3, 2))
    player.tick(10)
    assert player.audio == first + payload(3, 2)


def test_an_aside_is_heard_while_the_answer_is_not_there() -> None:
    player = Player()
    player.queue.end_reply(ReplyId("1.a0"), 1)
    player.add("1.a0", 0, payload(9, 3))
    player.tick(1)
    player.add("1.0", 0, payload(1, 2))
    player.tick(6)
    assert player.audio == payload(9, 3) + payload(1, 2)


def test_an_aside_never_comes_after_the_answer_has_begun() -> None:
    player = Player()
    player.queue.end_reply(ReplyId("1.a0"), 1)
    player.add("1.0", 0, payload(1, 2))
    player.tick(1)
    player.add("1.a0", 0, payload(9, 3))
    player.tick(8)
    assert player.audio == payload(1, 2)


def test_an_aside_that_nobody_speaks_holds_up_nothing() -> None:
    player = Player()
    player.queue.end_reply(ReplyId("1.a0"), 1)
    player.queue.end_reply(ReplyId("1.0"), 0)
    player.add("2.0", 0, payload(1, 2))
    player.tick(3)
    assert player.audio == payload(1, 2)


def test_an_urgent_aside_is_heard_in_a_pause_and_the_reply_still_waits() -> None:
    player = Player()
    player.add("1.0", 0, payload(1, 4))
    player.tick(1)
    player.pause()
    player.queue.urge(ReplyId("1.a0"))
    player.add("1.a0", 0, payload(9, 2))
    player.tick(8)
    assert player.audio == payload(1, 1) + payload(9, 2)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[bytes], list[OutChunk]]:
    """A reply's sentences, and their chunks in any order, some more than once."""
    sentences = [
        payload(number + 1, frames)
        for number, frames in enumerate(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    ]
    chunks = []
    for number, data in enumerate(sentences):
        frames = len(data) // FRAME
        inner = draw(st.sets(st.integers(1, frames - 1))) if frames > 1 else set()
        cuts = sorted({0, *inner, frames}) if frames else [0, 0]
        for begin, end in itertools.pairwise(cuts):
            piece = data[begin * FRAME : end * FRAME]
            place = (ReplyId("1.0"), number, begin * FRAME)
            chunks.append(OutChunk(*place, Codec.PCMU, piece, end == frames))
    repeated = draw(st.lists(st.sampled_from(chunks), max_size=5))
    return sentences, draw(st.permutations(chunks + repeated))


@given(arrivals(), st.data())
def test_however_it_arrives_it_is_played_once_and_in_order(
    arrived: tuple[list[bytes], list[OutChunk]], data: st.DataObject
) -> None:
    sentences, chunks = arrived
    player = Player()
    player.queue.end_reply(ReplyId("1.0"), len(sentences))
    for chunk in chunks:
        player.queue.add(chunk)
        player.tick(data.draw(st.integers(0, 3)))
        if data.draw(st.booleans()):
            player.pause()
            player.tick()
            player.queue.resume()
    player.tick(sum(map(len, sentences)) // FRAME + len(sentences) + 1)
    assert player.audio == b"".join(sentences)
    assert player.queue.complete(ReplyId("1.0"))
    tiles: dict[int, list[tuple[int, int]]] = {}
    for _, sentence, begin, end, position in player.runs():
        tiles.setdefault(sentence, []).append((begin, end))
        left = b"".join(player.left[at] for at in range(position, position + end - begin, FRAME))
        assert left == sentences[sentence][begin:end]
    for sentence, audio in enumerate(sentences):
        ends = [0, *(end for _, end in tiles.get(sentence, []))]
        assert [begin for begin, _ in tiles.get(sentence, [])] == ends[:-1]
        assert ends[-1] == len(audio)
