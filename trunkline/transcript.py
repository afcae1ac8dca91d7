"""A conversation, printed line by line as its log grows."""

from __future__ import annotations

from collections.abc import Callable

from calls.conversation import Conversation
from calls.timing import stages_ms, voice_to_voice_ms
from calls.turns import Turn


class Transcript:
    """Prints each line once: what the caller said when it is final, answers once they play."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[tuple[int, str]] = set()

    def show(self, conversation: Conversation) -> None:
        """Print what is new."""
        for number in sorted(conversation.turns):
            turn = conversation.turns[number]
            if turn.ended is not None:
                self._once(number, "caller", f"  caller  {turn.text}")
            if _is_being_heard(turn) and turn.reply is not None:
                self._once(number, "agent", f"  agent   {turn.reply.text}{_timing(turn)}")

    def _once(self, number: int, who: str, text: str) -> None:
        if (number, who) not in self._told:
            self._told.add((number, who))
            self._tell(text)


def _is_being_heard(turn: Turn) -> bool:
    """Its text is complete, and its first sound has left us: nothing of the line can change."""
    reply = turn.reply
    if reply is None or reply.ended is None or not reply.text:
        return False
    return any(sentence.played_at is not None for sentence in reply.ordered)


def _timing(turn: Turn) -> str:
    whole = voice_to_voice_ms(turn)
    if whole is None:
        return ""
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in stages_ms(turn).items())
    return f"\n          {whole:.0f} ms from your last word to its first: {stages}"
