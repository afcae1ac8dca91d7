"""Calls of ours: what phones and trunks answer, what the log says of it, and what is given back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.dialling import CannotPlaceError
from bus.log import Ownership, SupersededError
from bus.session import BusSession
from calls import events as e
from ingress_sip.server import SipServer
from ingress_sip.trunking.config import Trunk, Trunks
from tests.integration.ingress_sip.agent import NewStory, place
from tests.integration.ingress_sip.party import NewParty, Party
from tests.integration.ingress_sip.phone import StartServer


def trunk(party: Party, name: str = "acme", **fields: Any) -> Trunk:
    return Trunk(name=name, uri=f"sip:{party.address}", options_s=0, **fields)


async def with_trunks(start_server: StartServer, *parties: Party, **fields: Any) -> SipServer:
    """A server whose trunks are "acme", and "spare" after it."""
    names = ("acme", "spare")
    trunks = tuple(trunk(each, name, **fields) for name, each in zip(names, parties, strict=False))
    server = await start_server(trunks=Trunks(trunks=trunks))
    for each in parties:
        each.meets(server)
    return server


async def test_an_answered_call_from_invite_to_bye(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party()
    server = await with_trunks(start_server, far, caller_id="4930")
    call = await place(server, session, "+49 30 1234")
    invite = await far.answer_call()
    assert (invite.uri.user, invite.from_.uri.user) == ("+49301234", "4930")
    await story(call).has("call.answered")
    far.talk(0x21)
    await far.hear(0xFF)
    assert server.lines().trunks[0].outbound == 1
    await far.hang_up()
    assert await story(call).ended() == "caller_hung_up"
    started = await story(call).started()
    assert (started.direction, started.trunk) == ("outbound", "acme")
    assert (started.caller, started.called) == ("4930", "+49301234")
    assert started.carrier_call == invite.call_id
    kinds = [each.kind for each in await story(call).entries()]
    assert kinds[:3] == ["call.started", "call.ringing", "call.answered"]
    [quality] = await story(call).has("media.quality")
    assert isinstance(quality, e.MediaQuality)
    assert quality.codec == "PCMU"
    assert server.lines().trunks[0].calls == 0


async def test_the_asker_says_who_calls(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party()
    server = await with_trunks(start_server, far, caller_id="4930")
    call = await place(server, session, "1234", caller_id="+1 555;x", trunk="acme")
    invite = await far.answer_call()
    assert invite.from_.uri.user == "+1 555;x"
    assert (await story(call).started()).caller == "+1 555;x"
    await far.hang_up()
    await story(call).ended()


@pytest.mark.parametrize(
    "answer",
    [
        (302, "rejected"),
        (403, "rejected"),
        (404, "unreachable"),
        (480, "no_answer"),
        (486, "busy"),
        (503, "unreachable"),
        (600, "busy"),
        (603, "rejected"),
    ],
)
async def test_a_call_that_nobody_takes_ends_as_the_answer_says(
    start_server: StartServer,
    session: BusSession,
    new_party: NewParty,
    story: NewStory,
    answer: tuple[int, str],
) -> None:
    (status, why), far = answer, await new_party()
    server = await with_trunks(start_server, far)
    call = await place(server, session, "1234")
    far.reply(await far.invited(), status, fields=(("Contact", "<sip:elsewhere@192.0.2.1>"),))
    await far.requested("ACK")
    assert await story(call).ended() == why
    kinds = [each.kind for each in await story(call).entries()]
    assert kinds == ["call.started", "call.ended"]


async def test_a_phone_that_nobody_picks_up_is_cancelled(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}", timeout_s=1)
    invite = await far.invited()
    far.reply(invite, 180)
    far.reply(await far.requested("CANCEL"), 200)
    far.reply(invite, 487)
    assert await story(call).ended() == "no_answer"


async def test_whoever_asked_for_it_takes_it_back(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}")
    invite = await far.invited()
    far.reply(invite, 180)
    await story(call).has("call.ringing")
    server.cancel(call)
    server.cancel(call)
    far.reply(await far.requested("CANCEL"), 200)
    far.reply(invite, 487)
    assert await story(call).ended() == "cancelled"
    server.cancel(call)  # it is over


async def test_an_answer_that_crosses_the_cancel_is_hung_up_on(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    """RFC 3261 9.1: the core tells of a refusal, and of its BYE's answer after it."""
    far = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}")
    invite = await far.invited()
    far.reply(invite, 180)
    await story(call).has("call.ringing")
    server.cancel(call)
    far.reply(invite, 200, far.sdp())
    await far.requested("ACK")
    await far.hung_up_on()
    assert await story(call).ended() == "cancelled"


async def test_an_answered_call_is_hung_up_by_whoever_asked_for_it(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}")
    await far.answer_call()
    await story(call).has("call.answered")
    server.cancel(call)
    await far.hung_up_on()
    assert await story(call).ended() == "agent_hung_up"


async def test_nobody_is_there(server: SipServer, session: BusSession, story: NewStory) -> None:
    call = await place(server, session, "sip:bob@127.0.0.1:9;transport=tcp")
    assert await story(call).ended() == "unreachable"


async def test_another_trunk_takes_what_the_first_cannot(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    full, spare = await new_party(), await new_party()
    server = await with_trunks(start_server, full, spare)
    call = await place(server, session, "1234")
    refused = await full.invited()
    full.reply(refused, 503)
    invite = await spare.invited()
    assert server.lines().trunks[0].calls == 0
    assert server.lines().trunks[1].outbound == 1
    assert invite.call_id == refused.call_id  # RFC 3261 8.1.3.5
    spare.reply(invite, 180)
    spare.reply(invite, 200, spare.sdp())
    await story(call).has("call.answered")
    await spare.hear(0xFF)
    await spare.hang_up()
    assert await story(call).ended() == "caller_hung_up"


async def test_a_call_that_is_taken_back_does_not_go_on_by_the_next_trunk(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    full, spare = await new_party(), await new_party()
    server = await with_trunks(start_server, full, spare)
    call = await place(server, session, "1234")
    invite = await full.invited()
    server.cancel(call)
    full.reply(invite, 503)
    assert await story(call).ended() == "cancelled"
    assert spare.wire.came.empty()


async def test_the_second_trunk_is_cancelled_too(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    """A drain finds the call in the dialog that it is in now."""
    full, spare = await new_party(), await new_party()
    server = await with_trunks(start_server, full, spare)
    call = await place(server, session, "1234")
    full.reply(await full.invited(), 503)
    invite = await spare.invited()
    spare.reply(invite, 180)
    await story(call).has("call.ringing")
    draining = asyncio.create_task(server.drain())
    spare.reply(await spare.requested("CANCEL"), 200)
    spare.reply(invite, 487)
    assert await story(call).ended() == "shutdown"
    await draining
    assert server._endpoint._core.live_dialogs == 0


async def test_a_trunk_has_no_more_calls_than_lines(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party()
    server = await with_trunks(start_server, far, max_calls=1)
    calls = await asyncio.gather(*(place(server, session, "1234") for _ in range(2)))
    invite = await far.invited()
    assert server.lines().trunks[0].outbound == 1
    far.reply(invite, 486)
    await far.requested("ACK")
    assert sorted([await story(call).ended() for call in calls]) == ["busy", "unreachable"]
    with pytest.raises(CannotPlaceError, match="no trunk is named"):
        await place(server, session, "1234", trunk="other")


async def test_early_media_is_told_and_the_answer_may_be_another_phones(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    """RFC 3261 13.2.2.4: a proxy asked two phones, and the second one takes the call."""
    one, other = await new_party(server), await new_party(server)
    call = await place(server, session, f"sip:bob@{one.address}")
    invite = await one.invited()
    one.reply(invite, 183, one.sdp("0"))
    [ringing] = await story(call).has("call.ringing")
    assert isinstance(ringing, e.CallRinging)
    assert (ringing.status, ringing.early_media) == (183, True)
    one._tag = "theother"
    one.reply(invite, 200, other.sdp("0"))
    await other.hear(0xFF)
    assert one.rtp.came.empty()
    await one.hang_up()
    assert await story(call).ended() == "caller_hung_up"


async def test_an_answer_without_sdp_leaves_that_of_the_early_media(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}")
    invite = await far.invited()
    far.reply(invite, 183, far.sdp("0"))
    far.reply(invite, 200)
    await far.hear(0xFF)
    await far.hang_up()
    await story(call).ended()


async def test_an_answer_that_cannot_be_used_is_hung_up_on(
    server: SipServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}")
    invite = await far.invited()
    far.reply(invite, 200)
    await far.requested("ACK")
    await far.hung_up_on()
    assert await story(call).ended() == "failed"


async def test_a_number_that_no_trunk_dials_is_not_placed(
    server: SipServer, session: BusSession
) -> None:
    with pytest.raises(CannotPlaceError, match="no trunk dials '1234'"):
        await place(server, session, "1234")


async def test_a_log_that_another_ingress_begins_is_left_to_it(
    server: SipServer, session: BusSession, new_party: NewParty
) -> None:
    far = await new_party(server)

    async def superseded(owner: Ownership, *events: e.Event) -> None:
        raise SupersededError

    session.log.commit = superseded  # type: ignore[method-assign,assignment]  # of this session only
    with pytest.raises(SupersededError):
        await place(server, session, f"sip:bob@{far.address}")
    assert far.wire.came.empty()
    assert server.calls == 0


async def test_a_drain_while_the_log_is_begun_sends_nothing(
    server: SipServer,
    session: BusSession,
    new_party: NewParty,
    story: NewStory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = await new_party(server)
    asked, go = asyncio.Event(), asyncio.Event()
    really = session.log.commit

    async def slow(owner: Ownership, *events: e.Event) -> Any:
        asked.set()
        await go.wait()
        return await really(owner, *events)

    monkeypatch.setattr(session.log, "commit", slow)
    placing = asyncio.create_task(place(server, session, f"sip:bob@{far.address}"))
    await asked.wait()
    await server.drain()
    go.set()
    call = await placing
    assert await story(call).ended() == "shutdown"
    assert (await story(call).started()).call == call  # the first entry
    assert far.wire.came.empty()
