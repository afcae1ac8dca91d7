"""A responder made of rules: no language model, no key, no network, and the same answer every time.

It is for what a receptionist's script can say: take an appointment, tell the opening hours, hand
over. Its options are `receptionist.Receptionist`; how it understands is in `dialogue`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from calls.conversation import Message
from workers.ports import Action, Ask, Token
from workers.providers.dialogue import Dialogue
from workers.providers.options import parse
from workers.providers.receptionist import Receptionist

_WORD = re.compile(r"\S+\s*")


class RulesResponder:
    """Answers by rules, word by word. Stateless: any number of replies at once."""

    def __init__(self, options: Receptionist) -> None:
        self._dialogue = Dialogue(options)

    async def reply(
        self, conversation: Sequence[Message], *, confidence: float | None
    ) -> AsyncIterator[Token | Action]:
        """Answer the last line; a transcript of low confidence draws the reprompt."""
        answer = self._dialogue.answer(conversation, confidence)
        for word in _WORD.findall(answer.text):
            yield Token(word)
        if answer.action is not None:
            yield Action(answer.action)

    async def close(self) -> None:
        """Nothing is held."""


def responder(ask: Ask) -> RulesResponder:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong; the message names its path in agents.yaml.
    """
    where = f"agent {ask.agent.name!r}: llm.options"
    return RulesResponder(parse(Receptionist, ask.options, where=where))
