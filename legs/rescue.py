"""Live calls outlast a bus that comes back without its data, or with older data.

The ingress follows each of its calls from its first entry on, and keeps the log as it was written:
text, a few KB for each turn. When an entry that it saw is gone, it writes the log anew, says in it
what could not be saved, and asks the pools again for what they had not finished.

Lost is the audio that was on the bus: of the caller what no transcriber had heard, and both sides'
in the recording. A turn whose end the ingress had not read either, which is milliseconds old, is
lost with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bus import topics
from bus.folds import Fold
from bus.jobs import AnswerTurn, HearCall, Job, SpeakSentence
from bus.restore import Restorer
from bus.session import BusSession
from calls import events as e
from calls.conversation import Conversation
from calls.ids import GREETING_TURN, CallId, reply_id
from calls.turns import Turn
from legs.leg import Leg
from media.frames import SAMPLE_RATE
from telemetry import metrics

_log = structlog.get_logger(__name__)


class Rescue:
    """Watches over the logs of an ingress's calls."""

    def __init__(self, session: BusSession, now_ms: Callable[[], float]) -> None:
        self._session = session
        self._restorer = Restorer(session.redis, session.log)
        self._now_ms = now_ms
        self._calls: dict[CallId, tuple[Fold, Leg]] = {}
        #: Jobs of restored calls that are not on the queues yet.
        self._owed: dict[CallId, list[Job]] = {}
        self._one_at_a_time = asyncio.Lock()

    def watch(self, call: CallId, fold: Fold, leg: Leg) -> None:
        """Watch over a call; `fold` keeps its log as it was written."""
        self._calls[call] = (fold, leg)

    def leave(self, call: CallId) -> None:
        """The call is over, and its last entry is written."""
        self._calls.pop(call, None)
        self._owed.pop(call, None)

    def seen(self, call: CallId) -> bytes:
        """The id of the last entry that was seen in the call's log; empty if none was."""
        known = self._calls.get(call)
        return known[0].kept[-1][0] if known and known[0].kept else b""

    async def look(self) -> None:
        """Look whether all logs are there, and write anew those that are not.

        Raises:
            BusError: the bus is away; look again.
        """
        seen = {call: last for call in self._calls if (last := self.seen(call))}
        for call in {*await self._restorer.lost(seen), *self._owed}:
            await self.restore(call)

    async def restore(self, call: CallId) -> None:
        """Write a call's log anew if it is not there, and have the pools go on with it.

        Raises:
            BusError: the bus is away; what is not done yet is done the next time.
        """
        async with self._one_at_a_time:
            known = self._calls.get(call)
            if known is None or not known[0].kept:
                return
            fold, leg = known
            if await self._restorer.restore(call, fold.kept or ()):
                metrics.LOGS_RESTORED.inc()
                await self._say_so(call, fold, leg)
                self._owed[call] = due(call, fold.conversation)
            owed = self._owed.get(call, [])
            while owed:
                await self._ask(owed[0])
                del owed[0]
            self._owed.pop(call, None)

    async def _say_so(self, call: CallId, fold: Fold, leg: Leg) -> None:
        begin, end = await self._restorer.hole(call, leg.position)
        for gap in fold.conversation.gaps:  # of an earlier loss
            if gap.stage == "ingress":
                begin = max(begin, gap.position + gap.samples)
        message = (
            f"the bus lost its data: the log was written anew from {len(fold.kept or ())} entries; "
            f"no audio on it from before {end / SAMPLE_RATE:.1f} s"
        )
        _log.error("bus.data_lost", call=call, entries=len(fold.kept or ()), position=end)
        now = self._now_ms()
        facts: list[e.Event] = [
            e.StageFailed(at=now, stage="ingress", error_type="bus_data_lost", message=message)
        ]
        if end > begin:
            facts.append(
                e.MediaGap(at=now, stage="ingress", position=begin, samples=end - begin)
            )  # fmt: skip
        await self._session.log.append(call, *facts)
        if fold.listeners:  # the call goes on
            # Chunks from another clock than before may have ids that we would pass over; playing
            # takes each of them once.
            self._session.tail.follow(topics.audio_out(call), "0-0", leg.audio_came)

    async def _ask(self, job: Job) -> None:
        publish = self._session.topics
        match job:
            case HearCall():
                # With older data its job may be back too, and two would take the call in turns.
                if not await self._restorer.is_waited_for("asr", job.call):
                    await publish.hear.publish(job)
            case AnswerTurn():
                await publish.answer.publish(job)
            case SpeakSentence():
                await publish.speak.publish(job)


def due(call: CallId, conversation: Conversation) -> list[Job]:
    """What the pools still have to do for a call, by its log."""
    jobs: list[Job] = [HearCall(call=call)]
    for number in sorted({GREETING_TURN, *conversation.turns}):
        turn = conversation.turns.get(number) or Turn(number)
        words = turn.ended or turn.guess
        if words is not None or (number == GREETING_TURN and _greets(conversation)):
            revision = words.revision if words else 0
            reply = reply_id(number, revision)
            known = turn.replies.get(reply)
            if conversation.is_current(reply) and (known is None or known.ended is None):
                jobs.append(AnswerTurn(call=call, turn=number, revision=revision))
        written = [
            (reply.id, sentence)
            for reply in turn.replies.values()
            if reply.ended is not None
            for sentence in reply.ordered
        ]
        written += [(name, aside.sentence) for name, aside in turn.asides.items()]
        jobs += [
            SpeakSentence(call=call, reply=name, index=sentence.index, text=sentence.text)
            for name, sentence in written
            if sentence.synthesis is None
            and sentence.text
            and conversation.is_wanted(name, sentence.index)
        ]
    return jobs


def _greets(conversation: Conversation) -> bool:
    return conversation.started is not None and bool(conversation.started.agent.greeting)
