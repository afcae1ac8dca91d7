"""The asr pool: owns calls, hears them to their end, and asks for the reply to each turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import structlog

from bus import audio, topics
from bus.events import WireError
from bus.jobs import AnswerTurn, HearCall
from bus.session import BusSession
from bus.tail import Entries, Feed
from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import ReplyId, reply_id, revision_of, turn_of
from workers.asr.ear import PhoneEar
from workers.asr.hearing import Hearing
from workers.asr.judge import Judge
from workers.asr.speech import Scene
from workers.ports import Transcriber

_log = structlog.get_logger(__name__)
#: How long to wait for a call's last frames once its end is in the log.
_LAST_FRAMES_S: Final = 2.0


class AsrWorker:
    """Does `HearCall` jobs."""

    def __init__(
        self,
        session: BusSession,
        transcriber_for: Callable[[Agent], Transcriber],
        judge_for: Callable[[Agent], Judge],
        now_ms: Callable[[], float],
    ) -> None:
        self._session = session
        self._judge_for = judge_for
        self._transcriber_for = transcriber_for
        self._now_ms = now_ms

    async def hear(self, job: HearCall) -> None:
        """Own a call until it ends."""
        log = self._session.log
        # First the claim: after it the previous owner writes nothing that we have not read.
        owner = await log.claim(job.call, "asr")
        fold = await self._session.folds.get(job.call)
        started = fold.conversation.started
        if started is None or fold.conversation.heard_to_the_end:
            return
        if owner.checkpoint is None:
            owner = replace(owner, checkpoint=_beginning(fold.conversation))
        agent = started.agent
        hearing = Hearing(
            Scene(
                agent,
                owner,
                log,
                self._transcriber_for(agent),
                PhoneEar.of(agent),
                self._judge_for(agent),
                fold.conversation,
                self._now_ms,
                ask=lambda reply: self._ask_for_reply(job, reply),
            )
        )
        # A turn may stand in the log whose reply its writer died before asking for.
        for turn in fold.conversation.turns.values():
            if turn.ended is not None and turn.reply is None:
                await self._ask_for_reply(job, reply_id(turn.number, turn.ended.revision))
        try:
            await self._follow(job, hearing)
            await hearing.end()
        finally:
            await hearing.cancel()

    async def give_up(self, job: HearCall, error: Exception) -> None:
        """A call that no worker could hear."""
        now = self._now_ms()
        await self._session.log.append(
            job.call,
            e.StageFailed(
                at=now, stage="asr", error_type=type(error).__name__, message=str(error)
            ),
        )  # fmt: skip

    async def _ask_for_reply(self, job: HearCall, reply: ReplyId) -> None:
        asked = AnswerTurn(call=job.call, turn=turn_of(reply), revision=revision_of(reply))
        await self._session.topics.answer.publish(asked)

    async def _follow(self, job: HearCall, hearing: Hearing) -> None:
        """Read the call's audio until its end is in the log and the last frame was heard."""
        feed = Feed()

        def heard_of(event: e.Event) -> None:
            if isinstance(event, e.DigitPressed):
                hearing.press(event)
            elif isinstance(event, e.CallEnded):
                feed([])
                asyncio.get_running_loop().call_later(_LAST_FRAMES_S, feed.close)

        frames = topics.audio_in(job.call)
        async with self._session.folds.follow(job.call, heard_of) as fold:
            for key in fold.conversation.digits:  # pressed while the transcriber was made ready
                if key.position > fold.conversation.keyed_until:
                    hearing.press(key)
            if (ended := fold.conversation.ended) is not None:
                heard_of(ended)
            self._session.tail.follow(frames, hearing.checkpoint, feed)
            try:
                async for entries in feed:
                    await hearing.hear(_frames(entries))
                    ended = fold.conversation.ended
                    if ended is not None and hearing.position >= ended.position:
                        return
            finally:
                self._session.tail.drop(frames, feed)


def _beginning(conversation: Conversation) -> dict[str, int]:
    """Where to begin without a checkpoint: on a bus that lost its data, after what was lost."""
    lost = (gap.position + gap.samples for gap in conversation.gaps if gap.stage == "ingress")
    return {"position": max(lost, default=0), "turn": conversation.current_turn + 1}


def _frames(entries: Entries) -> list[audio.InFrame]:
    frames = []
    for entry_id, fields in entries:
        try:
            frames.append(audio.decode_frame(entry_id, fields[audio.IN_FIELD]))
        except (WireError, KeyError) as error:
            _log.warning("asr.bad_frame", error=str(error))
    return frames
