"""A responder made of rules: no language model, no key, no network, and the same answer every time.

It is for what a receptionist's script can say: take an appointment, tell the opening hours, hand
over. Its options are `receptionist.Receptionist`; how it understands is in `dialogue`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

from calls.conversation import Message
from workers.ports import Action, Ask, ProviderError, Token
from workers.providers.dialogue import Dialogue
from workers.providers.options import parse
from workers.providers.receptionist import Receptionist

_WORD = re.compile(r"\S+\s*")


class RulesResponder:
    """Answers by rules, word by word. Stateless: any number of replies at once."""

    def __init__(self, options: Receptionist) -> None:
        self._dialogue = Dialogue(options)
        self._pace_s = options.pace_ms / 1000

    async def reply(
        self,
        conversation: Sequence[Message],
        *,
        confidence: float | None,
        said: Sequence[str] = (),
    ) -> AsyncIterator[Token | Action]:
        """Answer the last line; a transcript of low confidence draws the reprompt.

        `said` is passed over where this answer begins so, as it does if a RulesResponder said it.
        """
        answer = self._dialogue.answer(conversation, confidence)
        for word in _words_after(said, answer.text):
            if self._pace_s:
                await asyncio.sleep(self._pace_s)
            yield Token(word[0], interruptible=word.start() >= answer.protected)
        if answer.action is not None:
            yield Action(answer.action, dict(answer.arguments))

    async def close(self) -> None:
        """Nothing is held."""


def _words_after(said: Sequence[str], text: str) -> list[re.Match[str]]:
    words = list(_WORD.finditer(text))
    stands = " ".join(said).split()
    if [word[0].strip() for word in words[: len(stands)]] == stands:
        return words[len(stands) :]
    return words


def responder(ask: Ask) -> RulesResponder:
    """The factory named in the entry points.

    Raises:
        ProviderError: an option is wrong; the message names its path in agents.yaml.
    """
    where = f"agent {ask.agent.name!r}: llm.options"
    options = parse(Receptionist, ask.options, where=where)
    for name, intent in options.intents.items():
        if intent.to is not None and intent.to not in ask.agent.transfer.destinations:
            raise ProviderError(
                f"{where}.intents.{name}.to: the agent's transfer.destinations has no "
                f"{intent.to!r}; name it there",
                error_type="refused",
            )
    return RulesResponder(options)
