"""One call judged by its log: every word heard once, every sentence spoken once, to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from calls import events as e
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import GREETING_TURN
from calls.turns import Reply, Sentence, Turn
from trunkline.chaos.script import Script
from trunkline.chaos.words import compare
from trunkline.phone.caller import Story
from workers.providers.wording import words

#: Samples per ms of the media clock.
_PER_MS: Final = 8
#: A pause between two sentences of an answer that a listener notices, ms.
_NOTICED_MS: Final = 300.0


@dataclass(slots=True)
class Verdict:
    """What is wrong with a call; nothing is, if its lists are empty."""

    name: str
    call: str
    turns: int = 0
    sentences: int = 0
    words_lost: tuple[str, ...] = ()
    words_added: tuple[str, ...] = ()
    turns_wrong: int = 0
    sentences_repeated: list[str] = field(default_factory=list)
    sentences_skipped: list[str] = field(default_factory=list)
    #: The turns that nobody answered.
    replies_missing: list[int] = field(default_factory=list)
    #: Why the call ended before its caller wanted it to; "" if it did not.
    dropped: str = ""
    #: Silences inside a sentence, because its audio was late, and between two sentences of an
    #: answer, as far as they are noticed. In ms of the media clock.
    gaps_ms: list[float] = field(default_factory=list)
    pauses_ms: list[float] = field(default_factory=list)
    #: From the end of what was said to the first voice of the answer, at the phone. In ms.
    waits_ms: list[float] = field(default_factory=list)
    #: What was said beside the answers, by reason: a filler, a word about trouble.
    asides: Counter[str] = field(default_factory=Counter)
    #: What people need to find out why, with the turn it happened in.
    remarks: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Was nothing lost, doubled, or cut off?"""
        return not (
            self.words_lost
            or self.words_added
            or self.sentences_repeated
            or self.sentences_skipped
            or self.replies_missing
            or self.dropped
        )


def judge(story: Story, script: Script, log: Sequence[e.AnyEvent]) -> Verdict:
    """Judge a call by its log and by what its caller did."""
    conversation = Conversation.of(log)
    started = conversation.started
    found = Verdict(story.name, started.call if started else "")
    found.dropped = story.dropped or _ended_otherwise(conversation)
    _judge_words(found, story, script, conversation)
    finished = Counter(
        (event.reply, event.index)
        for event in log
        if isinstance(event, e.PlaybackStopped) and event.why == "finished"
    )
    for place, times in finished.items():
        if times > 1:
            found.sentences_repeated.append(f"{place[0]}/{place[1]}")
            found.remarks.append(f"sentence {place} was finished {times} times")
    for turn in conversation.turns.values():
        _judge_reply(found, script, turn)
    found.asides = Counter(event.why for event in log if isinstance(event, e.AsideDue))
    for event in log:
        if isinstance(event, e.StageFailed):
            found.remarks.append(f"{event.stage} failed: {event.error_type}: {event.message}")
        elif isinstance(event, e.MediaGap):
            found.remarks.append(f"{event.stage} missed {event.samples} samples")
    found.waits_ms = [
        round((said.answered_at - said.ended_at) * 1000, 1)
        for said in story.said
        if said.answered_at is not None
    ]
    for number, said in enumerate(story.said, start=1):
        if said.answered_at is None:
            found.remarks.append(f"the caller heard no answer to what it said {number}th")
    return found


def _ended_otherwise(conversation: Conversation) -> str:
    if conversation.ended is None:
        return "its end is not in the log"
    why = conversation.ended.why
    return "" if why is Ending.CALLER_HUNG_UP else f"it ended: {why.value}"


def _judge_words(found: Verdict, story: Story, script: Script, conversation: Conversation) -> None:
    said = [script.recordings[each.recording].words for each in story.said]
    heard = [
        " ".join(words(turn.ended.text))
        for _, turn in sorted(conversation.turns.items())
        if turn.ended is not None
    ]
    difference = compare(said, heard)
    found.turns = len(said)
    found.words_lost, found.words_added = difference.lost, difference.added
    found.turns_wrong = len(difference.turns)
    for ours, theirs in difference.turns:
        found.remarks.append(f"said {list(ours)}, heard {list(theirs)}")


def _judge_reply(found: Verdict, script: Script, turn: Turn) -> None:
    greeting = turn.number == GREETING_TURN
    if not greeting and turn.ended is None:
        return
    text = turn.ended.text if turn.ended else ""
    due = script.greeting if greeting else script.answer_to(" ".join(words(text)))
    found.sentences += len(due)
    reply = turn.reply
    if reply is None or not any(sentence.finished for sentence in reply.ordered):
        found.replies_missing.append(turn.number)
        found.sentences_skipped += due
        found.remarks.append(f"turn {turn.number}: no answer ({_state(reply)})")
        return
    heard = " ".join(sentence.text for sentence in reply.ordered if sentence.finished)
    for sentence in due:
        times = heard.count(sentence)
        if times == 0:
            found.sentences_skipped.append(sentence)
            found.remarks.append(f"turn {turn.number}: skipped {sentence!r} ({_state(reply)})")
        elif times > 1:
            found.sentences_repeated.append(sentence)
            found.remarks.append(f"turn {turn.number}: {sentence!r} came {times} times")
    for other in turn.replies.values():
        if other is not reply and any(sentence.runs for sentence in other.ordered):
            found.sentences_repeated += [s.text for s in other.ordered if s.runs]
            found.remarks.append(f"turn {turn.number}: {other.id} was heard besides {reply.id}")
    _judge_playing(found, turn.number, reply)


def _judge_playing(found: Verdict, number: int, reply: Reply) -> None:
    ended_at: int | None = None
    for sentence in reply.ordered:
        runs = sorted(sentence.runs, key=lambda run: run.position)
        if not runs:
            continue
        if ended_at is not None:
            pause_ms = (runs[0].position - ended_at) / _PER_MS
            if pause_ms > _NOTICED_MS:
                found.pauses_ms.append(pause_ms)
                found.remarks.append(
                    f"turn {number}: {pause_ms:.0f} ms of silence before sentence {sentence.index}"
                )
        ended_at = runs[-1].position + runs[-1].end - runs[-1].offset
        expected = 0
        for run in runs:
            if run.offset < expected:
                found.sentences_repeated.append(sentence.text)
                found.remarks.append(f"turn {number}: {expected - run.offset} samples came again")
            elif run.offset > expected:
                found.sentences_skipped.append(sentence.text)
                found.remarks.append(f"turn {number}: {run.offset - expected} samples left out")
            expected = run.end
        for before, after in pairwise(runs):
            gap_ms = (after.position - before.position - (before.end - before.offset)) / _PER_MS
            found.gaps_ms.append(gap_ms)
            found.remarks.append(
                f"turn {number}: {gap_ms:.0f} ms of silence inside sentence {sentence.index}"
            )


def _state(reply: Reply | None) -> str:
    if reply is None:
        return "never begun"
    sentences = ", ".join(_sentence_state(sentence) for sentence in reply.ordered)
    cut = ", cut by the next turn" if reply.cut else ""
    return f"reply {reply.id} {reply.ended or 'never ended'}{cut}: {sentences or 'no sentences'}"


def _sentence_state(sentence: Sentence) -> str:
    played = "finished" if sentence.finished else f"heard {sentence.heard_samples}"
    return f"{sentence.index} {sentence.synthesis or 'not synthesized'} {played}"
