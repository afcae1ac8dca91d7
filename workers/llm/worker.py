"""The llm pool: answers turns, sentence by sentence, from the conversation as the caller heard it.

A reply whose first writer died is written again from the start; the log keeps the sentences that
stand in it already, and the pool's epoch stops the first writer should it wake up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Literal

import structlog

from bus import topics
from bus.jobs import AnswerTurn, SpeakSentence
from bus.log import Ownership
from bus.session import BusSession
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import GREETING_TURN, ReplyId
from telemetry import metrics
from workers.llm.sentences import SentenceSplitter
from workers.ports import Action, ProviderError, Responder, Token
from workers.wanted import while_wanted

_log = structlog.get_logger(__name__)


class LlmWorker:
    """Does `AnswerTurn` jobs."""

    def __init__(
        self,
        session: BusSession,
        responder_for: Callable[[Agent], Responder],
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._responder_for = responder_for
        self._now_ms = now_ms

    async def answer(self, job: AnswerTurn) -> None:
        """Write the reply to a turn, while it is wanted."""
        fold = await self._session.folds.get(job.call)
        conversation = fold.conversation
        known = conversation.reply(job.reply)
        if conversation.started is None or (known is not None and known.ended is not None):
            return
        owner = await self._session.log.claim(job.call, topics.reply_task(job.reply))
        agent = conversation.started.agent
        writer = _ReplyWriter(self._session, owner, job.reply, agent.apology, self._now_ms)
        pieces = self._pieces(agent, conversation, job.turn)
        if not await while_wanted(self._session.folds, job.call, job.reply, writer.write(pieces)):
            await writer.end("cancelled")

    def _pieces(
        self, agent: Agent, conversation: Conversation, turn: int
    ) -> AsyncIterator[Token | Action]:
        if turn == GREETING_TURN:
            return _one(agent.greeting)
        known = conversation.turns.get(turn)
        ended = known.ended if known else None
        if ended is not None and not ended.text:
            return _one(agent.apology)  # the caller spoke, and no transcriber could hear it
        return self._responder_for(agent).reply(
            conversation.messages(before=turn), confidence=ended.confidence if ended else None
        )

    async def give_up(self, job: AnswerTurn, error: Exception) -> None:
        """A reply that no worker could write."""
        await self._session.log.append(
            job.call,
            e.StageFailed(
                at=self._now_ms(),
                stage="llm",
                error_type=type(error).__name__,
                message=str(error),
                reply=job.reply,
            ),
            e.ReplyEnded(at=self._now_ms(), reply=job.reply, sentences=0, why="failed"),
        )


class _ReplyWriter:
    """One reply on its way into the log and to the tts pool."""

    def __init__(
        self,
        session: BusSession,
        owner: Ownership,
        reply: ReplyId,
        apology: str,
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._owner = owner
        self._reply = reply
        self._apology = apology
        self._now_ms = now_ms
        self._count = 0

    async def write(self, pieces: AsyncIterator[Token | Action]) -> None:
        """Write all of it; a provider that fails is apologised for."""
        await self._commit(e.ReplyStarted(at=self._now_ms(), reply=self._reply))
        why: Literal["complete", "failed"] = "complete"
        try:
            await self._stream(pieces)
        except ProviderError as error:
            metrics.ERRORS.labels("llm", error.error_type).inc()
            _log.error("llm.provider_failed", error=str(error), reply=self._reply)
            await self._commit(
                e.StageFailed(
                    at=self._now_ms(),
                    stage="llm",
                    error_type=error.error_type,
                    message=str(error),
                    reply=self._reply,
                )
            )
            why = "failed"
            if self._count == 0:
                await self._sentence(self._apology, self._now_ms())
        await self.end(why)

    async def end(self, why: Literal["complete", "cancelled", "failed"]) -> None:
        await self._commit(
            e.ReplyEnded(at=self._now_ms(), reply=self._reply, sentences=self._count, why=why)
        )

    async def _stream(self, pieces: AsyncIterator[Token | Action]) -> None:
        splitter = SentenceSplitter()
        begun_at = self._now_ms()
        async with aclosing(pieces) as stream:  # type: ignore[type-var]  # ports return generators
            async for piece in stream:
                if isinstance(piece, Action):
                    await self._act(piece)
                    continue
                if not splitter.pending:
                    begun_at = self._now_ms()
                for sentence in splitter.feed(piece.text):
                    await self._sentence(sentence, begun_at)
                    begun_at = self._now_ms()
        for sentence in splitter.flush():
            await self._sentence(sentence, begun_at)

    async def _act(self, action: Action) -> None:
        if action.name != "hangup":
            raise ProviderError(f"the responder asked for an unknown action: {action.name!r}")
        await self._commit(
            e.ActionRequested(
                at=self._now_ms(), reply=self._reply, action="hangup", arguments=action.arguments
            )
        )

    async def _sentence(self, text: str, first_token_at: float) -> None:
        index, self._count = self._count, self._count + 1
        await self._commit(
            e.SentenceReady(
                at=self._now_ms(),
                reply=self._reply,
                index=index,
                text=text,
                first_token_at=first_token_at,
            )
        )
        await self._session.topics.speak.publish(
            SpeakSentence(call=self._owner.call, reply=self._reply, index=index, text=text)
        )

    async def _commit(self, event: e.Event) -> None:
        await self._session.log.commit(self._owner, event)


async def _one(text: str) -> AsyncIterator[Token | Action]:
    yield Token(text)
