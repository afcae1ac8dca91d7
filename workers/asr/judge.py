"""Is the caller's sentence finished? The words answer, and a model that hears the voice, if named.

The words know what is missing ("my number is"). Where they are not sure, the voice may have stayed
up: then the caller goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

import structlog

from calls.agent import Agent
from calls.completeness import Completeness, completeness, has_rules
from workers.asr.smart_turn import SmartTurn, SmartTurnError

_log = structlog.get_logger(__name__)
#: Below this probability of a model a turn goes on, above the other it is over. Measured on the
#: cases of bench/TURNS.md.
_OPEN: Final = 0.05
_OVER: Final = 0.5


class Judge(Protocol):
    """Says, at a pause, whether the caller will go on."""

    async def judge(self, pcm: bytes, text: str, asked: str) -> Completeness:
        """Judge an utterance so far.

        `pcm` is its audio, 8000 Hz, with the pause at its end; `text` what a transcriber makes of
        it; `asked` the sentence of the agent that the caller heard last, or "".
        """
        ...


@dataclass(frozen=True, slots=True)
class TextJudge:
    """Knows the words only."""

    language: str = "en-US"

    async def judge(self, pcm: bytes, text: str, asked: str) -> Completeness:  # noqa: ARG002
        return completeness(text, asked=asked, language=self.language)


class Listener(Protocol):
    """Hears whether a turn is over."""

    async def probability(self, pcm: bytes) -> float:
        """How likely a turn is complete (0..1) whose last seconds these are: PCM at 8000 Hz.

        Raises:
            SmartTurnError
        """
        ...


@dataclass(frozen=True, slots=True)
class SmartTurnJudge:
    """Knows the words, and hears the voice where they are not sure.

    If the model fails, the words alone decide.
    """

    model: Listener
    language: str = "en-US"

    async def judge(self, pcm: bytes, text: str, asked: str) -> Completeness:
        words = completeness(text, asked=asked, language=self.language)
        if words is not Completeness.UNSURE:
            return words
        try:
            probability = await self.model.probability(pcm)
        except SmartTurnError as error:
            _log.error("asr.smart_turn_failed", error=str(error))
            return words
        if probability < _OPEN:
            return Completeness.UNFINISHED
        # A voice falls at the end of every clause, so it completes only words that nobody knows.
        known = has_rules(self.language)
        return Completeness.COMPLETE if probability > _OVER and not known else words


def judge_for(agent: Agent) -> Judge:
    """The judge that an agent's configuration asks for. One model per file and process.

    Raises:
        SmartTurnError: its model cannot be loaded.
    """
    if agent.endpointing.smart_turn is None:
        return TextJudge(agent.language)
    return SmartTurnJudge(_model(agent.endpointing.smart_turn), agent.language)


@lru_cache(maxsize=8)
def _model(path: str) -> SmartTurn:
    return SmartTurn.load(path)
