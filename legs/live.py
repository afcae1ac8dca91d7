"""The calls that an ingress carries, and how the last word of each gets written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Generic, Protocol, TypeVar

import structlog

from bus.log import Ownership
from calls.ending import Ending
from calls.events import CallEnded, CallStarted, Event, MediaQuality
from calls.ids import CallId
from legs.engine import MediaEngine
from legs.leg import Leg
from media.frames import SAMPLE_RATE
from telemetry import metrics
from telemetry.log import bind_call

_log = structlog.get_logger(__name__)


class LiveCall(Protocol):
    """A call, as far as its life goes."""

    started: CallStarted
    #: Its log has begun; before that nothing can be written of it.
    is_open: bool
    #: Why it is over; None while it is not.
    ending: Ending | None

    @property
    def leg(self) -> Leg: ...

    @property
    def now_ms(self) -> Callable[[], float]:
        """The wall clock, epoch ms."""
        ...

    def quality(self) -> MediaQuality | None:
        """How both directions went; None before any media."""
        ...

    def close(self) -> None:
        """Give back what it holds: ports, a connection."""
        ...


C = TypeVar("C", bound=LiveCall)


class Calls(Generic[C]):
    """Every call from the moment that it has a log until its last entry is written."""

    def __init__(self, engine: MediaEngine) -> None:
        self._engine = engine
        self._by_id: dict[CallId, C] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Set whenever a call is over.
        self.fewer = asyncio.Event()
        #: Called with each call that is over, before its last entries are written.
        self.told: list[Callable[[C], None]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[C]:
        return iter(list(self._by_id.values()))

    def named(self, call: CallId) -> C | None:
        return self._by_id.get(call)

    async def open(self, call: C, owner: Ownership | None = None) -> None:
        """Carry a call from now on, and begin its log. It may be over when this returns.

        `owner` is as MediaEngine.open has it.

        Raises:
            BusError, OSError, SupersededError: it has no log, and is carried no more.
        """
        self._enter(call)
        try:
            await self._engine.open(call.started, owner)
        except BaseException:
            call.ending = call.ending or Ending.REFUSED
            self._leave(call)
            call.close()
            raise
        call.is_open = True
        if call.ending is not None:
            self._write_end(call, call.ending)

    def tell(self, call: C, *events: Event) -> None:
        """Write what happens outside the call's media."""
        self._engine.tell(call.started.call, *events)

    def finish(self, call: C, why: Ending) -> None:
        """The call is over; its last entries are written by a task of their own."""
        if call.ending is not None:
            return
        call.ending = why
        self._leave(call)
        for tell in self.told:
            tell(call)
        if call.is_open:  # else `open` has it written
            self._write_end(call, why)

    def _enter(self, call: C) -> None:
        self._by_id[call.started.call] = call

    def _leave(self, call: C) -> None:
        self._by_id.pop(call.started.call, None)
        self.fewer.set()

    def _write_end(self, call: C, why: Ending) -> None:
        self.spawn(self._end(call, why), name=f"end {call.started.call}")

    async def _end(self, call: C, why: Ending) -> None:
        with bind_call(call.started.call):
            seconds = round(call.leg.position / SAMPLE_RATE, 1)
            _log.info("call.ended", carrier=call.started.carrier, why=why.value, seconds=seconds)
            ended = CallEnded(at=call.now_ms(), why=why, position=call.leg.position)
            quality = call.quality()
            call.close()
            await self._engine.end(call.started, *([quality] if quality else []), ended=ended)

    # Tasks of calls

    def spawn(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        """Run something that outlives the event it came from; its mistakes are told."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    async def written(self, patience_s: float) -> None:
        """Wait until the last entries of the calls that are over are written."""
        endings = [task for task in self._tasks if task.get_name().startswith("end ")]
        if endings:
            await asyncio.wait(endings, timeout=patience_s)

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        return tuple(self._tasks)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            metrics.ERRORS.labels("ingress", type(error).__name__).inc()
            _log.error("ingress.task_failed", task=task.get_name(), exc_info=error)
