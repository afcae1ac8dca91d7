"""Outbound calls: anybody asks for one, one ingress places it, once.

    asker    -> jobs:dial         PlaceCall; jobs:dial_twilio for those that Twilio is to place
    ingress  -> {call}:events     the call's log, before anything is sent to anybody
             or {call}:refused    why the call is not placed
    asker    -> dial:cancel       CancelCall, for the ingress that has it
                {call}:cancelled  ... and for one that has not begun it

The job is leased as the pools' jobs are: an ingress that dies before the log is begun loses
nothing. The log's beginning is written under an epoch, so that of two ingresses which both think
that the job is theirs only the later can begin it, and does so only if there is no log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from pydantic import ValidationError

from bus import topics
from bus.jobs import CancelCall, PlaceCall
from bus.log import Ownership
from bus.session import BusSession
from bus.tail import Entries
from bus.worker import Pool
from calls.ids import CallId
from telemetry import metrics

#: Begins the call's log under the ownership, and lets the call go its way.
Place = Callable[[PlaceCall, Ownership], Awaitable[None]]

_log = structlog.get_logger(__name__)
_FIELD: Final = b"c"
#: An asker has so long to read why its call was refused, s.
_REFUSED_TTL_S: Final = 600


class CannotPlaceError(Exception):
    """The call cannot be placed, and its log was not begun. The asker gets the text."""


class Dial:
    """The asker's side."""

    def __init__(self, session: BusSession) -> None:
        self._session = session

    async def ask(self, job: PlaceCall) -> None:
        """Have a call placed. What comes of it stands in its log, or in `refusal`."""
        asked_at = await _bus_ms(self._session)
        published = self._session.topics
        queue = published.dial_twilio if job.carrier == "twilio" else published.dial
        await queue.publish(job.model_copy(update={"asked_at": asked_at}))

    async def cancel(self, call: CallId) -> None:
        """Have a call hung up, wherever it is: waiting, ringing or answered."""
        pipe = self._session.redis.pipeline(transaction=False)
        pipe.set(topics.cancelled(call), b"1", ex=topics.CALL_TTL_S)
        pipe.xadd(
            topics.CANCELS,
            {_FIELD: CancelCall(call=call).model_dump_json()},
            maxlen=topics.CANCELS_MAXLEN,
        )
        await pipe.execute()

    async def refusal(self, call: CallId) -> str | None:
        """Why the call was not placed; None if nobody refused it."""
        reason = await self._session.redis.get(topics.refused(call))
        return reason.decode(errors="replace") if isinstance(reason, bytes) else None


class Dialling:
    """The ingress's side."""

    def __init__(
        self, session: BusSession, *, lease_ms: int = 1000, queue: topics.DialQueue = "dial"
    ) -> None:
        self._session = session
        self._queue = queue
        self._lease_ms = lease_ms
        self._pool: Pool[PlaceCall] | None = None

    async def serve(
        self, place: Place, cancel: Callable[[CallId], None], capacity: int = 4
    ) -> None:
        """Take calls to place, from now until `drain`.

        Args:
            place: begins the call's log (`MediaEngine.open(started, owner)`) and returns; ringing
                and talking go on without it. It may be cancelled up to the log's beginning, raise
                `CannotPlaceError`, and let `SupersededError` through. What else it raises is tried
                again, here or elsewhere, before the call is refused.
            cancel: hangs a call up; one that it does not know is none of its business.
            capacity: how many are being placed at once here.
        """
        self._place, self._cancel = place, cancel
        last: Any = await self._session.redis.xrevrange(topics.CANCELS, count=1)
        after: str = last[0][0].decode() if last else "0-0"
        self._session.tail.follow(topics.CANCELS, after, self._cancels_came)
        self._pool = Pool(
            self._session, self._queue, PlaceCall, self._take,
            capacity=capacity, lease_ms=self._lease_ms, give_up=self._give_up,
        )  # fmt: skip
        await self._pool.start()

    async def drain(self) -> None:
        """Take no more; what is not begun goes to another ingress. Cancels are still heard."""
        if self._pool is not None:
            await self._pool.drain()

    async def _take(self, job: PlaceCall) -> None:
        call = job.call
        if await self._is_cancelled(call):
            await self._refuse(call, "it was cancelled")
            return
        waited_ms = await _bus_ms(self._session) - job.asked_at
        if job.asked_at and waited_ms > job.take_within_s * 1000:
            await self._refuse(call, f"no ingress was free for {job.take_within_s:g} s")
            return
        owner = await self._session.log.claim(call, topics.DIAL_TASK)
        # After the claim nobody else can begin it: what stands now is all there is.
        if await self._session.redis.exists(topics.events(call)):
            _log.info("dial.placed_already", call=call)
            return
        try:
            await self._place(job, owner)
        except CannotPlaceError as error:
            await self._refuse(call, str(error))
            return
        if await self._is_cancelled(call):  # meanwhile, when nobody knew whom to tell
            self._cancel(call)

    async def _give_up(self, job: PlaceCall, error: Exception) -> None:
        await self._refuse(job.call, f"it failed again and again: {error}")

    async def _refuse(self, call: CallId, reason: str) -> None:
        _log.warning("dial.refused", call=call, reason=reason)
        metrics.OUTBOUND.labels("not_placed").inc()
        await self._session.redis.set(topics.refused(call), reason[:500], ex=_REFUSED_TTL_S)

    async def _is_cancelled(self, call: CallId) -> bool:
        return bool(await self._session.redis.exists(topics.cancelled(call)))

    def _cancels_came(self, entries: Entries) -> None:
        for _, fields in entries:
            try:
                job = CancelCall.model_validate_json(fields.get(_FIELD, b""))
            except ValidationError as error:
                _log.warning("dial.unreadable_cancel", error=str(error))
            else:
                self._cancel(job.call)


async def _bus_ms(session: BusSession) -> float:
    """The bus's clock: hosts' clocks differ."""
    seconds, micros = await session.redis.time()
    return float(seconds * 1000 + micros // 1000)
