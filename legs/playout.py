"""The playout queue: what the agent says, in order, a frame at a time, with a ledger of it.

Chunks come from several workers at once, out of order and perhaps twice; each names its place
(reply, sentence, offset), so the queue takes what it lacks and plays sentences in their order.
The ledger says, to the sample, what left: a run of audio starts, and it stops because the sentence
is finished, its next audio is late, the caller speaks, or nobody wants the reply any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bus.audio import OutChunk
from calls.events import PlaybackStarted, PlaybackStopped
from calls.ids import ReplyId, turn_of
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
    def ready(self) -> bool:
        """Is there enough of it to begin?"""
        have = len(self.data)
        return have - self.played >= PREBUFFER or (self.total is not None and have >= self.total)


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


class Playout:
    """One call's playout. Payloads are PCMU, one byte a sample."""

    def __init__(self) -> None:
        self.ledger: Ledger = []
        self._replies: dict[ReplyId, _Reply] = {}
        self._current: _Place | None = None
        self._paused = False
        self._wanted_from = 0

    def add(self, chunk: OutChunk) -> None:
        """Take a chunk; one that is not wanted or not new changes nothing."""
        if turn_of(chunk.reply) < self._wanted_from:
            return
        reply = self._replies.setdefault(chunk.reply, _Reply())
        if chunk.sentence >= reply.next:
            reply.sentences.setdefault(chunk.sentence, _Audio()).add(chunk)

    def end_reply(self, reply: ReplyId, sentences: int) -> None:
        """The reply has no more sentences than these."""
        if turn_of(reply) >= self._wanted_from:
            self._replies.setdefault(reply, _Reply()).count = sentences

    def complete(self, reply: ReplyId) -> bool:
        """Has all of the reply been played?"""
        known = self._replies.get(reply)
        return known is not None and known.complete

    def pause(self, position: int, now_ms: float) -> None:
        """The caller speaks: nothing more leaves, from the frame at `position` on."""
        self._paused = True
        self._stop(position, now_ms, "paused")

    def resume(self) -> None:
        """It was nothing: go on where it stopped."""
        self._paused = False

    def drop_before(self, turn: int, position: int, now_ms: float) -> None:
        """Forget replies to turns before this one; playing goes on with what is left."""
        self._wanted_from = max(self._wanted_from, turn)
        if self._current is not None and self._current.turn < turn:
            self._stop(position, now_ms, "dropped")
        self._replies = {
            reply: state for reply, state in self._replies.items() if turn_of(reply) >= turn
        }
        self._paused = False

    def close(self, position: int, now_ms: float) -> None:
        """The call is over."""
        self._stop(position, now_ms, "dropped")
        self._replies.clear()

    def next(self, position: int, now_ms: float) -> bytes | None:
        """The 160 samples to send as the frame at `position`; None for silence."""
        if self._paused or not self._replies:
            return None
        place = self._current or self._choose()
        if place is None:
            return None
        audio = self._replies[place.reply].sentences[place.sentence]
        frame = bytes(audio.data[audio.played : audio.played + FRAME_SAMPLES])
        if not frame and not audio.finished:
            self._stop(position, now_ms, "starved")
            return None
        if self._current is None and frame:
            self._current = place
            self.ledger.append(
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
            self._stop(position + FRAME_SAMPLES, now_ms, "finished")
            reply = self._replies[place.reply]
            reply.next += 1
            del reply.sentences[place.sentence]
        return frame or None

    def _choose(self) -> _Place | None:
        """The sentence that is due, if there is enough of it to begin."""
        for reply in sorted(self._replies, key=_order):
            state = self._replies[reply]
            if state.complete:
                continue
            audio = state.sentences.get(state.next)
            if audio is None or not audio.ready:
                return None
            return _Place(turn_of(reply), reply, state.next)
        return None

    def _stop(self, position: int, now_ms: float, why: str) -> None:
        if self._current is None:
            return
        place, self._current = self._current, None
        audio = self._replies[place.reply].sentences[place.sentence]
        self.ledger.append(
            PlaybackStopped(
                at=now_ms,
                reply=place.reply,
                index=place.sentence,
                offset=audio.played,
                position=position,
                why=why,  # type: ignore[arg-type]  # the literals are written above
            )
        )


def _order(reply: ReplyId) -> tuple[int, int]:
    turn, _, revision = reply.partition(".")
    return int(turn), int(revision or 0)
