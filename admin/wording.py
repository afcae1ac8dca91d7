"""What the log's words and figures are called on a page."""

from __future__ import annotations

from admin.talk import Murmur
from bus.trunk_state import TrunkState
from storage.actions import ActionRecord
from storage.record import CallSummary
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
#: Is a trunk registered, by `bus.trunk_state.TrunkState.registered`.
REGISTRATIONS = {
    "yes": "registered",
    "no": "not registered",
    "failed": "failed",
    "off": "not wanted",
}
#: Does it answer OPTIONS, by `bus.trunk_state.TrunkState.reachable`.
REACHABILITY = {"yes": "answers", "no": "no answer", "unknown": "not asked yet"}
#: How satisfied users are by MOS, as ITU-T G.107 annex B draws its lines; below all: bad.
_SATISFIED = ((4.03, "good"), (3.6, "fair"), (3.1, "poor"))


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


def mos(value: float) -> str:
    """`4.3, good`."""
    word = next((word for least, word in _SATISFIED if value >= least), "bad")
    return f"{value:.1f}, {word}"


def mos_tone(value: float) -> str:
    """The colour for a MOS: good, plain or bad."""
    return "good" if value >= 4.03 else "plain" if value >= 3.6 else "bad"


def action(done: ActionRecord) -> str:
    """What the agent wanted done: `Transfer to front (+15550111), attended`."""
    given = done.arguments
    if done.action == "transfer":
        name, target = given.get("destination", ""), given.get("target", "")
        whom = f"{name} ({target})" if name else target
        return f"Transfer to {whom}, {given.get('mode', 'blind')}"
    if done.action == "send_digits":
        return f"Keys {given.get('digits', '')}"
    return "Hang up" if done.action == "hangup" else words(done.action).capitalize()


def outcome(done: ActionRecord) -> str:
    """What came of it: `failed: 486 Busy Here`."""
    if done.outcome is None:
        return "under way" if done.steps else "not done"
    return f"{done.outcome}: {done.detail}" if done.detail else done.outcome


def outcome_tone(done: ActionRecord) -> str:
    """The badge's class."""
    return {"done": "good", "failed": "bad"}.get(done.outcome or "", "plain")


def registration_tone(trunk: TrunkState) -> str:
    """The badge's class; a registration that is not wanted is neither good nor bad."""
    tones = {"yes": "good", "failed": "bad", "no": "plain", "off": "quiet-badge"}
    return tones[trunk.registered]


def reachable_tone(trunk: TrunkState) -> str:
    """The badge's class."""
    return {"yes": "good", "no": "bad", "unknown": "quiet-badge"}[trunk.reachable]


def ending(call: CallSummary) -> str:
    """How the call ended; of one that we placed, it is the callee who hung up."""
    if call.ending is None:
        return "live"
    return words(call.ending).replace("caller", person(call).lower())


def person(call: CallSummary) -> str:
    """Whom the agent speaks to."""
    return "Callee" if call.direction == "outbound" else "Caller"
