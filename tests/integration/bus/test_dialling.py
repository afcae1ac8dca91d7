"""Outbound calls on a real bus: each is placed once, by one ingress, or its asker knows why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bus import topics
from bus.dialling import CannotPlaceError, Dial, Dialling
from bus.jobs import PlaceCall
from bus.log import Ownership
from bus.session import BusSession
from calls.ids import CallId
from tests.integration.conftest import Eventually, OpenSession
from tests.support.facts import CALL, started

LEASE_MS = 200
JOB = PlaceCall(call=CALL, number="+1 555 0100", agent="desk")
StartIngress = Callable[..., Awaitable["Ingress"]]


class Ingress:
    """Places calls as it is told to, and keeps what it did."""

    def __init__(self, session: BusSession) -> None:
        self.session = session
        self.dialling = Dialling(session, lease_ms=LEASE_MS)
        self.placed: list[PlaceCall] = []
        self.begun: list[CallId] = []
        self.cancelled: list[CallId] = []
        self.fault: Exception | None = None
        #: Set: go on to the log.
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def place(self, job: PlaceCall, owner: Ownership) -> None:
        self.placed.append(job)
        await self.go_on.wait()
        if self.fault is not None:
            raise self.fault
        await self.session.log.commit(owner, started())
        self.begun.append(job.call)


@pytest.fixture
async def ingress(open_bus: OpenSession) -> AsyncIterator[StartIngress]:
    serving: list[Ingress] = []

    async def start(name: str = "sip-1", **attributes: object) -> Ingress:
        one = Ingress(await open_bus(name))
        for attribute, value in attributes.items():
            setattr(one, attribute, value)
        await one.dialling.serve(one.place, one.cancelled.append)
        serving.append(one)
        return one

    yield start
    for each in serving:
        each.go_on.set()
        await each.dialling.drain()


async def settled(session: BusSession) -> bool:
    return await session.redis.xlen(topics.jobs("dial")) == 0


async def test_a_call_is_placed_by_one_of_many_and_once(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    crowd = [await ingress(f"sip-{number}") for number in range(3)]
    await Dial(session).ask(JOB)
    await eventually(lambda: settled(session))
    [placed] = [job for each in crowd for job in each.placed]
    assert (placed.call, placed.number) == (CALL, "+15550100")
    assert placed.asked_at > 0
    assert len(await session.log.read(CALL)) == 1
    assert await Dial(session).refusal(CALL) is None


async def test_a_job_that_comes_twice_places_one_call(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    one = await ingress()
    for _ in range(2):
        await Dial(session).ask(JOB)
        await eventually(lambda: settled(session))
    assert len(one.placed) == 1


async def test_an_ingress_that_stalls_before_the_log_loses_the_call_to_another(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    stalled = await ingress("sip-1")
    stalled.go_on.clear()
    await Dial(session).ask(JOB)
    await eventually(lambda: stalled.placed)
    # It renews nothing any more, as if it were dead, but it will wake up again.
    pool: Any = stalled.dialling._pool
    pool._keeper.cancel()
    other = await ingress("sip-2")
    await eventually(lambda: settled(session))
    assert len(other.placed) == 1
    stalled.go_on.set()
    await eventually(lambda: pool.owned == 0)
    assert (len(other.begun), stalled.begun) == (1, [])


async def test_who_cannot_place_a_call_says_why(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    one = await ingress(fault=CannotPlaceError("no agent is called 'desk'"))
    await Dial(session).ask(JOB)
    await eventually(lambda: settled(session))
    assert await Dial(session).refusal(CALL) == "no agent is called 'desk'"
    assert len(one.placed) == 1
    assert await session.log.read(CALL) == []


async def test_a_call_that_fails_again_and_again_is_refused(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    await ingress(fault=RuntimeError("our mistake"))
    await Dial(session).ask(JOB)
    refusal = await eventually(lambda: Dial(session).refusal(CALL))
    assert "our mistake" in refusal


async def test_a_call_that_waited_too_long_rings_nowhere(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    await session.topics.dial.publish(JOB.model_copy(update={"asked_at": 1.0}))
    one = await ingress()
    refusal = await eventually(lambda: Dial(session).refusal(CALL))
    assert "no ingress was free" in refusal
    assert one.placed == []


async def test_a_call_that_was_cancelled_before_rings_nowhere(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    dial = Dial(session)
    await dial.ask(JOB)
    await dial.cancel(CALL)
    one = await ingress()
    assert await eventually(lambda: dial.refusal(CALL)) == "it was cancelled"
    assert one.placed == []


async def test_a_cancel_reaches_a_call_that_is_being_placed_and_one_that_is_live(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    dial = Dial(session)
    one = await ingress()
    one.go_on.clear()
    await dial.ask(JOB)
    await eventually(lambda: one.placed)
    await dial.cancel(CALL)
    await eventually(lambda: one.cancelled)
    one.go_on.set()  # only now the ingress knows the call by its name
    await eventually(lambda: len(one.cancelled) == 2)
    await dial.cancel(CallId("20260102t030405-other00000"))
    await eventually(lambda: len(one.cancelled) == 3)


async def test_what_is_no_cancel_is_passed_over(
    session: BusSession, ingress: StartIngress, eventually: Eventually[Any]
) -> None:
    one = await ingress()
    for fields in ({"c": "{}"}, {"x": "y"}, {"c": b"\xff"}):
        await session.redis.xadd(topics.CANCELS, fields)
    await Dial(session).cancel(CALL)
    assert await eventually(lambda: one.cancelled) == [CALL]
