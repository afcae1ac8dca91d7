"""Trunks and phones, as the ingresses tell of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bus import topics
from bus.session import BusSession
from bus.trunk_state import GONE_MS, Lines, PhoneState, TrunkState
from tests.integration.conftest import Eventually

CARRIER = TrunkState(name="carrier", registered="yes", reachable="yes", status=200, calls=2)
PBX = TrunkState(name="pbx", reachable="no", reason="no answer for 5 s")
ANNA = PhoneState(user="anna", contact="sip:anna@192.0.2.8", expires_ms=1000.0)


async def test_each_ingress_tells_of_its_own(session: BusSession) -> None:
    assert await session.trunks.lines() == Lines()
    await session.trunks.show("sip-2", Lines((PBX, CARRIER)))
    await session.trunks.show("sip-1", Lines((CARRIER,), (ANNA,)))
    found = await session.trunks.lines()
    assert [(trunk.name, trunk.process) for trunk in found.trunks] == [
        ("carrier", "sip-1"),
        ("carrier", "sip-2"),
        ("pbx", "sip-2"),
    ]
    assert found.trunks[0] == replace(CARRIER, process="sip-1")
    assert found.phones == (replace(ANNA, process="sip-1"),)
    await session.trunks.hide("sip-1")
    assert len((await session.trunks.lines()).trunks) == 2


async def test_an_ingress_that_says_nothing_is_not_believed_any_more(session: BusSession) -> None:
    await session.trunks.show("sip-1", Lines((CARRIER,)))
    await session.redis.zincrby(topics.LINES.seen, -GONE_MS - 1, "sip-1")
    assert await session.trunks.lines() == Lines()


async def test_what_is_unreadable_is_passed_over(session: BusSession) -> None:
    await session.trunks.show("sip-1", Lines((CARRIER,)))
    await session.redis.hset(topics.LINES.said, "sip-1", "nonsense")
    await session.trunks.show("sip-2", Lines((PBX,)))
    assert [trunk.name for trunk in (await session.trunks.lines()).trunks] == ["pbx"]


async def test_lines_are_shown_until_told_to_stop(
    session: BusSession, eventually: Eventually[bool]
) -> None:
    showing = asyncio.create_task(session.trunks.keep_showing("sip-1", lambda: Lines((PBX,))))

    async def there() -> bool:
        return bool((await session.trunks.lines()).trunks)

    await eventually(there)
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)


def test_a_trunk_is_well_if_calls_can_go_by_it() -> None:
    assert CARRIER.is_well
    assert not PBX.is_well
    assert TrunkState(name="new").is_well
    assert not replace(CARRIER, registered="failed").is_well
