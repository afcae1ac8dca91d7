"""One worker of a pool: takes jobs while it has room, holds their leases, hands them back.

FastStream delivers the jobs; an entry in the group's pending list is a lease (bus/lease.py).
A job is taken by starting a task and waiting, inside the handler, until there is room for another:
so a full worker stops reading the queue, and no job waits behind a busy worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import structlog
from faststream import AckPolicy
from faststream.redis import RedisStreamMessage, StreamSub
from pydantic import ValidationError

from bus.broker import BusError
from bus.jobs import Job
from bus.lease import Leases
from bus.log import SupersededError
from bus.session import BusSession
from bus.tasks import stop
from bus.topics import QueueName
from telemetry import metrics
from telemetry.log import bind_call

J = TypeVar("J", bound=Job)

_log = structlog.get_logger(__name__)
#: Short, and ended by a flag: cancelling a group read strands what it was about to return.
_POLL_MS: Final = 200
#: A job that failed this often, on whichever workers, is given up.
_MAX_FAILURES: Final = 5
#: No job is idle for so long, ms.
_NEVER_MS: Final = 10**12


async def _as_it_came(message: RedisStreamMessage) -> RedisStreamMessage:
    """A decoder: a handler needs the entry's id beside its body."""
    return message


class Pool(Generic[J]):
    """This process's share of a pool's work.

    `work(job)` does one job; it is cancelled when the lease is lost or handed back, and raises
    `SupersededError` when it notices by itself. `give_up(job, error)` is told of a job that failed
    for good.
    """

    def __init__(
        self,
        session: BusSession,
        pool: QueueName,
        job_type: type[J],
        work: Callable[[J], Awaitable[None]],
        *,
        capacity: int,
        lease_ms: int = 1000,
        finish_s: float = 0.0,
        give_up: Callable[[J, Exception], Awaitable[None]] | None = None,
    ) -> None:
        """`finish_s`: how long a drain lets jobs finish before it hands them back."""
        self.name = pool
        self._session = session
        self._leases = Leases(session.redis, pool, session.name)
        self._job_type = job_type
        self._work = work
        self._capacity = capacity
        self._lease_ms = lease_ms
        self._finish_s = finish_s
        self._give_up = give_up
        self._held: dict[bytes, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._subscribers: list[Any] = []
        self._keeper: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def owned(self) -> int:
        """Jobs being worked on here."""
        return len(self._held)

    async def start(self) -> None:
        """Begin to take jobs."""
        await self._leases.ensure_group()
        await self._leases.sweep()
        common: dict[str, Any] = {
            "group": self._leases.group,
            "consumer": self._leases.consumer,
            "max_records": 1,
        }
        fresh = StreamSub(self._leases.queue, polling_interval=_POLL_MS, **common)
        abandoned = StreamSub(
            self._leases.queue,
            polling_interval=self._lease_ms // 4,
            min_idle_time=self._lease_ms,
            **common,
        )
        for stream, handler in ((fresh, self._take), (abandoned, self._take_over)):
            subscriber: Any = self._session.broker.subscriber(
                stream=stream,
                ack_policy=AckPolicy.MANUAL,
                decoder=_as_it_came,
                title=f"{self.name}{handler.__name__}",
            )
            subscriber(handler)
            self._subscribers.append(subscriber)
            await subscriber.start()
        self._keeper = asyncio.create_task(self._keep(), name=f"{self.name} leases")

    async def drain(self) -> None:
        """Take no more, let jobs finish for a while, and hand back what is left."""
        self._draining = True
        self._room.set()
        reads = [task for subscriber in self._subscribers for task in subscriber.tasks]
        for subscriber in self._subscribers:
            subscriber.running = False
        if reads:
            await asyncio.wait(reads, timeout=2 * _POLL_MS / 1000)
        for subscriber in self._subscribers:
            await subscriber.stop()
        tasks = set(self._held.values())
        if tasks and self._finish_s:
            await asyncio.wait(tasks, timeout=self._finish_s)
        if self._keeper is not None:
            await stop(self._keeper)
        left = dict(self._held)
        await stop(*left.values())
        with suppress(BusError):
            await self._leases.hand_back(list(left))

    async def _take(self, message: RedisStreamMessage) -> None:
        entry: bytes = message.raw_message["message_ids"][0]
        if entry in self._held:
            return
        try:
            job = self._job_type.model_validate_json(message.body)
        except ValidationError as error:
            metrics.ERRORS.labels(self.name, "bad_job").inc()
            _log.error("pool.bad_job", pool=self.name, body=message.body[:200], error=str(error))
            await self._leases.done(entry)
            return
        if self._full:  # the other subscription was quicker
            await self._leases.hand_back([entry])
        else:
            task = asyncio.create_task(self._do(job, entry), name=f"{self.name} {job.call}")
            self._held[entry] = task
            self._count()
            task.add_done_callback(lambda done: self._released(entry, done))
        while self._full and not self._draining:
            self._room.clear()
            await self._room.wait()

    @property
    def _full(self) -> bool:
        return len(self._held) >= self._capacity

    def _count(self) -> None:
        metrics.POOL_OWNED.labels(self.name).set(len(self._held))
        # A full worker takes nothing over either.
        self._subscribers[-1].min_idle_time = _NEVER_MS if self._full else self._lease_ms

    async def _take_over(self, message: RedisStreamMessage) -> None:
        if message.raw_message["message_ids"][0] not in self._held:
            metrics.TAKE_OVERS.labels(self.name).inc()
            await self._take(message)

    def _released(self, entry: bytes, task: asyncio.Task[None]) -> None:
        self._held.pop(entry, None)
        self._count()
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its entry is still pending: when the lease has run out, it is tried again.
            _log.error("pool.job_not_settled", pool=self.name, exc_info=error)

    async def _do(self, job: J, entry: bytes) -> None:
        with bind_call(job.call):
            try:
                await self._work(job)
            except SupersededError as error:
                _log.info("pool.superseded", pool=self.name, task=str(error))
                await self._superseded(entry)
                return
            except Exception as error:
                await self._failed(job, entry, error)
                return
            await self._leases.done(entry)

    async def _superseded(self, entry: bytes) -> None:
        # As a rule the entry is another worker's by now. One that is ours still, again and again,
        # is the same job put on the queue twice: two owners would take it from each other for ever.
        if await self._leases.failed(entry) >= _MAX_FAILURES:
            await self._leases.done(entry)

    async def _failed(self, job: J, entry: bytes, error: Exception) -> None:
        metrics.ERRORS.labels(self.name, type(error).__name__).inc()
        _log.exception("pool.job_failed", pool=self.name, job=repr(job))
        with suppress(BusError):
            if await self._leases.failed(entry) >= _MAX_FAILURES:
                if self._give_up is not None:
                    await self._give_up(job, error)
                await self._leases.done(entry)
            # Otherwise it stays in the pending list: when its lease has run out, any worker
            # tries it again.

    async def _keep(self) -> None:
        """Renew the leases, report the lag, and revive a subscription that lost its group."""
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            try:
                await self._revive()
                held = list(self._held)
                for entry in set(held) - await self._leases.renew(held):
                    if (task := self._held.get(entry)) is not None:
                        _log.warning("pool.lease_lost", pool=self.name)
                        task.cancel()
                waiting, _ = await self._leases.lag()
                metrics.POOL_LAG.labels(self.name).set(waiting)
            except (BusError, OSError) as error:
                _log.warning("pool.keep_failed", pool=self.name, error=str(error))
            except Exception:
                # Without renewals every job here would be taken away: go on.
                _log.exception("pool.keep_failed", pool=self.name)

    async def _revive(self) -> None:
        # FastStream stops a subscriber for good when its group is gone, as after a bus that came
        # back without its data.
        stopped = [subscriber for subscriber in self._subscribers if not subscriber.running]
        if stopped and not self._draining:
            await self._leases.ensure_group()
            for subscriber in stopped:
                await subscriber.start()
