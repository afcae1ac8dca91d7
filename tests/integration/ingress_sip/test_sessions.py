"""A session that changes in mid-call: hold, late offers, addresses, timers; and its keys."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from calls import events as e
from ingress_sip.endpoint import EndpointConfig
from ingress_sip.server import SipServer
from ingress_sip.signalling.routing import Transport
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.sockets.transports import Listen
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.agent import NewStory, Story, place
from tests.integration.ingress_sip.party import Fields, NewParty, Party, at
from tests.integration.ingress_sip.phone import StartServer

#: Session timers of seconds, which RFC 4028 4 forbids outside of tests.
QUICK = EndpointConfig((Listen(Transport.UDP, "127.0.0.1", 0),), timers=TimerPolicy(4, least=1))


class Scene(NamedTuple):
    """A caller in a call with the agent, and the call's log."""

    server: SipServer
    caller: Party
    story: Story

    async def renews(self, body: bytes, method: str = "INVITE") -> bytes:
        """The caller offers anew; returns the answer."""
        number = self.caller.ask(method, body)
        response = await self.caller.responded(number)
        assert response.status == 200
        if method == "INVITE":
            self.caller.ack(number)
        return response.body

    async def over(self) -> None:
        await self.caller.hang_up()
        await self.story.ended()


async def calling(server: SipServer, new_party: NewParty, log: Story, fields: Fields = ()) -> Scene:
    caller = await new_party(server, user="alice")
    host, port = at(server)
    assert (await caller.dial(f"sip:200@{host}:{port}", fields=fields)).status == 200
    await log.begins(server)
    return Scene(server, caller, log)


@pytest.fixture
async def scene(server: SipServer, new_party: NewParty, story: NewStory) -> Scene:
    return await calling(server, new_party, story())


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize(("said", "answered"), [("sendonly", "recvonly"), ("inactive", "inactive")])
async def test_a_caller_that_holds_us_hears_nothing(
    scene: Scene, method: str, said: str, answered: str
) -> None:
    caller = scene.caller
    await caller.hear(0xFF)
    assert f"a={answered}".encode() in await scene.renews(caller.sdp(direction=said), method)
    await caller.hears_nothing()
    assert b"a=sendrecv" in await scene.renews(caller.sdp(), method)
    await caller.hear(0xFF)
    await scene.over()


async def test_hold_the_old_way(scene: Scene) -> None:
    """RFC 3264 8.4: by the address 0.0.0.0."""
    held = scene.caller.sdp().replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0")
    assert b"a=recvonly" in await scene.renews(held)
    await scene.caller.hears_nothing()
    await scene.renews(scene.caller.sdp())
    await scene.caller.hear(0xFF)
    await scene.over()


async def test_what_we_hold_we_still_hold_after_the_callers_offer(scene: Scene) -> None:
    caller = scene.caller
    [call] = scene.server._live
    scene.server._holding.hold(call)
    reinvite = await caller.requested("INVITE")
    caller.reply(reinvite, 200, caller.sdp(direction="recvonly"))
    await caller.requested("ACK")
    await caller.hear(0xFF)  # it hears us
    assert call.on_hold
    assert b"a=sendonly" in await scene.renews(caller.sdp())
    scene.server._holding.resume(call)
    reinvite = await caller.requested("INVITE")
    assert b"a=sendrecv" in reinvite.body
    caller.reply(reinvite, 200, caller.sdp())
    await caller.requested("ACK")
    assert not call.on_hold
    await scene.over()


async def test_offers_that_cross_are_made_again(scene: Scene) -> None:
    """RFC 3261 14.1: both offered at once; the caller began the call, and goes first."""
    caller = scene.caller
    [call] = scene.server._live
    scene.server._holding.hold(call)
    reinvite = await caller.requested("INVITE")
    number = caller.ask("INVITE", caller.sdp())
    assert (await caller.responded(number)).status == 491
    caller.ack(number)
    caller.reply(reinvite, 491)
    await scene.renews(caller.sdp())
    again = await caller.requested("INVITE")
    assert b"a=sendonly" in again.body
    first, second = (int(each.body.split()[3]) for each in (reinvite, again))
    assert second > first  # RFC 3264 8: the version has moved on, by the caller's turn too
    caller.reply(again, 200, caller.sdp(direction="recvonly"))
    await caller.requested("ACK")
    await scene.over()


async def test_an_answer_to_our_hold_that_cannot_be_read_leaves_all_as_it_was(
    scene: Scene, eventually: Eventually[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress_sip.holding._AGAIN_S", 0.01)
    [call] = scene.server._live
    scene.server._holding.hold(call)
    for _ in range(5):  # and it is not asked for ever
        scene.caller.reply(await scene.caller.requested("INVITE"), 200)
        await scene.caller.requested("ACK")
    await eventually(lambda: call.pending is None)
    assert not call.on_hold
    await scene.caller.hear(0xFF)
    assert scene.caller.wire.came.empty()
    await scene.over()


async def test_a_late_offer_in_mid_call(scene: Scene) -> None:
    caller = scene.caller
    number = caller.ask("INVITE")
    assert b"m=audio" in (await caller.responded(number)).body
    caller.ack(number, caller.sdp(direction="sendonly"))
    await caller.hears_nothing()
    number = caller.ask("INVITE")
    await caller.responded(number)
    caller.ack(number)  # without the answer: all stays as it was
    await caller.hears_nothing()
    await scene.renews(caller.sdp())  # and it can be changed again
    await caller.hear(0xFF)
    await scene.over()


async def test_media_follow_a_new_address(scene: Scene, new_party: NewParty) -> None:
    elsewhere = await new_party(scene.server)
    await scene.caller.hear(0xFF)
    await scene.renews(scene.caller.sdp(port=elsewhere.rtp.number))
    await elsewhere.hear(0xFF)
    await scene.over()


async def test_an_offer_that_cannot_be_taken_changes_nothing(scene: Scene) -> None:
    number = scene.caller.ask("INVITE", scene.caller.sdp("18"))
    assert (await scene.caller.responded(number)).status == 488
    scene.caller.ack(number)
    await scene.caller.hear(0xFF)
    await scene.over()


async def test_a_session_is_refreshed_by_us_without_a_change(
    start_server: StartServer, new_party: NewParty, story: NewStory
) -> None:
    server = await start_server(endpoint=QUICK)
    fields = (("Supported", "timer"), ("Session-Expires", "2;refresher=uas"))
    scene = await calling(server, new_party, story(), (*fields, ("Allow", "INVITE, UPDATE")))
    update = await scene.caller.requested("UPDATE")
    assert update.headers.get("Session-Expires") == "2;refresher=uac"
    scene.caller.reply(update, 501)
    reinvite = await scene.caller.requested("INVITE")  # then by re-INVITE
    assert int(reinvite.body.split()[3]) == 1  # RFC 4028 7.4: the same version
    fields = (("Require", "timer"), ("Session-Expires", "2;refresher=uac"))
    elsewhere = await new_party(server)
    moved = scene.caller.sdp(port=elsewhere.rtp.number)
    scene.caller.reply(reinvite, 200, moved, fields)
    await scene.caller.requested("ACK")
    await elsewhere.hear(0xFF)
    await scene.over()


async def test_a_caller_that_refreshes_no_more_is_gone(
    start_server: StartServer, new_party: NewParty, story: NewStory
) -> None:
    """RFC 4028 10."""
    server = await start_server(endpoint=QUICK)
    fields = (("Supported", "timer"), ("Session-Expires", "2;refresher=uac"))
    scene = await calling(server, new_party, story(), fields)
    await scene.caller.hung_up_on()
    assert await scene.story.ended() == "media_timeout"


async def test_an_interval_that_is_too_short_is_refused(
    server: SipServer, new_party: NewParty
) -> None:
    caller = await new_party(server)
    host, port = at(server)
    fields = (("Supported", "timer"), ("Session-Expires", "30"))
    response = await caller.dial(f"sip:200@{host}:{port}", fields=fields)
    assert (response.status, response.headers.get("Min-SE")) == (422, "90")


async def test_an_early_session_changes_by_update(
    server: SipServer, session: Any, new_party: NewParty, story: NewStory
) -> None:
    """RFC 3311 5.2: once a reliable 183 has the answer, either side may offer."""
    far = await new_party(server)
    elsewhere = await new_party(server)
    call = await place(server, session, f"sip:bob@{far.address}")
    invite = await far.invited()
    far.reply(invite, 183, far.sdp("0"), (("Require", "100rel"), ("RSeq", "1")))
    far.reply(await far.requested("PRACK"), 200)
    moved = far.sdp("0", port=elsewhere.rtp.number)
    assert (await far.responded(far.ask("UPDATE", moved))).status == 200
    far.reply(invite, 200)
    await elsewhere.hear(0xFF)
    assert far.rtp.came.empty()
    await far.hang_up()
    await story(call).ended()


async def keys(scene: Scene, eventually: Eventually[Any], count: int) -> list[str]:
    """The keys that the log has, once there are so many and time for one more."""

    async def enough() -> list[str]:
        entries = await scene.story.entries()
        found = [each.digit for each in entries if isinstance(each, e.DigitPressed)]
        return found if len(found) >= count else []

    await eventually(enough)
    await asyncio.sleep(0.25)  # a key that came twice would be told by now
    found: list[str] = await eventually(enough)
    return found


def told_by_info(party: Party, key: str) -> int:
    body = f"Signal={key}\r\nDuration=160\r\n".encode()
    return party.ask("INFO", body, kind="application/dtmf-relay")


async def test_keys_told_by_info_are_heard_once(scene: Scene, eventually: Eventually[Any]) -> None:
    for key in "12":
        assert (await scene.caller.responded(told_by_info(scene.caller, key))).status == 200
    assert await keys(scene, eventually, 2) == ["1", "2"]
    await scene.over()


@pytest.mark.parametrize("first", ["info", "rtp"])
async def test_keys_that_come_both_ways_are_heard_once(
    scene: Scene, eventually: Eventually[Any], first: str
) -> None:
    scene.caller.talk(0xFF)
    for key in (1, 2):
        if first == "info":
            await scene.caller.responded(told_by_info(scene.caller, str(key)))
            scene.caller.press(key)
        else:
            scene.caller.press(key)
            await keys(scene, eventually, key)
            await scene.caller.responded(told_by_info(scene.caller, str(key)))
    assert await keys(scene, eventually, 2) == ["1", "2"]
    await scene.over()
