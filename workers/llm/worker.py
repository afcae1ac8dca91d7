"""The llm pool: answers turns, sentence by sentence, from the conversation as the caller heard it.

A reply may be to a guess of what the caller says: then no more of it is spoken than the agent's
budget allows, until the turn has ended with those words. A reply whose first writer died is gone
on with after the sentences that stand in the log; the task's epoch stops the first writer should it
wake up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, Literal, get_args

import structlog

from bus import topics
from bus.jobs import AnswerTurn, SpeakSentence
from bus.log import Ownership
from bus.session import BusSession
from bus.tasks import stop
from calls import events as e
from calls.actions import ActionError, accept
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import GREETING_TURN, ReplyId
from telemetry import metrics
from workers.llm.sentences import SentenceSplitter
from workers.ports import Action, ProviderError, Responder, Token
from workers.wanted import until, while_wanted

_log = structlog.get_logger(__name__)
#: Streams a reply from after the sentences that stand.
Ask = Callable[[Sequence[str]], AsyncIterator[Token | Action]]
#: So many sentences are on their way to the caller at once.
_AHEAD: Final = 4


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
        # After the claim nobody else writes: what stands now is all there is.
        conversation = (await self._session.folds.get(job.call)).conversation
        writer = _ReplyWriter(self._session, owner, job.reply, conversation, self._now_ms)
        writing = writer.write(partial(self._pieces, conversation, job))
        if not await while_wanted(self._session.folds, job.call, job.reply, writing):
            await writer.end("cancelled")

    def _pieces(
        self, conversation: Conversation, job: AnswerTurn, said: Sequence[str]
    ) -> AsyncIterator[Token | Action]:
        """The reply, from after the sentences that stand already."""
        assert conversation.started is not None
        agent = conversation.started.agent
        if job.turn == GREETING_TURN:
            greeting = conversation.started.greeting
            return _fixed(greeting, said, interruptible=agent.interruption.greeting)
        words = conversation.answers(job.reply)
        if words is not None and not words.text:
            # The caller spoke, and no transcriber could hear it.
            return _fixed(agent.apology, said)
        return self._responder_for(agent).reply(
            conversation.messages(before=job.turn, words=words.text if words else None),
            confidence=words.confidence if words else None,
            said=said,
        )

    async def give_up(self, job: AnswerTurn, error: Exception) -> None:
        """A reply that no worker could write: what stands of it is all there is."""
        known = (await self._session.folds.get(job.call)).conversation.reply(job.reply)
        await self._session.log.append(
            job.call,
            e.StageFailed(
                at=self._now_ms(),
                stage="llm",
                error_type=type(error).__name__,
                message=str(error),
                reply=job.reply,
            ),
            e.ReplyEnded(
                at=self._now_ms(),
                reply=job.reply,
                sentences=len(known.sentences) if known else 0,
                why="failed",
            ),
        )


class _ReplyWriter:
    """One reply on its way into the log and to the tts pool."""

    def __init__(
        self,
        session: BusSession,
        owner: Ownership,
        reply: ReplyId,
        conversation: Conversation,
        now_ms: Callable[[], float],
    ) -> None:
        """`conversation` is the live fold of the call."""
        assert conversation.started is not None
        self._session = session
        self._owner = owner
        self._reply = reply
        self._conversation = conversation
        self._agent = conversation.started.agent
        self._now_ms = now_ms
        known = conversation.reply(reply)
        #: What a writer before us left.
        self._standing = known.ordered if known else []
        self._said: list[str] = []
        #: Actions in the log, by their names and arguments: those it left are not asked for twice.
        self._acts = [(act.action, act.arguments) for act in known.actions] if known else []
        self._acts_left = list(self._acts)
        self._to_speak: asyncio.Queue[SpeakSentence | None] = asyncio.Queue()

    async def write(self, ask: Ask) -> None:
        """Write all of it: `ask(said)` streams the reply from after those sentences."""
        await self._commit(e.ReplyStarted(at=self._now_ms(), reply=self._reply))
        for sentence in self._standing:
            self._written(sentence.text)
        speaking = asyncio.create_task(self._speak_all(), name=f"speak {self._reply}")
        try:
            why = await self._think(ask)
            self._to_speak.put_nowait(None)
            await speaking
        finally:
            await stop(speaking)
        # Not sooner: whoever takes over a reply that has ended has nothing left to do.
        await self.end(why)

    async def _think(self, ask: Ask) -> Literal["complete", "failed"]:
        """A responder that fails in the middle is asked for the rest; then it is apologised for."""
        for again in (True, False):
            try:
                await self._stream(ask(tuple(self._said)))
            except ProviderError as error:
                await self._failed(error)
                if not (again and self._said):
                    break
            else:
                return "complete"
        if not self._said:
            await self._sentence(self._agent.apology, self._now_ms())
        return "failed"

    async def _failed(self, error: ProviderError) -> None:
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

    async def end(self, why: Literal["complete", "cancelled", "failed"]) -> None:
        await self._commit(
            e.ReplyEnded(at=self._now_ms(), reply=self._reply, sentences=len(self._said), why=why)
        )

    async def _stream(self, pieces: AsyncIterator[Token | Action]) -> None:
        splitter = SentenceSplitter()
        wanted: list[Action] = []
        begun_at = self._now_ms()
        protected = False
        async with aclosing(pieces) as stream:  # type: ignore[type-var]  # ports return generators
            async for piece in stream:
                if isinstance(piece, Action):
                    wanted.append(piece)
                    continue
                if not splitter.pending:
                    begun_at = self._now_ms()
                    protected = False
                # Of a sentence in several pieces, one suffices to protect it.
                protected = protected or not piece.interruptible
                for sentence in splitter.feed(piece.text):
                    await self._sentence(sentence, begun_at, protected=protected)
                    begun_at = self._now_ms()
                    protected = not piece.interruptible
        for sentence in splitter.flush():
            await self._sentence(sentence, begun_at, protected=protected)
        # They belong to a whole answer: one that breaks off here is asked for them again.
        for action in wanted:
            await self._act(action)

    async def _act(self, action: Action) -> None:
        """Ask for what the responder wants done. What it may not have fails, and nothing else."""
        try:
            name, arguments = self._accepted(action)
        except ActionError as error:
            known = action.name if action.name in get_args(e.ActionName) else "other"
            metrics.ACTIONS.labels(known, "refused").inc()
            await self._failed(ProviderError(str(error), error_type="action"))
            return
        if (name, arguments) in self._acts_left:
            self._acts_left.remove((name, arguments))
            return
        if name == "transfer" and not self._said:
            await self._announce(arguments)
        index = sum(name == asked for asked, _ in self._acts)
        self._acts.append((name, arguments))
        await self._commit(
            e.ActionRequested(
                at=self._now_ms(),
                reply=self._reply,
                action=name,
                arguments=arguments,
                index=index,
            )
        )

    def _accepted(self, action: Action) -> tuple[e.ActionName, dict[str, str]]:
        if action.problem:
            raise ActionError(action.problem)
        return accept(self._agent, action.name, action.arguments)

    async def _announce(self, transfer: dict[str, str]) -> None:
        """Nobody is put through without a word."""
        named = self._agent.transfer.destinations.get(transfer.get("destination", ""))
        if named is not None and named.announce:
            await self._sentence(named.announce, self._now_ms())

    async def _sentence(self, text: str, first_token_at: float, *, protected: bool = False) -> None:
        # A wrong guess shall not cost more than this.
        await self._until(
            lambda: (
                len(self._said) < self._agent.speculation.sentences
                or self._conversation.is_confirmed(self._reply)
            )
        )
        await self._commit(
            e.SentenceReady(
                at=self._now_ms(),
                reply=self._reply,
                index=len(self._said),
                text=text,
                first_token_at=first_token_at,
                protected=protected or self._agent.protects(text),
            )
        )
        self._written(text)

    def _written(self, text: str) -> None:
        self._to_speak.put_nowait(
            SpeakSentence(
                call=self._owner.call, reply=self._reply, index=len(self._said), text=text
            )
        )
        self._said.append(text)

    async def _speak_all(self) -> None:
        """Have the sentences spoken, a few ahead of the caller's ear.

        So an interruption wastes little, and a long reply does not keep the tts pool from others.
        """
        while (sentence := await self._to_speak.get()) is not None:
            await self._until(partial(self._has_room, sentence.index))
            await self._session.topics.speak.publish(sentence)

    def _has_room(self, index: int) -> bool:
        known = self._conversation.reply(self._reply)
        spoken = known.ordered if known else []
        heard = sum(sentence.finished or sentence.samples == 0 for sentence in spoken)
        return index < heard + _AHEAD

    async def _until(self, due: Callable[[], bool]) -> None:
        await until(self._session.folds, self._owner.call, due)

    async def _commit(self, event: e.Event) -> None:
        await self._session.log.commit(self._owner, event)


async def _fixed(
    text: str, said: Sequence[str], *, interruptible: bool = True
) -> AsyncIterator[Token | Action]:
    for sentence in said:
        text = text.removeprefix(sentence).lstrip()
    yield Token(text, interruptible)
