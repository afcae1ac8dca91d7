"""Phones' bindings, kept on the bus while their ingress restarts."""

from __future__ import annotations

import pytest

from bus import topics
from bus.bindings import Bindings
from bus.session import BusSession

PLACE = "udp:127.0.0.1:5060"


async def test_what_one_ingress_had_the_next_one_gets(session: BusSession) -> None:
    kept = Bindings(session.redis, PLACE)
    assert await kept.load() == ((), 0.0)
    await kept.save([{"user": "alice"}])
    bindings, age_s = await Bindings(session.redis, PLACE).load()
    assert list(bindings) == [{"user": "alice"}]
    assert 0 <= age_s < 20
    assert await session.redis.ttl(topics.bindings(PLACE)) > 0
    assert await Bindings(session.redis, "elsewhere").load() == ((), 0.0)


@pytest.mark.parametrize(
    "written", [b"no json", b"[]", b'{"at": 1}', b'{"at": [], "bindings": []}']
)
async def test_what_somebody_else_wrote_there_is_no_bindings(
    session: BusSession, written: bytes
) -> None:
    await session.redis.set(topics.bindings(PLACE), written)
    with pytest.raises(ValueError, match=r"."):
        await Bindings(session.redis, PLACE).load()
