"""A turn and what became of it, from the model's mouth to the caller's ear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from calls import events as e
from calls.ids import GREETING_TURN, ReplyId, reply_id


class Run(NamedTuple):
    """A contiguous stretch of a sentence that was played: audio [offset, end) at `position`."""

    offset: int
    end: int
    position: int


@dataclass(slots=True)
class Sentence:
    """One sentence of a reply, from the model's mouth to the caller's ear."""

    index: int
    text: str = ""
    ready_at: float | None = None
    first_token_at: float | None = None
    taken_at: float | None = None
    audio_at: float | None = None
    #: Length of its audio; None until synthesis has ended.
    samples: int | None = None
    synthesis: Literal["complete", "cancelled", "failed"] | None = None
    played_at: float | None = None
    runs: list[Run] = field(default_factory=list)
    #: Where the run that is playing now began, (offset, position).
    playing: tuple[int, int] | None = None
    finished: bool = False
    #: It is spoken to its end, even if the caller speaks.
    protected: bool = False
    cached: bool = False

    @property
    def heard_samples(self) -> int:
        """How much of the audio the caller has heard."""
        return max((run.end for run in self.runs), default=0)

    @property
    def heard_text(self) -> str:
        """The words the caller has heard, as far as the audio heard tells.

        A protected sentence counts as heard once it plays: whoever answers the words said over it
        is heard after its end.
        """
        if self.finished or (self.protected and self.playing is not None):
            return self.text
        if not self.samples or not self.heard_samples:
            return ""
        cut = len(self.text) * min(self.heard_samples, self.samples) // self.samples
        if cut >= len(self.text):
            return self.text
        return self.text[: cut + 1].rpartition(" ")[0].rstrip()


@dataclass(slots=True)
class Reply:
    """The agent's answer to one turn."""

    id: ReplyId
    started_at: float | None = None
    sentences: dict[int, Sentence] = field(default_factory=dict)
    ended: Literal["complete", "cancelled", "failed"] | None = None
    #: How many sentences it has; None until it ended.
    count: int | None = None
    actions: list[e.ActionRequested] = field(default_factory=list)
    #: The caller spoke over it: only what was heard of it counts.
    cut: bool = False

    @property
    def ordered(self) -> list[Sentence]:
        return [self.sentences[index] for index in sorted(self.sentences)]

    @property
    def text(self) -> str:
        """All of it, heard or not."""
        return " ".join(sentence.text for sentence in self.ordered if sentence.text)

    @property
    def heard_text(self) -> str:
        """What the caller heard of it."""
        return " ".join(text for sentence in self.ordered if (text := sentence.heard_text))

    @property
    def played_out(self) -> bool:
        """All its sentences were heard to their end, or nothing more of it will come."""
        return self.count is not None and all(
            index in self.sentences
            and (self.sentences[index].finished or self.sentences[index].samples == 0)
            for index in range(self.count)
        )


@dataclass(slots=True)
class Aside:
    """Something said beside the answer: a filler, "are you still there?"."""

    due: e.AsideDue | None = None
    sentence: Sentence = field(default_factory=lambda: Sentence(0))


@dataclass(slots=True)
class Turn:
    """What the caller said, and what became of it. Turn 0 is the greeting: nobody spoke yet."""

    number: int
    ended: e.TurnEnded | None = None
    partial: str = ""
    #: What it was taken for while its end was not sure, by revision; those withdrawn too.
    guesses: dict[int, e.TurnGuessed] = field(default_factory=dict)
    #: The guess that stands, until the turn has ended.
    guess: e.TurnGuessed | None = None
    replies: dict[ReplyId, Reply] = field(default_factory=dict)
    #: What was said beside the answer, in order.
    asides: dict[ReplyId, Aside] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.ended.text if self.ended else self.partial

    @property
    def reply(self) -> Reply | None:
        """The reply that counts: to the words that the turn ended with."""
        if self.ended is None and self.number != GREETING_TURN:
            return None
        return self.replies.get(reply_id(self.number, self.ended.revision if self.ended else 0))
