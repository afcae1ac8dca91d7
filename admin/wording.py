"""What the log's words and figures are called on a page."""

from __future__ import annotations

from admin.talk import Murmur
from storage.turns import TurnRecord

#: What ended a turn, for people, by `calls.events.TurnEnded.rule`.
RULE_NAMES = {
    "silence": "silence",
    "complete": "complete answer",
    "unfinished": "unfinished clause",
    "provider": "transcriber's word",
    "longest": "too long a turn",
    "keypad": "keypad",
    "hung_up": "end of the call",
}
#: Why something was said beside an answer, by `calls.events.AsideReason`.
ASIDE_REASONS = {
    "filler": "The answer was late",
    "trouble": "The answer was very late, or a pool of workers away",
    "reprompt": "The caller was silent",
    "goodbye": "The caller stayed silent",
    "apology": "Nothing of the answer could be spoken",
    "transfer_failed": "The transfer failed, and the caller came back",
}
#: Speech that was no turn, by `calls.events.SpeechDropped.why`: what it is called, and the reason.
MURMURS = {
    "backchannel": ("murmur", "Said along with the agent, which went on"),
    "noise": ("noise", "Too little of it was speech"),
    "no_words": ("sound", "No words were heard in it"),
}


def ms(value: float) -> str:
    """Whole ms, with a thin space between thousands."""
    return f"{round(value):,}".replace(",", "\u2009")


def words(name: str) -> str:
    """`caller_hung_up` as people write it."""
    return name.replace("_", " ")


def turn_end(turn: TurnRecord) -> str:
    """What ended a turn, and after how long: `complete answer, 250 ms`; empty if not known."""
    if turn.rule is None:
        return ""
    name = RULE_NAMES.get(turn.rule, words(turn.rule))
    wait = turn.stages_ms.get("endpoint")
    # Only these waited for something.
    if wait is None or turn.rule in {"longest", "hung_up"}:
        return name
    return f"{name}, {ms(wait)} ms"


def guesses(turn: TurnRecord) -> str:
    """`2 guesses, 1 withdrawn; reply ready 120 ms before the turn ended`; empty for none."""
    if not turn.guesses:
        return ""
    told = f"{turn.guesses} guess{'es' if turn.guesses > 1 else ''}"
    if turn.guesses_withdrawn:
        told += f", {turn.guesses_withdrawn} withdrawn"
    if turn.ready_early_ms is not None and turn.ready_early_ms >= 0:
        told += f"; reply ready {ms(turn.ready_early_ms)} ms before the turn ended"
    elif turn.hidden_ms:
        told += f"; {ms(turn.hidden_ms)} ms of the reply made before the turn ended"
    return told


def murmur(heard: Murmur) -> tuple[str, str]:
    """What the caller murmured, as far as it was words, and why it was no turn."""
    name, why = MURMURS.get(heard.why, (words(heard.why), ""))
    if heard.why == "backchannel" and heard.text:
        return heard.text, why
    return name, f"{why}; taken for \u201c{heard.text}\u201d" if heard.text else why
