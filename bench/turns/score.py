"""What a scene's outcome is worth, and the table of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from simulation import Outcome

from calls import events as e
from calls.ids import ReplyId, turn_of

_FIRST: Final = ReplyId("0.0")
_RESUMED_MS: Final = 600
_TURNS: Final = ("answer", "hesitation", "babble")


@dataclass
class Score:
    """One case. Times in ms; None where nothing came."""

    kind: str
    name: str
    recorded: bool
    #: The agent's answer was heard before the caller had finished.
    cut: bool = False
    #: From the true end to the answer.
    response: float | None = None
    #: From the first sample of speech to the agent's silence.
    reaction: float | None = None
    #: How long the agent was silent for a backchannel, and how long after its end.
    pause: float = 0.0
    after: float = 0.0
    replies: int = 0
    #: Replies prepared ahead, and those of them for nothing.
    guessed: int = 0
    wasted: int = 0
    lost: int = 0
    doubled: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        return f"{self.kind}: {self.name}: {', '.join(self.failed)}"


def score(outcome: Outcome) -> Score:
    made = outcome.scene
    result = Score(made.case.kind, made.case.name, made.recorded)
    result.replies = len(outcome.of(e.TurnEnded))
    result.guessed = len(outcome.of(e.TurnGuessed))
    result.wasted = len(outcome.of(e.GuessWithdrawn))
    match result.kind:
        case "answer" | "hesitation" | "babble":
            _turn(outcome, result)
        case "barge_in" | "echo_barge_in":
            _barge_in(outcome, result)
        case "backchannel" | "echo":
            _unbroken(outcome, result)
        case _:
            if result.replies:
                result.failed.append(f"answered {outcome.of(e.TurnEnded)[0].text!r}")
    return result


def _turn(outcome: Outcome, result: Score) -> None:
    end = outcome.scene.true_end / 8
    answered = [_at(n) for n, reply in enumerate(outcome.spoken) if reply and turn_of(reply) > 0]
    result.cut = any(at < end for at in answered)
    _words(outcome, result)
    if result.cut:
        result.failed.append(f"cut off {end - answered[0]:.0f} ms before its end")
        return
    if not answered:
        result.failed.append("no answer")
        return
    result.response = answered[0] - end
    if result.response > 1350:
        result.failed.append(f"answered after {result.response:.0f} ms")


def _words(outcome: Outcome, result: Score) -> None:
    true = Counter(word.text for word in outcome.scene.words)
    texts = " ".join(turn.text for turn in outcome.of(e.TurnEnded))
    heard = Counter(texts.lower().replace(".", "").split())
    result.lost, result.doubled = (true - heard).total(), (heard - true).total()
    if result.lost or result.doubled:
        result.failed.append(f"{result.lost} words lost, {result.doubled} too many")


def _barge_in(outcome: Outcome, result: Score) -> None:
    begin = outcome.scene.true_begin / 8
    playing = [n for n, reply in enumerate(outcome.spoken) if reply == _FIRST]
    if not playing or _finished(outcome):
        result.failed.append("did not stop")
        return
    result.reaction = _at(playing[-1] + 1) - begin
    _words(outcome, result)
    if result.reaction > 600:
        result.failed.append(f"stopped after {result.reaction:.0f} ms")


def _unbroken(outcome: Outcome, result: Score) -> None:
    end = outcome.scene.true_end / 8
    stopped = None
    for at, event in outcome.log:
        if isinstance(event, e.PlaybackStopped) and event.why == "paused":
            stopped = at
        elif isinstance(event, e.PlaybackStarted) and stopped is not None:
            result.pause = max(result.pause, at - stopped)
            result.after = max(result.after, at - end)
            stopped = None
    if result.replies:
        result.failed.append(f"answered {outcome.of(e.TurnEnded)[0].text!r}")
    if not _finished(outcome):
        result.failed.append("the agent did not go on")
    elif result.kind == "echo" and result.pause:
        result.failed.append(f"paused for {result.pause:.0f} ms")
    elif result.after > _RESUMED_MS:
        result.failed.append(f"paused for {result.pause:.0f} ms, {result.after:.0f} after its end")


def _finished(outcome: Outcome) -> bool:
    stops = [event for event in outcome.of(e.PlaybackStopped) if event.reply == _FIRST]
    return any(event.why == "finished" for event in stops)


def _at(frame: int) -> float:
    return (frame + 1) * 20.0


def _percentiles(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    p50, p95 = np.percentile(known, (50, 95))
    return f"{p50:.0f} / {p95:.0f}"


HEAD: Final = (
    "| | response p50 / p95 | cut off (recorded) | no answer | barge-in p50 / p95 (missed) "
    "| backchannels: resumed within 600 ms of their end (of the pause) | replies to them "
    "| echo stops it | replies to noise | words lost, doubled "
    "| guesses a turn, wasted |\n" + "| --- " * 11 + "|"
)


def row(name: str, scores: Sequence[Score]) -> str:
    """A line of the table."""
    turns = [each for each in scores if each.kind in _TURNS]
    barges = [each for each in scores if each.kind in {"barge_in", "echo_barge_in"}]
    backs = [each for each in scores if each.kind == "backchannel"]
    echoes = [each for each in scores if each.kind == "echo"]
    noises = [each for each in scores if each.kind == "noise"]
    recorded = [each for each in turns if each.recorded]
    fine = [each for each in backs if not each.failed]
    at_once = [each for each in fine if each.pause <= _RESUMED_MS]
    return (
        f"| {name} | {_percentiles(each.response for each in turns)} "
        f"| {_share([each.cut for each in turns])} ({_share([each.cut for each in recorded])}) "
        f"| {sum(each.response is None and not each.cut for each in turns)} "
        f"| {_percentiles(each.reaction for each in barges)} "
        f"({sum(each.reaction is None for each in barges)}) "
        f"| {len(fine)} ({len(at_once)}) of "
        f"{len(backs)} | {sum(each.replies for each in backs)} "
        f"| {sum(bool(each.failed) for each in echoes)} of {len(echoes)} "
        f"| {sum(bool(each.replies) for each in noises)} of {len(noises)} "
        f"| {sum(each.lost for each in turns + barges)}, "
        f"{sum(each.doubled for each in turns + barges)} "
        f"| {_per(turns, sum(each.guessed for each in turns))}, "
        f"{_per(turns, sum(each.wasted for each in turns))} |"
    )


def _per(turns: Sequence[Score], count: int) -> str:
    return f"{count / len(turns):.2f}" if turns else "-"


def _share(cut: Sequence[bool]) -> str:
    return f"{sum(cut) / len(cut):.1%}" if cut else "-"
