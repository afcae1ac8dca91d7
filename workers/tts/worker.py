"""The tts pool: speaks sentences, forwarding audio the moment the synthesizer has a frame of it.

What was said before comes from the cache of speech (bus/speech_cache.py), whole and at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import structlog

from bus.jobs import SpeakSentence
from bus.session import BusSession
from bus.speech import SentenceWriter
from bus.speech_cache import Found, speech_key
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from telemetry import metrics
from workers.ports import ProviderError, Synthesizer
from workers.tts.take import Take
from workers.tts.warming import Warmer
from workers.wanted import while_wanted

_log = structlog.get_logger(__name__)


class TtsWorker:
    """Does `SpeakSentence` jobs."""

    def __init__(
        self,
        session: BusSession,
        synthesizer_for: Callable[[Agent], Synthesizer],
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._synthesizer_for = synthesizer_for
        self._now_ms = now_ms
        self._warmer = Warmer(session.cache, synthesizer_for, now_ms)

    async def speak(self, job: SpeakSentence) -> None:
        """Speak a sentence, while its reply is wanted."""
        fold = await self._session.folds.get(job.call)
        conversation = fold.conversation
        known = conversation.sentence(job.reply, job.index)
        if conversation.started is None or (known is not None and known.synthesis is not None):
            return
        agent = conversation.started.agent
        # The log has the sentence as its first writer put it; a second may have worded it anew.
        text = (known.text if known else "") or job.text
        with self._warmer.waiting():
            await self._speak(job, conversation, agent, text)
        self._warmer.warm(agent)

    async def give_up(self, job: SpeakSentence, error: Exception) -> None:
        """A sentence that no worker could speak."""
        await self._failed(self._sentence(job), job, type(error).__name__, str(error))

    async def close(self) -> None:
        """Warm the cache no more; sentences in progress go on."""
        await self._warmer.close()

    async def _speak(
        self, job: SpeakSentence, conversation: Conversation, agent: Agent, text: str
    ) -> None:
        sentence = self._sentence(job)
        key = speech_key(agent, text) if agent.cache else ""
        found = await self._session.cache.look(key, job.call) if key else Found(None)
        if found.speech is not None:
            if conversation.is_wanted(job.reply, job.index):
                await sentence.whole(found.speech)
            else:
                await sentence.cancel()
            return
        worth = key and (found.again or _fixed(agent, text))
        keep = self._session.cache.longest_bytes if worth else 0
        take = Take(self._synthesizer_for(agent), text, keep=keep)
        work = self._synthesize(job, sentence, take, key)
        if not await while_wanted(
            self._session.folds, job.call, job.reply, work, sentence=job.index
        ):
            await sentence.cancel()

    async def _synthesize(
        self, job: SpeakSentence, sentence: SentenceWriter, take: Take, key: str
    ) -> None:
        try:
            async with aclosing(aiter(take)) as pieces:  # type: ignore[type-var]
                async for payload in pieces:
                    await sentence.write(payload)
                    if sentence.done:
                        return  # by another worker
        except ProviderError as error:
            metrics.ERRORS.labels("tts", error.error_type).inc()
            _log.error("tts.provider_failed", error=str(error), reply=job.reply)
            await self._failed(sentence, job, error.error_type, str(error))
            return
        await sentence.end("complete")
        if take.kept:
            await self._session.cache.put(key, take.kept)

    async def _failed(
        self, sentence: SentenceWriter, job: SpeakSentence, error_type: str, message: str
    ) -> None:
        await sentence.end(
            "failed",
            e.StageFailed(
                at=self._now_ms(),
                stage="tts",
                error_type=error_type,
                message=message,
                reply=job.reply,
            ),
        )

    def _sentence(self, job: SpeakSentence) -> SentenceWriter:
        return self._session.speech.sentence(job.call, job.reply, job.index, self._now_ms)


def _fixed(agent: Agent, text: str) -> bool:
    """Does the agent's configuration say these words? A sentence of its greeting, as it is sent."""
    return any(text in phrase for phrase in agent.phrases)
