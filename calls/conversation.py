"""The conversation: one fold over the log, used by ingress, workers, recorder and dashboard alike.

Feed it a call's events in log order and it knows what was said, what is being spoken, and what the
caller has heard of it, to the sample. It tolerates events it cannot place (a log that is still
being read, a repeated fact): folding is total and never raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Literal, NamedTuple

from calls import events as e
from calls.ids import GREETING_TURN, ReplyId, is_aside, revision_of, turn_of
from calls.notes import came_of, placed
from calls.turns import Aside, Reply, Run, Sentence, Turn

#: Names an action: the reply, what it asked for, and the how manieth of that name.
ActionKey = tuple[ReplyId, e.ActionName, int]


class Message(NamedTuple):
    """One line of the conversation, as a language model takes it.

    user: the caller; assistant: the agent; note: nobody said it, but it is so.
    """

    role: Literal["user", "assistant", "note"]
    text: str


@dataclass(slots=True)
class Conversation:
    """The state of a call after the events it was fed."""

    started: e.CallStarted | None = None
    rerouted: e.CallRerouted | None = None
    ringing: e.CallRinging | None = None
    answered_at: float | None = None
    ended: e.CallEnded | None = None
    quality: e.MediaQuality | None = None
    recorded: e.CallRecorded | None = None
    turns: dict[int, Turn] = field(default_factory=dict)
    digits: list[e.DigitPressed] = field(default_factory=list)
    failures: list[e.StageFailed] = field(default_factory=list)
    gaps: list[e.MediaGap] = field(default_factory=list)
    #: What came of the agent's actions, by the key of the request.
    outcomes: dict[ActionKey, e.ActionDone] = field(default_factory=dict)
    #: The steps of transfers, in order.
    steps: list[e.TransferProgressed] = field(default_factory=list)
    heard_to_the_end: bool = False
    #: The caller is speaking now (as far as the log knows).
    speech: e.SpeechStarted | None = None
    #: The last turn that ended; replies to earlier ones are stale if the agent yields.
    current_turn: int = GREETING_TURN
    #: Keys pressed up to here (samples) have become turns.
    keyed_until: int = -1
    #: What the agent is saying now, or said last.
    spoken: Sentence | None = None
    #: When anybody last did something that the other could hear or see (epoch ms).
    active_at: float = 0.0

    @classmethod
    def of(cls, events: Iterable[e.Event]) -> Conversation:
        """Fold a log."""
        conversation = cls()
        for event in events:
            conversation.apply(event)
        return conversation

    @property
    def yields(self) -> bool:
        """May the caller interrupt?"""
        return self.started is None or self.started.agent.barge_in

    @property
    def transferring(self) -> bool:
        """Is the caller being put through, so that they may not hear us?"""
        if not self.steps or self.ended is not None:
            return False
        # A reply's first transfer is its last: one that failed takes the others with it.
        begun = self.steps[-1].reply
        return not any(key[:2] == (begun, "transfer") for key in self.outcomes)

    @property
    def failed_transfers(self) -> int:
        """How often the caller came back to the agent."""
        done = self.outcomes.values()
        return sum(one.action == "transfer" and one.outcome == "failed" for one in done)

    def said_beside(self, why: e.AsideReason) -> list[e.AsideDue]:
        """What was said in the whole call, beside the answers, for this reason."""
        asides = (aside.due for turn in self.turns.values() for aside in turn.asides.values())
        return [due for due in asides if due is not None and due.why == why]

    def reply(self, reply: ReplyId) -> Reply | None:
        """What the log knows of a reply."""
        turn = self.turns.get(turn_of(reply))
        return turn.replies.get(reply) if turn else None

    def sentence(self, reply: ReplyId, index: int) -> Sentence | None:
        """What the log knows of a sentence."""
        turn = self.turns.get(turn_of(reply))
        if turn is not None and is_aside(reply):
            aside = turn.asides.get(reply)
            return aside.sentence if aside else None
        known = turn.replies.get(reply) if turn else None
        return known.sentences.get(index) if known else None

    def answers(self, reply: ReplyId) -> e.TurnEnded | e.TurnGuessed | None:
        """The words that this reply answers, if they are still taken for what was said."""
        turn = self.turns.get(turn_of(reply))
        words = (turn.ended or turn.guess) if turn else None
        return words if words is not None and words.revision == revision_of(reply) else None

    def is_current(self, reply: ReplyId) -> bool:
        """Is this reply, which may be a prepared one, still wanted?"""
        number = turn_of(reply)
        if self.ended is not None or (self.yields and number < self.current_turn):
            return False
        known = number in self.turns and number != GREETING_TURN and not is_aside(reply)
        return not known or self.answers(reply) is not None

    def is_confirmed(self, reply: ReplyId) -> bool:
        """May it be heard? A reply to a guess may not, until the turn has ended with its words."""
        turn = self.turns.get(turn_of(reply))
        if is_aside(reply) or turn_of(reply) == GREETING_TURN:
            return True
        return turn is not None and turn.ended is not None and self.answers(reply) is not None

    def is_wanted(self, reply: ReplyId, index: int) -> bool:
        """Is this sentence still wanted? A protected one is, once it has begun to be heard."""
        if self.is_current(reply):
            return True
        sentence = self.sentence(reply, index)
        begun = sentence is not None and sentence.protected and sentence.played_at is not None
        return self.ended is None and begun and sentence is not None and not sentence.finished

    def messages(self, before: int | None = None, words: str | None = None) -> list[Message]:
        """What was said, as the caller heard it, up to and including turn `before`'s own words.

        `words` stand for that turn's own while it has not ended. A reply that was cut counts only
        as far as it was heard; one that nobody heard is absent. Notes say what else the agent
        should know: whom it called, and what came of what it wanted done.
        """
        lines = [Message("note", note)] if (note := placed(self.started)) else []
        for number in sorted(self.turns):
            if before is not None and number > before:
                break
            turn = self.turns[number]
            text = turn.ended.text if turn.ended else words if number == before else None
            if text:
                lines.append(Message("user", text))
            reply = turn.reply
            if reply is None or number == before:
                continue
            # A turn that is only guessed has not cut what it speaks over; its answer shall know.
            over = before is not None and self.yields and not reply.played_out
            said = reply.heard_text if reply.cut or over else reply.text
            if said:
                lines.append(Message("assistant", said))
            lines += [Message("note", note) for note in self._came_of(reply) if note]
        return lines

    def _came_of(self, reply: Reply) -> Iterator[str]:
        """What came of what the reply wanted done."""
        begun = any(step.reply == reply.id for step in self.steps)
        for request in reply.actions:
            outcome = self.outcomes.get((reply.id, request.action, request.index))
            asides = self.said_beside("transfer_failed") if outcome is not None else ()
            told = next((aside for aside in asides if outcome and aside.at >= outcome.at), None)
            yield came_of(request, outcome, told, begun=begun)

    def _turn(self, number: int) -> Turn:
        return self.turns.setdefault(number, Turn(number))

    def _reply(self, reply: ReplyId) -> Reply:
        return self._turn(turn_of(reply)).replies.setdefault(reply, Reply(reply))

    def _aside(self, reply: ReplyId) -> Aside:
        return self._turn(turn_of(reply)).asides.setdefault(reply, Aside())

    def _sentence(self, reply: ReplyId, index: int) -> Sentence:
        if is_aside(reply):
            return self._aside(reply).sentence
        return self._reply(reply).sentences.setdefault(index, Sentence(index))

    @singledispatchmethod
    def apply(self, event: e.Event) -> None:
        """Take the next event of the log. What the fold has no use for is passed over."""

    @apply.register
    def _(self, event: e.CallStarted) -> None:
        self.started = self.started or event

    @apply.register
    def _(self, event: e.CallRerouted) -> None:
        self.rerouted = event

    @apply.register
    def _(self, event: e.CallRinging) -> None:
        self.ringing = event

    @apply.register
    def _(self, event: e.CallAnswered) -> None:
        self.answered_at = self.answered_at or event.at
        self._active(event)

    @apply.register
    def _(self, event: e.CallEnded) -> None:
        self.ended = self.ended or event
        self.speech = None

    @apply.register
    def _(self, event: e.MediaQuality) -> None:
        self.quality = event

    @apply.register
    def _(self, event: e.CallRecorded) -> None:
        self.recorded = event

    @apply.register
    def _(self, event: e.DigitPressed) -> None:
        if event not in self.digits:
            self.digits.append(event)
        self._active(event)

    @apply.register
    def _(self, event: e.MediaGap) -> None:
        if event not in self.gaps:
            self.gaps.append(event)

    @apply.register
    def _(self, event: e.StageFailed) -> None:
        if event not in self.failures:
            self.failures.append(event)

    @apply.register
    def _(self, event: e.SpeechStarted) -> None:
        self.speech = event
        self._active(event)

    @apply.register
    def _(self, event: e.SpeechDropped) -> None:
        if self.speech is not None and self.speech.turn == event.turn:
            self.speech = None
        if (turn := self.turns.get(event.turn)) is not None and turn.ended is None:
            turn.partial = ""  # it was said, and is no turn's words
        self._active(event)

    @apply.register
    def _(self, event: e.TurnGuessed) -> None:
        turn = self._turn(event.turn)
        if event.revision not in turn.guesses:
            turn.guesses[event.revision] = turn.guess = event

    @apply.register
    def _(self, event: e.GuessWithdrawn) -> None:
        turn = self._turn(event.turn)
        if turn.guess is not None and turn.guess.revision == event.revision:
            turn.guess = None

    @apply.register
    def _(self, event: e.TranscriptPartial) -> None:
        self._turn(event.turn).partial = event.text

    @apply.register
    def _(self, event: e.TurnEnded) -> None:
        if self._turn(event.turn).ended is not None:
            return
        self._turn(event.turn).ended = event
        self.current_turn = max(self.current_turn, event.turn)
        if event.rule == "keypad":
            self.keyed_until = max(self.keyed_until, event.speech_end)
        self.speech = None
        self._active(event)
        if self.yields:
            for number, turn in self.turns.items():
                if number < event.turn:
                    for reply in turn.replies.values():
                        reply.cut = True

    @apply.register
    def _(self, event: e.HearingEnded) -> None:  # noqa: ARG002  # dispatched on, not read
        self.heard_to_the_end = True

    @apply.register
    def _(self, event: e.ReplyStarted) -> None:
        reply = self._reply(event.reply)
        reply.started_at = reply.started_at or event.at
        reply.cut = reply.cut or not self.is_current(event.reply)

    @apply.register
    def _(self, event: e.SentenceReady) -> None:
        sentence = self._sentence(event.reply, event.index)
        sentence.text = event.text
        sentence.ready_at = event.at
        sentence.first_token_at = event.first_token_at
        sentence.protected = event.protected

    @apply.register
    def _(self, event: e.AsideDue) -> None:
        aside = self._aside(event.reply)
        aside.due = event
        aside.sentence.text = event.text
        aside.sentence.ready_at = event.at

    @apply.register
    def _(self, event: e.ActionRequested) -> None:
        actions = self._reply(event.reply).actions
        if event not in actions:
            actions.append(event)

    @apply.register
    def _(self, event: e.ActionDone) -> None:
        self.outcomes.setdefault((event.reply, event.action, event.index), event)
        self._active(event)

    @apply.register
    def _(self, event: e.TransferProgressed) -> None:
        if event not in self.steps:
            self.steps.append(event)
        self._active(event)

    @apply.register
    def _(self, event: e.ReplyEnded) -> None:
        reply = self._reply(event.reply)
        reply.ended = event.why
        reply.count = event.sentences

    @apply.register
    def _(self, event: e.SynthesisStarted) -> None:
        sentence = self._sentence(event.reply, event.index)
        sentence.taken_at = event.taken_at
        sentence.audio_at = event.at
        sentence.cached = event.cached

    @apply.register
    def _(self, event: e.SynthesisEnded) -> None:
        sentence = self._sentence(event.reply, event.index)
        sentence.samples = event.samples
        sentence.synthesis = event.why

    @apply.register
    def _(self, event: e.PlaybackStarted) -> None:
        sentence = self._sentence(event.reply, event.index)
        if sentence.played_at is None:
            sentence.played_at = event.at
        sentence.playing = (event.offset, event.position)
        self.spoken = sentence
        self._active(event)

    @apply.register
    def _(self, event: e.PlaybackStopped) -> None:
        sentence = self._sentence(event.reply, event.index)
        if sentence.playing is not None:
            offset, position = sentence.playing
            run = Run(offset, max(offset, event.offset), position)
            if run not in sentence.runs:
                sentence.runs.append(run)
            sentence.playing = None
        sentence.finished = sentence.finished or event.why == "finished"
        self._active(event)

    def _active(self, event: e.Event) -> None:
        self.active_at = max(self.active_at, event.at)
