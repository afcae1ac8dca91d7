"""The calls that an ingress carries, found by dialog or by id, and how each of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import structlog

from bus.broker import BusError
from bus.log import Ownership
from calls.ending import Ending
from calls.events import CallEnded, Event
from calls.ids import CallId
from ingress_sip.call import SipCall
from ingress_sip.endpoint import SipEndpoint
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.trunking.lines import Line, Lines
from legs.engine import MediaEngine
from media.frames import SAMPLE_RATE
from telemetry import metrics
from telemetry.log import bind_call

_log = structlog.get_logger(__name__)
#: How long a DTLS handshake may take, s.
_SECURED_S: Final = 10.0


class LiveCalls:
    """Every call from the moment that it has a log until its last entry is written."""

    def __init__(self, endpoint: SipEndpoint, engine: MediaEngine, lines: Lines) -> None:
        self._endpoint = endpoint
        self._engine = engine
        self._lines = lines
        self._by_dialog: dict[DialogId, SipCall] = {}
        self._by_id: dict[CallId, SipCall] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Set whenever a call is over.
        self.fewer = asyncio.Event()
        #: Called with each call that is over, before its last entries are written.
        self.told: list[Callable[[SipCall], None]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[SipCall]:
        return iter(list(self._by_id.values()))

    def of(self, dialog: DialogId) -> SipCall | None:
        """The call that a dialog belongs to."""
        return self._by_dialog.get(dialog)

    def named(self, call: CallId) -> SipCall | None:
        return self._by_id.get(call)

    async def open(self, call: SipCall, owner: Ownership | None = None) -> None:
        """Carry a call from now on, and begin its log. It may be over when this returns.

        Its line, if it has one, is taken already. `owner` is as MediaEngine.open has it.

        Raises:
            BusError, OSError, SupersededError: it has no log, and is carried no more.
        """
        self._by_id[call.started.call] = call
        self._by_dialog[call.dialog] = call
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

    def move(self, call: SipCall, dialog: DialogId) -> DialogId:
        """The call goes on in another dialog. Returns the old one."""
        before = call.dialog
        self._by_dialog.pop(before, None)
        call.dialog = dialog
        self._by_dialog[dialog] = call
        return before

    def hand_over(self, call: SipCall, dialog: DialogId, line: Line | None) -> DialogId:
        """Somebody else is the caller now, on a line that is taken already. Returns the old dialog.

        Whoever was the caller so far may still be there: the old dialog is to be ended.
        """
        self._free_line(call)
        call.line = line
        return self.move(call, dialog)

    def tell(self, call: SipCall, *events: Event) -> None:
        """Write what happens outside the call's media."""
        self._engine.tell(call.started.call, *events)

    def connect(self, call: SipCall) -> None:
        """The other side is there: media flows, and the pools get work."""
        if not call.over and call.connected_ms is None:
            call.connected_ms = call.clock_ms()
            self.spawn(self._connect(call))

    async def _connect(self, call: SipCall) -> None:
        with bind_call(call.started.call):
            is_secured = await call.stream.secured(_SECURED_S)
            if call.over:
                return
            if not is_secured:
                _log.warning("sip.not_secured", patience_s=_SECURED_S)
                self.end(call, Ending.FAILED)
                return
            try:
                await self._engine.connect(call.leg)
            except (BusError, OSError) as error:
                _log.error("sip.no_bus", error=str(error))
                self.end(call, Ending.BUS_LOST)

    def give_up(self, call_id: CallId, why: Ending) -> None:
        """The engine cannot go on with a call."""
        if (call := self.named(call_id)) is not None:
            self.end(call, why)

    def end(self, call: SipCall, why: Ending) -> None:
        """Our side ends the call: by a BYE, or by a refusal or CANCEL where it has no answer."""
        if call.answered:
            self._endpoint.hang_up(call.dialog)
        elif call.withdraw is not None:
            call.withdraw()
        elif call.started.direction == "inbound":
            self._endpoint.reject(call.dialog, 503)
        self.finish(call, why)

    def finish(self, call: SipCall, why: Ending) -> None:
        """The call is over; its last entries are written by a task of their own."""
        if call.over:
            return
        call.ending = why
        self._leave(call)
        for tell in self.told:
            tell(call)
        if call.is_open:  # else `open` has it written
            self._write_end(call, why)

    def _leave(self, call: SipCall) -> None:
        self._by_id.pop(call.started.call, None)
        self._by_dialog.pop(call.dialog, None)
        self._free_line(call)
        self.fewer.set()

    def _free_line(self, call: SipCall) -> None:
        if call.line is not None:
            self._lines.free(call.line)
            call.line = None

    def _write_end(self, call: SipCall, why: Ending) -> None:
        self.spawn(self._end(call, why), name=f"end {call.started.call}")

    async def _end(self, call: SipCall, why: Ending) -> None:
        with bind_call(call.started.call):
            seconds = round(call.leg.position / SAMPLE_RATE, 1)
            _log.info("sip.ended", why=why.value, seconds=seconds)
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
            _log.error("sip.task_failed", task=task.get_name(), exc_info=error)
