"""`trunkline call` on a real bus, with an ingress that does what the test says."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from bus.dialling import CannotPlaceError, Dialling
from bus.jobs import PlaceCall
from bus.log import Ownership
from bus.session import BusSession
from calls import events as e
from calls.ending import Ending
from calls.ids import CallId, ReplyId
from tests.integration.conftest import OpenSession
from tests.support.facts import (
    ended,
    playing,
    reply_ended,
    reply_started,
    sentence,
    started,
    turn,
)
from trunkline import placing
from trunkline.errors import UserError
from trunkline.placing import order, place
from trunkline.settings import Settings

Goes = Callable[["Line"], Awaitable[None]]


class Line:
    """A call as an ingress has it."""

    def __init__(self, session: BusSession, call: CallId) -> None:
        self.session = session
        self.call = call
        self.cancelled = asyncio.Event()

    async def tell(self, *facts: e.Event) -> None:
        await self.session.log.append(self.call, *facts)


@pytest.fixture
async def ingress(open_bus: OpenSession) -> AsyncIterator[Callable[[Goes], Awaitable[None]]]:
    """Starts an ingress whose calls go so."""
    stops: list[Callable[[], Awaitable[None]]] = []
    going: list[asyncio.Task[None]] = []

    async def start(goes: Goes) -> None:
        session = await open_bus("sip-1")
        lines: dict[CallId, Line] = {}

        async def placed(job: PlaceCall, owner: Ownership) -> None:
            if job.agent != "desk":
                raise CannotPlaceError(f"no agent is called {job.agent!r}")
            await session.log.commit(
                owner, replace(started(job.call), direction="outbound", called=job.number)
            )
            lines[job.call] = Line(session, job.call)
            going.append(asyncio.create_task(goes(lines[job.call])))

        dialling = Dialling(session)
        await dialling.serve(placed, lambda call: lines[call].cancelled.set())
        stops.append(dialling.drain)

    yield start
    for stop in stops:
        await stop()
    await asyncio.gather(*going)


@pytest.fixture
def settings(empty_bus: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(placing, "_TAKE_S", 1.0)
    monkeypatch.setattr(placing, "_LAST_WORDS_S", 0.2)
    return Settings(bus_url=empty_bus)


RINGING = e.CallRinging(at=1100.0, status=180)
ANSWERED = e.CallAnswered(at=2000.0)


async def test_a_call_that_is_answered_is_told_to_its_end(ingress, settings) -> None:
    async def talk(line: Line) -> None:
        await line.tell(RINGING, e.CallRinging(at=1150.0, status=183, early_media=True), ANSWERED)
        await line.tell(turn(1, "who is there"), reply_started("1.0"))
        await line.tell(sentence("1.0", 0, "Trunkline."), reply_ended("1.0", 1), playing("1.0", 0))
        await line.tell(
            e.TransferProgressed(
                at=3000.0, reply=ReplyId("1.0"), target="100", status=180, text="Ringing"
            )
        )
        await line.tell(replace(ended(why=Ending.TRANSFERRED), at=9000.0))
        await line.tell(e.HearingEnded(at=9100.0, position=1))

    told: list[str] = []
    await ingress(talk)
    placed = await place(
        settings, order(number="+1 555 0100", agent="desk"), told.append, wait=True
    )
    assert told[0].startswith("dialling +15550100 (")
    assert told[1:] == [
        "ringing",
        "ringing, with sound",
        "answered",
        "  caller  who is there",
        "  agent   Trunkline.",
        "  transfer to 100: 180 Ringing",
        "transferred after 7.0 s",
    ]
    assert (placed.answered, placed.ending, placed.seconds) == (True, "transferred", 7.0)
    assert placed.status == 0
    assert placed.as_json()["turns"][0] == {"caller": "who is there", "agent": ""}


@pytest.mark.parametrize("why", [Ending.BUSY, Ending.NO_ANSWER, Ending.UNREACHABLE])
async def test_a_call_that_nobody_answers_ends_with_status_1(ingress, settings, why) -> None:
    async def goes(line: Line) -> None:
        await line.tell(RINGING, ended(why=why))

    told: list[str] = []
    await ingress(goes)
    placed = await place(settings, order(number="100", agent="desk"), told.append, wait=True)
    assert told[-1] == why.value.replace("_", " ")
    assert (placed.answered, placed.seconds, placed.status) == (False, None, 1)


async def test_ctrl_c_hangs_up(ingress, settings) -> None:
    async def goes(line: Line) -> None:
        await line.tell(RINGING)
        os.kill(os.getpid(), signal.SIGINT)
        await line.cancelled.wait()
        await line.tell(ended(why=Ending.CANCELLED))

    await ingress(goes)
    placed = await place(settings, order(number="100", agent="desk"), lambda _: None, wait=True)
    assert (placed.ending, placed.status) == ("cancelled", 1)


async def test_who_does_not_wait_knows_that_it_was_taken(ingress, settings) -> None:
    async def goes(line: Line) -> None:
        await line.tell(RINGING)

    await ingress(goes)
    placed = await place(settings, order(number="100", agent="desk"), lambda _: None, wait=False)
    assert (placed.ending, placed.status) == (None, 0)


async def test_a_refusal_is_told_in_the_ingresss_words(ingress, settings) -> None:
    async def goes(_: Line) -> None: ...

    await ingress(goes)
    with pytest.raises(UserError, match="not placed: no agent is called 'other'"):
        await place(settings, order(number="100", agent="other"), lambda _: None, wait=True)


async def test_where_no_ingress_is_the_call_is_not_made_later(
    ingress, settings, open_bus: OpenSession
) -> None:
    job = order(number="100", agent="desk")
    with pytest.raises(UserError, match="is `trunkline sip` running"):
        await place(settings, job, lambda _: None, wait=True)
    rung: list[CallId] = []

    async def goes(line: Line) -> None:
        rung.append(line.call)

    await ingress(goes)
    session = await open_bus("looker")
    async with asyncio.timeout(5):
        while await session.redis.xlen("jobs:dial"):
            await asyncio.sleep(0.01)
    assert rung == []
