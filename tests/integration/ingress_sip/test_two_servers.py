"""Two servers, each the other's trunk: whatever one asks, the other understands."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from bus import topics
from bus.audio import OUT_FIELD, OutChunk, decode_frame, encode_chunk
from bus.session import BusSession
from calls import events as e
from ingress_sip.server import SipServer
from ingress_sip.trunking.config import Account, Rules, Trunk, Trunks
from media.frames import Codec
from tests.integration.conftest import Eventually, OpenSession
from tests.integration.ingress_sip.agent import REPLY, NewStory, Story, place
from tests.integration.ingress_sip.party import NewParty, at
from tests.integration.ingress_sip.phone import StartServer

#: How the caller proves itself; the same variable on both sides.
US = Account(user="us", password_env="TRUNK_PASSWORD")


class Pair(NamedTuple):
    """The server that calls, the one that is called, and the log of the call on each side."""

    calling: SipServer
    called: SipServer
    ours: Story
    theirs: Story


@pytest.fixture
async def pair(
    start_server: StartServer,
    open_bus: OpenSession,
    session: BusSession,
    eventually: Eventually[Any],
) -> Pair:
    """In a call: the agent "silent" of each speaks to the other."""
    inward = Trunk(
        name="in", uri="sip:127.0.0.2", dial=(), inbound_auth=US, options_s=0, srtp="allowed"
    )
    other = await open_bus("called")
    called = await start_server(
        on=other, trunks=Trunks(trunks=(inward,), policy=Rules(refer=("bob",)))
    )
    host, port = at(called)
    outward = Trunk(name="out", uri=f"sip:{host}:{port}", auth=US, options_s=0, srtp="required")
    rules = Rules(unknown_callers="accept", refer=("bob",))
    calling = await start_server(trunks=Trunks(trunks=(outward,), policy=rules))
    call = await place(calling, session, "200")
    ours = Story(session, eventually, call)
    await ours.has("call.answered")
    await eventually(lambda: call in calling._engine._following)
    theirs = Story(other, eventually)
    await theirs.begins(called)
    return Pair(calling, called, ours, theirs)


async def speaks(session: BusSession, story: Story, mark: int) -> None:
    """The agent of a call says a second of one octet."""
    chunk = OutChunk(REPLY, 0, 0, Codec.PCMU, bytes([mark]) * 8000, last=True)
    await session.redis.xadd(topics.audio_out(story.call), {OUT_FIELD: encode_chunk(chunk)})
    await session.log.append(
        story.call,
        e.ReplyStarted(at=1, reply=REPLY),
        e.ReplyEnded(at=1, reply=REPLY, sentences=1, why="complete"),
    )


async def hears(session: BusSession, story: Story, eventually: Eventually[Any], mark: int) -> None:
    async def heard() -> bool:
        entries = await session.redis.xrange(topics.audio_in(story.call))
        frames = [decode_frame(entry_id, fields[b"f"]) for entry_id, fields in entries]
        return any(set(frame.payload) == {mark} for frame in frames)

    await eventually(heard)


async def test_both_agents_hear_each_other(
    pair: Pair, session: BusSession, eventually: Eventually[Any]
) -> None:
    """By SRTP, after a challenge."""
    assert pair.called.lines().trunks[0].calls == 1
    await speaks(session, pair.ours, 0x21)
    await speaks(session, pair.theirs, 0x42)
    await hears(session, pair.theirs, eventually, 0x21)
    await hears(session, pair.ours, eventually, 0x42)
    started = [await each.started() for each in (pair.ours, pair.theirs)]
    assert [each.direction for each in started] == ["outbound", "inbound"]
    assert [each.trunk for each in started] == ["out", "in"]
    assert started[0].carrier_call == started[1].carrier_call
    pair.calling.cancel(pair.ours.call)
    assert await pair.ours.ended() == "agent_hung_up"
    assert await pair.theirs.ended() == "caller_hung_up"


@pytest.mark.parametrize("mode", ["blind", "attended"])
@pytest.mark.parametrize("by", ["caller", "callee"])
async def test_one_puts_the_other_through(
    pair: Pair, new_party: NewParty, mode: str, by: str
) -> None:
    """The other's agent goes on with the target; ours is out of it."""
    first, left = (pair.ours, pair.theirs) if by == "caller" else (pair.theirs, pair.ours)
    here, there = pair.calling, pair.called
    if by == "callee":
        here, there = there, here
    target = await new_party(here)
    taken = target.second_line(there)
    await first.wants("transfer", target=f"sip:bob@{target.address}", mode=mode)
    if mode == "attended":
        consultation = await target.answer_call()
        invite = await taken.invited()
        assert (invite.headers.get("Replaces") or "").startswith(consultation.call_id)
        taken.reply(invite, 200, taken.sdp())
        await taken.requested("ACK")
        await target.hung_up_on()
    else:
        await taken.answer_call()
    assert await first.ended() == "transferred"
    done = await first.done()
    assert (done.outcome, done.status) == ("done", 200)
    await taken.hear(0xFF)
    assert (here.calls, there.calls) == (0, 1)
    await taken.hang_up()
    assert await left.ended() == "caller_hung_up"


async def test_one_that_may_not_have_the_other_call_keeps_it(pair: Pair) -> None:
    await pair.ours.wants("transfer", target="sip:carol@127.0.0.1:9", mode="blind")
    done = await pair.ours.done()
    assert (done.outcome, done.status) == ("failed", 603)
    assert (pair.calling.calls, pair.called.calls) == (1, 1)
    pair.calling.cancel(pair.ours.call)
    await asyncio.gather(pair.ours.ended(), pair.theirs.ended())


async def test_hold_and_resume(pair: Pair, eventually: Eventually[Any]) -> None:
    [ours], [theirs] = pair.calling._live, pair.called._live
    pair.called._holding.hold(theirs)
    await eventually(lambda: theirs.on_hold)
    assert ours.agreed is not None
    assert not ours.agreed.direction.sends
    pair.calling._holding.hold(ours)  # both
    await eventually(lambda: ours.on_hold)
    pair.called._holding.resume(theirs)
    pair.calling._holding.resume(ours)
    await eventually(lambda: not ours.on_hold and not theirs.on_hold)
    pair.calling.cancel(pair.ours.call)
    await asyncio.gather(pair.ours.ended(), pair.theirs.ended())


async def test_keys_by_which_one_agent_speaks_to_the_other(
    pair: Pair, eventually: Eventually[Any]
) -> None:
    await pair.ours.wants("send_digits", digits="4,#")

    async def both() -> bool:
        entries = await pair.theirs.entries()
        return [each.digit for each in entries if isinstance(each, e.DigitPressed)] == ["4", "#"]

    await eventually(both)
    assert (await pair.ours.done()).outcome == "done"
    pair.calling.cancel(pair.ours.call)
    await asyncio.gather(pair.ours.ended(), pair.theirs.ended())


async def test_a_drain_of_one_is_the_others_hang_up(pair: Pair) -> None:
    await pair.calling.drain()
    assert await pair.ours.ended() == "shutdown"
    assert await pair.theirs.ended() == "caller_hung_up"
    for server in (pair.calling, pair.called):
        assert server._endpoint._core.live_dialogs == 0


async def test_a_call_to_one_that_drains_ends_clearly(
    start_server: StartServer, session: BusSession, story: NewStory
) -> None:
    called = await start_server()
    await called.drain()
    calling = await start_server()
    host, port = at(called)
    call = await place(calling, session, f"sip:200@{host}:{port}")
    assert await story(call).ended() == "unreachable"
