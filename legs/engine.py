"""All legs of an ingress: one tick, one write and one read for all of them.

    ticker -> every leg moves a frame each way -> frames of all legs in one write -> {call}:in
    one Tail  {call}:out, {call}:events -> the leg they belong to

Ticks never wait for the bus. What it has not taken yet is kept, up to the bus patience; then the
calls end clearly instead of talking to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from itertools import cycle
from typing import Final

import structlog

from bus import audio, topics
from bus.asides import speak_aside
from bus.broker import BusError
from bus.capture import Capture
from bus.jobs import AnswerTurn, CallChanged, HearCall, RecordCall
from bus.log import LogLostError, Ownership
from bus.pools import PoolWatch
from bus.session import BusSession
from bus.tasks import stop
from calls import events as e
from calls.ending import Ending
from calls.ids import GREETING_TURN, CallId
from calls.patience import DueAside
from legs.leg import Leg
from legs.rescue import Rescue
from legs.ticker import tick_forever
from media.frames import FRAME_MS
from telemetry import metrics

_log = structlog.get_logger(__name__)
#: A tick moves a frame each way.
_MOVED: Final = [metrics.AUDIO_CHUNKS.labels("ingress", way) for way in ("in", "out")]
_BEAT_S: Final = 2.0
#: A beat is spread over so many ticks' time: all calls at once hold up 200 calls' packets for 8 ms.
_BEAT_PARTS: Final = 50
_RETRY_S: Final = 0.2


class MediaEngine:
    """The media side of an ingress process."""

    def __init__(
        self,
        session: BusSession,
        now_ms: Callable[[], float],
        *,
        give_up: Callable[[CallId, Ending], None],
        patience_s: float = 10.0,
        pools: PoolWatch | None = None,
    ) -> None:
        """`give_up(call, why)` is told of each call that cannot go on.

        BUS_LOST: the bus was away for longer than the patience, which counts from the oldest frame
        that it has not taken, s. FAILED: the call's own leg made a mistake.
        """
        self._session = session
        self._capture = Capture(session.redis)
        self._rescue = Rescue(session, now_ms)
        self._now_ms = now_ms
        self._tell_lost = give_up
        self._pools = pools
        self._patience_frames = int(patience_s * 1000 / FRAME_MS)
        #: Begun and not ended, with or without media yet: the bus must see them alive.
        self._open: dict[CallId, None] = {}  # in their order
        self._legs: dict[CallId, Leg] = {}
        self._following: dict[CallId, AsyncExitStack] = {}
        self._frames: list[tuple[CallId, audio.InFrame]] = []
        self._events: dict[CallId, list[e.Event]] = {}
        self._due = asyncio.Event()
        self._written = asyncio.Event()
        #: Batches handed to the bus, and those it has taken.
        self._begun = 0
        self._done = 0
        self._ticks_behind = 0
        self._asides: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def calls(self) -> list[CallId]:
        """The calls this process carries."""
        return list(self._open)

    async def start(self) -> None:
        for name, work in (
            ("ticker", tick_forever(self._tick)),
            ("bus writer", self._write_forever()),
            ("heartbeat", self._beat_forever()),
        ):
            self._tasks.append(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        """Write what is left, and stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.flush()
        await stop(*self._tasks, *self._asides)

    async def open(self, started: e.CallStarted, owner: Ownership | None = None) -> None:
        """Begin the call's log. Nothing of the call happens before this is on the bus.

        It ends with `end`, also where `connect` never came. `owner`: of the task of placing the
        call (bus/dialling.py).

        Raises:
            BusError: the bus did not take it; refuse the call.
            SupersededError: another ingress places this call; leave it alone.
        """
        call = started.call
        self._open[call] = None
        try:
            if owner is None:
                await self._session.log.append(call, started)
            else:
                await self._session.log.commit(owner, started)
            await self._session.presence.beat([call], self._now_ms())
            await self._session.topics.lifecycle.publish(CallChanged(call=call, event=started))
        except BaseException:
            self._open.pop(call, None)
            raise

    def tell(self, call: CallId, *events: e.Event) -> None:
        """Write what happens in an open call outside its media: it rings, it is asked for."""
        self._events.setdefault(call, []).extend(events)
        self._due.set()

    async def connect(self, leg: Leg) -> None:
        """Media flows: the leg gets its ticks, and the pools are asked to listen and to greet.

        Raises:
            BusError: the pools may not know of the call; end it.
        """
        call = leg.call
        self._legs[call] = leg
        metrics.CALLS_ACTIVE.set(len(self._legs))
        self._events.setdefault(call, []).append(e.CallAnswered(at=self._now_ms()))
        # The leg follows the log before anybody is asked to write to it: it is told only of what
        # comes after.
        following = AsyncExitStack()
        fold = await following.enter_async_context(
            self._session.folds.follow(
                call, lambda event: leg.happened(event, fold.conversation), keep=True
            )
        )
        if fold.conversation.started is None:
            await following.aclose()
            raise BusError("the bus lost the call's beginning")
        leg.follow(fold.conversation)
        self._session.tail.follow(topics.audio_out(call), "0-0", leg.audio_came)
        following.callback(self._session.tail.drop, topics.audio_out(call), leg.audio_came)
        if call in self._legs:
            self._following[call] = following
            self._rescue.watch(call, fold, leg)
        else:  # it ended meanwhile
            await following.aclose()
        await self._session.topics.hear.publish(HearCall(call=call))
        if leg.agent.greeting:
            await self._session.topics.answer.publish(AnswerTurn(call=call, turn=GREETING_TURN))

    async def end(self, started: e.CallStarted, *last: e.Event, ended: e.CallEnded) -> None:
        """Write the call's last entries and ask for its recording; waits until the bus has them."""
        call = started.call
        self._open.pop(call, None)
        leg = self._legs.pop(call, None)
        if leg is not None:
            leg.close()
            self._events.setdefault(call, []).extend(leg.pending)
            metrics.CALLS_ACTIVE.set(len(self._legs))
        if (following := self._following.pop(call, None)) is not None:
            await following.aclose()
        metrics.CALLS.labels(started.carrier, ended.why.value).inc()
        if started.direction == "outbound":
            metrics.OUTBOUND.labels(ended.why.value).inc()
        self._events.setdefault(call, []).extend((*last, ended))
        await self.flush()
        self._rescue.leave(call)
        await self._session.topics.lifecycle.publish(CallChanged(call=call, event=ended))
        await self._session.topics.record.publish(RecordCall(call=call))

    async def flush(self) -> None:
        """Wait until the bus has all that happened so far, though more happens meanwhile."""
        last = self._begun + bool(self._frames or self._events)
        while self._done < last:
            self._written.clear()
            self._due.set()
            await self._written.wait()

    def _tick(self, late_ms: float) -> None:
        now = self._now_ms() - late_ms
        deaf = self._pools is not None and "asr" in self._pools.missing
        legs = list(self._legs.items())
        failed = set()
        for call, leg in legs:
            try:
                leg.speak(now, late_ms=late_ms)
            except Exception:
                failed.add(call)
                self._leg_failed(call)
        for call, leg in legs:
            try:
                if call not in failed:
                    frame = leg.listen(now, late_ms=late_ms, deaf=deaf)
                    self._frames.append((call, frame))
            except Exception:
                self._leg_failed(call)
            if leg.pending:
                self._events.setdefault(call, []).extend(leg.pending)
                leg.pending.clear()
            for due in leg.asides:
                task = asyncio.create_task(self._say(leg, due), name=f"aside {call}")
                self._asides.add(task)
                task.add_done_callback(self._asides.discard)
            leg.asides.clear()
        if self._frames or self._events:
            self._due.set()
        if self._ticks_behind:
            self._ticks_behind += 1
            if self._ticks_behind > self._patience_frames:
                self._give_up()

    def _leg_failed(self, call: CallId) -> None:
        """One call's mistake must not stop the clock of the others."""
        _log.exception("leg.failed", call=call)
        self._tell_lost(call, Ending.FAILED)

    async def _write_forever(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            frames, self._frames = self._frames, []
            events, self._events = self._events, {}
            self._begun += 1
            self._ticks_behind = 1
            while self._ticks_behind:
                try:
                    await self._write(frames, events)
                    self._ticks_behind = 0
                except (BusError, OSError) as error:
                    _log.warning("bus.write_failed", error=str(error))
                    if self._ticks_behind > self._patience_frames:
                        frames.clear()  # their calls have ended; what happened in them is kept
                    await asyncio.sleep(_RETRY_S)
            self._done = self._begun
            self._written.set()

    async def _write(
        self, frames: list[tuple[CallId, audio.InFrame]], events: dict[CallId, list[e.Event]]
    ) -> None:
        if frames:
            await self._capture.write(frames)
            for moved in _MOVED:
                moved.inc(len(frames))
        while events:
            call, facts = next(iter(events.items()))
            await self._append(call, facts)
            del events[call]

    async def _append(self, call: CallId, facts: list[e.Event]) -> None:
        """Write facts; one that has no wire form is left out, and the others still come."""
        try:
            await self._session.log.append(call, *facts, seen=self._rescue.seen(call))
        except LogLostError:
            await self._rescue.restore(call)
            await self._append(call, facts)
        except ValueError:
            if len(facts) == 1:
                metrics.ERRORS.labels("ingress", "unwritable").inc()
                _log.exception("log.unwritable_event", call=call, kind=facts[0].kind)
            else:
                for fact in facts:
                    await self._append(call, [fact])

    async def _say(self, leg: Leg, due: DueAside) -> None:
        """Have an aside spoken: from the cache of speech if it is there, even by nobody else."""
        try:
            await speak_aside(self._session, leg.call, leg.agent, due.reply, due.text, self._now_ms)
        except (BusError, OSError) as error:
            _log.warning("bus.aside_failed", call=leg.call, error=str(error))

    async def _beat_forever(self) -> None:
        for part in cycle(range(_BEAT_PARTS)):
            try:
                await self._session.presence.beat(self.calls[part::_BEAT_PARTS], self._now_ms())
                if part == 0:
                    await self._rescue.look()
            except (BusError, OSError) as error:
                _log.warning("bus.beat_failed", error=str(error))
            await asyncio.sleep(_BEAT_S / _BEAT_PARTS)

    def _give_up(self) -> None:
        if self._open:
            _log.error("bus.lost", calls=len(self._open))
        self._frames.clear()
        for call in self.calls:
            self._tell_lost(call, Ending.BUS_LOST)
