"""The playout queue: what the agent says, in order, a frame at a time, with a ledger of it.

Chunks come from several workers at once, out of order and perhaps twice; each names its place
(reply, sentence, offset), so the queue takes what it lacks and plays sentences in their order.
The ledger says, to the sample, what left: a run of audio starts, and it stops because the sentence
is finished, its next audio is late, the caller speaks, or nobody wants the reply any more. A reply
to a guess is held until the turn has ended with the words that were guessed. Where audio that comes
no faster than it is played has left gaps, sentences begin a little later (hold.py).

To a carrier that queues what it is sent, audio leaves ahead of its time, and the carrier tells when
it was played. Until then it is as if it had not left: the ledger says nothing of it, its reply is
not complete, and when the caller speaks it is taken back, to be sent again if it was nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bus.audio import OutChunk
from calls.events import PlaybackStarted, PlaybackStopped
from calls.ids import GREETING_TURN, ReplyId, is_aside, revision_of, turn_of
from legs.hold import Hold
from media.frames import FRAME_SAMPLES

Ledger = list[PlaybackStarted | PlaybackStopped]
#: A sentence starts once this much of it is here, and so does one that starved. In samples.
PREBUFFER: Final = 2 * FRAME_SAMPLES


class _Place(NamedTuple):
    """A sentence that can be played."""

    turn: int
    reply: ReplyId
    sentence: int


@dataclass(slots=True)
class _Audio:
    """A sentence's audio as far as it has come: contiguous from 0, and islands beyond."""

    data: bytearray = field(default_factory=bytearray)
    islands: dict[int, bytes] = field(default_factory=dict)
    #: Its length, once the chunk with its end has come. In samples.
    total: int | None = None
    played: int = 0
    #: The first position that could have had it; None while there is not enough to begin.
    ready_at: int | None = None
    ran_dry: bool = False

    def add(self, chunk: OutChunk) -> None:
        if chunk.last and self.total is None:
            self.total = chunk.offset + len(chunk.payload)
        known = self.islands.get(chunk.offset, b"")
        if chunk.offset + len(chunk.payload) > len(self.data) and len(chunk.payload) > len(known):
            self.islands[chunk.offset] = chunk.payload
        for offset in sorted(self.islands):
            have = len(self.data)
            if offset > have:
                break
            self.data += self.islands.pop(offset)[have - offset :]

    @property
    def finished(self) -> bool:
        return self.total is not None and self.played >= self.total

    @property
    def whole(self) -> bool:
        """Is all of it here?"""
        return self.total is not None and len(self.data) >= self.total

    @property
    def ready(self) -> bool:
        """Is there enough of it to begin, or to go on?"""
        return len(self.data) - self.played >= PREBUFFER or self.whole


@dataclass(slots=True)
class _Reply:
    sentences: dict[int, _Audio] = field(default_factory=dict)
    #: The sentence to be played next.
    next: int = 0
    #: How many it has; None until its writer said so.
    count: int | None = None

    @property
    def complete(self) -> bool:
        return self.count is not None and self.next >= self.count

    @property
    def begun(self) -> bool:
        return self.next > 0 or any(audio.played for audio in self.sentences.values())

    def keep_only(self, sentence: int) -> None:
        """Nothing but this sentence is wanted any more."""
        self.count = sentence + 1
        self.sentences = {sentence: self.sentences[sentence]}


@dataclass(slots=True)
class _Sent:
    """A frame that has left, was not played yet as far as is known, and may have to be undone."""

    place: _Place
    audio: _Audio
    samples: int
    #: What is to be said of it once it was played.
    entries: Ledger
    finished: bool = False
    #: The pause that was due began after it.
    paused: bool = False


class Playout:
    """One call's playout. Payloads are PCMU, one byte a sample."""

    def __init__(self, recall: Callable[[], None] | None = None) -> None:
        """`recall()` has the carrier forget what it has not played; None: what leaves is heard.

        With it, `heard` must be called for each frame that `next` gave.
        """
        self.ledger: Ledger = []
        self._recall = recall
        #: What has left and was not played yet, the oldest first.
        self._sent: deque[_Sent] = deque()
        #: What is playing at the far end.
        self._heard: _Place | None = None
        self._replies: dict[ReplyId, _Reply] = {}
        self._current: _Place | None = None
        self._paused = False
        #: Pause once the protected sentence that is playing has been heard.
        self._pause_due = False
        self._wanted_from = 0
        #: Which revision answers a turn that has ended.
        self._confirmed: dict[int, ReplyId] = {}
        self._protected: set[tuple[ReplyId, int]] = set()
        #: An aside that the caller hears although it is paused.
        self._urgent: ReplyId | None = None
        #: Of the frame that left last.
        self._position = -FRAME_SAMPLES
        self._hold = Hold()
        #: The sentence that has run dry, and where: once it goes on, the gap is known.
        self._dry: tuple[_Place, int] | None = None

    def add(self, chunk: OutChunk) -> None:
        """Take a chunk; one that is not wanted or not new changes nothing."""
        reply = self._replies.get(chunk.reply)
        if reply is None:
            if not self._wanted(chunk.reply):
                return
            reply = self._replies[chunk.reply] = _Reply()
        if reply.next <= chunk.sentence and (reply.count is None or chunk.sentence < reply.count):
            audio = reply.sentences.setdefault(chunk.sentence, _Audio())
            audio.add(chunk)
            if audio.ready_at is None and audio.ready:
                audio.ready_at = self._position + FRAME_SAMPLES

    def end_reply(self, reply: ReplyId, sentences: int) -> None:
        """The reply has no more sentences than these."""
        known = self._replies.get(reply)
        if known is None and self._wanted(reply):
            known = self._replies[reply] = _Reply()
        if known is not None and known.count is None:
            known.count = sentences

    def protect(self, reply: ReplyId, sentence: int) -> None:
        """This sentence is heard to its end, once it has begun."""
        self._protected.add((reply, sentence))

    def confirm(self, reply: ReplyId) -> int:
        """The turn has ended with the words that this reply answers: it may be heard.

        Returns:
            How much audio of other guesses at the turn is thrown away, samples.
        """
        turn = turn_of(reply)
        self._confirmed[turn] = reply
        return sum(
            self._forget(other)
            for other in list(self._replies)
            if turn_of(other) == turn and other != reply and not is_aside(other)
        )

    def withdraw(self, reply: ReplyId) -> int:
        """The guess that this reply answers was wrong. Returns what is thrown away, samples."""
        return 0 if self._released(reply) else self._forget(reply)

    def urge(self, aside: ReplyId) -> None:
        """Let this aside be heard although the playout is paused."""
        self._urgent = aside

    def complete(self, reply: ReplyId) -> bool:
        """Has all of the reply been played? One that may not be heard yet has not."""
        known = self._replies.get(reply)
        if known is None or not known.complete or not self._released(reply):
            return False
        return all(sent.place.reply != reply for sent in self._sent)

    @property
    def is_speaking(self) -> bool:
        """Is a sentence in its midst?"""
        return self._current is not None

    def heard(self) -> None:
        """The far end has played the oldest frame that it was not known to have played."""
        self._tell(self._sent.popleft().entries)

    def take_back(self) -> None:
        """What was not played will not be: it is sent again."""
        self._take_back(protected=False)

    def pause(self, position: int, now_ms: float) -> None:
        """The caller speaks: nothing more leaves, from the frame at `position` on."""
        self._take_back()
        if self._current is not None and self._is_protected(self._current):
            self._pause_due = True
            return
        self._paused = True
        self._urgent = None
        self._dry = None
        self._stop(position, now_ms, "paused")

    def resume(self) -> None:
        """It was nothing: go on where it stopped."""
        self._paused = self._pause_due = False

    def drop_before(self, turn: int, position: int, now_ms: float) -> None:
        """Forget replies to turns before this one; playing goes on with what is left."""
        self._wanted_from = max(self._wanted_from, turn)
        if any(sent.place.turn < turn for sent in self._sent):
            self._take_back()
        kept: ReplyId | None = None
        if self._current is not None and self._current.turn < turn:
            if self._is_protected(self._current):
                kept = self._current.reply
                self._replies[kept].keep_only(self._current.sentence)
            else:
                self._stop(position, now_ms, "dropped")
        self._replies = {
            reply: state
            for reply, state in self._replies.items()
            if turn_of(reply) >= turn or reply == kept
        }
        self._protected = {place for place in self._protected if place[0] in self._replies}
        self._paused = self._pause_due = False

    def close(self, position: int, now_ms: float) -> None:
        """The call is over."""
        self._take_back()
        self._stop(position, now_ms, "dropped")
        self._replies.clear()

    def lapse(self, position: int, now_ms: float) -> None:
        """Nothing can leave as the frame at `position`: what is playing goes on after it."""
        self._position = position
        self._dry = None
        self._stop(position, now_ms, "starved")

    def next(self, position: int, now_ms: float, *, early: bool = False) -> bytes | None:
        """The 160 samples to send as the frame at `position`; None for silence.

        `early`: it leaves ahead of its time, so what is not all here may still come in time.
        """
        self._position = position
        if not self._replies:
            return None
        place = self._current or self._choose()
        if place is None:
            return None
        audio = self._replies[place.reply].sentences[place.sentence]
        frame = bytes(audio.data[audio.played : audio.played + FRAME_SAMPLES])
        if early and len(frame) < FRAME_SAMPLES and not audio.whole:
            return None
        if not frame and not audio.finished:
            self._stop(position, now_ms, "starved")
            self._dry = place, position
            audio.ran_dry = True
            return None
        if self._recall is not None and frame:
            self._sent.append(_Sent(place, audio, len(frame), []))
        if self._current is None and frame:
            self._current = place
            self._measure_gap(place, position)
            self._note(
                PlaybackStarted(
                    at=now_ms,
                    reply=place.reply,
                    index=place.sentence,
                    offset=audio.played,
                    position=position,
                )
            )
        audio.played += len(frame)
        if audio.finished:
            self._finish(place, audio, position, now_ms)
        return frame or None

    def _finish(self, place: _Place, audio: _Audio, position: int, now_ms: float) -> None:
        """The sentence's last frame leaves."""
        self._stop(position + FRAME_SAMPLES, now_ms, "finished")
        reply = self._replies[place.reply]
        reply.next += 1
        del reply.sentences[place.sentence]
        if not audio.ran_dry:
            self._hold.sentence_heard()
        if self._sent and self._sent[-1].audio is audio:
            self._sent[-1].finished = True
            self._sent[-1].paused = self._pause_due
        self._paused = self._paused or self._pause_due
        self._pause_due = False

    def _note(self, entry: PlaybackStarted | PlaybackStopped) -> None:
        """Write to the ledger, once the frames before it have been played."""
        if self._sent:
            self._sent[-1].entries.append(entry)
        else:
            self._tell([entry])

    def _tell(self, entries: Ledger) -> None:
        for entry in entries:
            started = isinstance(entry, PlaybackStarted)
            turn = turn_of(entry.reply)
            self._heard = _Place(turn, entry.reply, entry.index) if started else None
        self.ledger += entries

    def _take_back(self, *, protected: bool = True) -> None:
        """Undo what has left and was not played; not within a sentence that is `protected`."""
        unheard = self._sent
        if not unheard or self._recall is None:
            return
        first = unheard[0].place
        if protected and self._is_protected(first) and all(sent.place == first for sent in unheard):
            return
        self._recall()
        while unheard:
            sent = unheard.pop()
            sent.audio.played -= sent.samples
            reply = self._replies.get(sent.place.reply)
            if sent.finished and reply is not None:
                reply.next = sent.place.sentence
                reply.sentences[sent.place.sentence] = sent.audio
            if sent.paused:
                self._paused, self._pause_due = False, True
        self._current = self._heard
        self._dry = None

    def _wanted(self, reply: ReplyId) -> bool:
        turn = turn_of(reply)
        if turn < self._wanted_from:
            return False
        confirmed = self._confirmed.get(turn)
        return is_aside(reply) or confirmed is None or confirmed == reply

    def _released(self, reply: ReplyId) -> bool:
        """May it be heard, now that its turn has ended with the words that it answers?"""
        turn = turn_of(reply)
        return turn == GREETING_TURN or is_aside(reply) or self._confirmed.get(turn) == reply

    def _is_protected(self, place: _Place) -> bool:
        return (place.reply, place.sentence) in self._protected

    def _forget(self, reply: ReplyId) -> int:
        state = self._replies.pop(reply, None)
        return sum(len(audio.data) for audio in state.sentences.values()) if state else 0

    def _choose(self) -> _Place | None:
        """The sentence that is due, if there is enough of it to begin.

        The answer goes first: an aside is heard only while none of it is there, and one that comes
        too late is not heard at all.
        """
        waiting = None
        for reply in sorted(self._replies, key=_order):
            state = self._replies[reply]
            if state.complete or not self._released(reply):
                continue
            if self._paused and reply != self._urgent:
                continue
            place = _Place(turn_of(reply), reply, state.next)
            if waiting is not None and place.turn != waiting:
                return None
            audio = state.sentences.get(state.next)
            if audio is not None and audio.ready:
                if self._holds(audio):
                    return None
                if not is_aside(reply) and not audio.played:
                    self._too_late(place.turn)
                return place
            if not is_aside(reply):
                waiting = place.turn
        return None

    def _holds(self, audio: _Audio) -> bool:
        """Is it to wait, so that it does not run dry? What goes on, or is all here, is not."""
        if audio.played or audio.whole or audio.ready_at is None:
            return False
        return self._position - audio.ready_at < self._hold.samples

    def _measure_gap(self, place: _Place, position: int) -> None:
        """Learn from the gap before what plays now, if there is one in its midst."""
        if self._dry is not None and self._dry[0] == place:
            self._hold.gap_heard(position - self._dry[1])
        self._dry = None

    def _too_late(self, turn: int) -> None:
        """Asides up to this turn that have not begun are not wanted any more."""
        for reply, state in self._replies.items():
            if is_aside(reply) and turn_of(reply) <= turn and not state.begun:
                state.count = 0
                state.sentences.clear()

    def _stop(self, position: int, now_ms: float, why: str) -> None:
        if self._current is None:
            return
        place, self._current = self._current, None
        audio = self._replies[place.reply].sentences[place.sentence]
        self._note(
            PlaybackStopped(
                at=now_ms,
                reply=place.reply,
                index=place.sentence,
                offset=audio.played,
                position=position,
                why=why,  # type: ignore[arg-type]  # the literals are written above
            )
        )


def _order(reply: ReplyId) -> tuple[int, bool, int]:
    return turn_of(reply), is_aside(reply), revision_of(reply)
