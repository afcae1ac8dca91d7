"""The agent puts its caller through (RFC 3515, 5589): done, failed, refused, and left meanwhile."""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from urllib.parse import unquote

import pytest

from ingress_sip import transfer
from ingress_sip.server import SipServer
from tests.integration.ingress_sip.agent import NewStory, Story
from tests.integration.ingress_sip.party import NewParty, Party, at


class Scene(NamedTuple):
    """A caller in a call with the agent, somebody to be put through to, and the call's log."""

    server: SipServer
    caller: Party
    target: Party
    story: Story

    @property
    def place(self) -> str:
        return f"sip:bob@{self.target.address}"


@pytest.fixture
async def scene(server: SipServer, new_party: NewParty, story: NewStory) -> Scene:
    caller, target = await new_party(server, user="alice"), await new_party(server)
    host, port = at(server)
    assert (await caller.dial(f"sip:200@{host}:{port}")).status == 200
    made = Scene(server, caller, target, story())
    await made.story.begins(server)
    return made


async def tells(party: Party, status: str, state: str = "active;expires=60") -> None:
    """Tell how the transfer goes."""
    fields = (("Event", "refer"), ("Subscription-State", state))
    kind = "message/sipfrag;version=2.0"
    number = party.ask("NOTIFY", f"SIP/2.0 {status}\r\n".encode(), fields, kind=kind)
    assert (await party.responded(number)).status == 200


async def held(party: Party, direction: str) -> None:
    """Be held, or resumed, by a re-INVITE."""
    reinvite = await party.requested("INVITE")
    assert f"a={direction}".encode() in reinvite.body
    mirrored = {"sendonly": "recvonly"}.get(direction, direction)
    party.reply(reinvite, 200, party.sdp(direction=mirrored))
    await party.requested("ACK")


async def consulted(scene: Scene) -> str:
    """An attended transfer as far as its REFER, which is taken. Returns whom it names."""
    await scene.story.wants("transfer", target=scene.place, mode="attended")
    await held(scene.caller, "sendonly")
    await scene.target.answer_call()
    refer = await scene.caller.requested("REFER")
    scene.caller.reply(refer, 202)
    return refer.headers.get("Refer-To") or ""


async def test_blind_and_done(scene: Scene) -> None:
    await scene.story.wants("transfer", target="+49301", mode="blind")
    refer = await scene.caller.requested("REFER")
    # A number means what it means to the caller.
    assert refer.headers.get("Refer-To") == f"<sip:+49301@{scene.caller.address}>"
    assert refer.headers.get("Referred-By")
    scene.caller.reply(refer, 202)
    await tells(scene.caller, "100 Trying")
    await tells(scene.caller, "180 Ringing")
    await tells(scene.caller, "200 OK", "terminated;reason=noresource")
    await scene.caller.hung_up_on()
    done = await scene.story.done()
    assert (done.outcome, done.status, done.detail) == ("done", 200, "200 OK")
    assert await scene.story.ended() == "transferred"
    assert await scene.story.steps() == [100, 180, 200]


async def test_blind_and_busy_gives_the_caller_back(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="blind")
    refer = await scene.caller.requested("REFER")
    assert refer.headers.get("Refer-To") == f"<{scene.place}>"
    scene.caller.reply(refer, 202)
    await tells(scene.caller, "486 Busy Here", "terminated;reason=noresource")
    done = await scene.story.done()
    assert (done.outcome, done.status, done.detail) == ("failed", 486, "486 Busy Here")
    await scene.caller.hear(0xFF)
    await scene.caller.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_a_caller_that_will_not_be_transferred(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="blind")
    scene.caller.reply(await scene.caller.requested("REFER"), 603)
    done = await scene.story.done()
    assert (done.outcome, done.status) == ("failed", 603)
    await scene.caller.hang_up()
    await scene.story.ended()


async def test_a_bad_moment_is_waited_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_AGAIN_S", 0.01)
    await scene.story.wants("transfer", target=scene.place, mode="blind")
    scene.caller.reply(await scene.caller.requested("REFER"), 491)
    again = await scene.caller.requested("REFER")
    assert again.headers.get("Refer-To") == f"<{scene.place}>"
    for _ in range(3):
        scene.caller.reply(again, 491)
        if _ < 2:
            again = await scene.caller.requested("REFER")
    assert (await scene.story.done()).status == 491
    await scene.caller.hang_up()
    await scene.story.ended()


@pytest.mark.parametrize("target", ["sip:bob@[::1", "tel:xyz"])
async def test_a_target_that_is_none_fails_at_once(scene: Scene, target: str) -> None:
    await scene.story.wants("transfer", target=target, mode="blind")
    assert "is no number and no URI" in (await scene.story.done()).detail
    await scene.caller.hang_up()
    await scene.story.ended()


async def test_a_caller_that_hangs_up_once_it_goes_there_was_transferred(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="blind")
    scene.caller.reply(await scene.caller.requested("REFER"), 202)
    await tells(scene.caller, "100 Trying")
    await scene.caller.hang_up()
    assert await scene.story.ended() == "transferred"
    assert (await scene.story.done()).outcome == "done"


async def test_a_caller_that_hangs_up_before_was_not(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="blind")
    refer = await scene.caller.requested("REFER")
    await scene.caller.hang_up()
    scene.caller.reply(refer, 202)
    assert await scene.story.ended() == "caller_hung_up"
    assert (await scene.story.done()).detail == "the caller hung up"


async def test_attended_and_done(scene: Scene) -> None:
    named = await consulted(scene)
    assert named.startswith(f"<sip:bob@{scene.target.address}?Replaces=")
    call_id, *tags = unquote(named.partition("Replaces=")[2].rstrip(">")).split(";")
    assert call_id == scene.target.call_id
    # By its side: what is its own tag is the to-tag (RFC 3891 section 3).
    assert tags[0].partition("=")[2] in scene.target.local
    assert tags[1].partition("=")[2] in scene.target.remote
    await scene.target.hang_up()  # the caller took our place
    await tells(scene.caller, "200 OK", "terminated;reason=noresource")
    await scene.caller.hung_up_on()
    assert await scene.story.ended() == "transferred"
    assert await scene.story.steps() == [100, 180, 200]


async def test_attended_and_busy_gives_the_caller_back(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="attended")
    await held(scene.caller, "sendonly")
    scene.target.reply(await scene.target.invited(), 486)
    await held(scene.caller, "sendrecv")
    done = await scene.story.done()
    assert (done.outcome, done.status) == ("failed", 486)
    scene.caller.talk(0x21)
    await scene.caller.hear(0xFF)
    await scene.caller.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_a_caller_that_cannot_take_the_hold_now_is_asked_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress_sip.holding._AGAIN_S", 0.01)
    await scene.story.wants("transfer", target=scene.place, mode="attended")
    invite = await scene.target.invited()
    scene.caller.reply(await scene.caller.requested("INVITE"), 500)  # RFC 3261 14.2
    await held(scene.caller, "sendonly")
    scene.target.reply(invite, 486)
    await held(scene.caller, "sendrecv")
    await scene.caller.hang_up()
    await scene.story.ended()


async def test_the_target_hangs_up_before_it_is_told_of_anybody(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="attended")
    await held(scene.caller, "sendonly")
    await scene.target.answer_call()
    refer = await scene.caller.requested("REFER")
    await scene.target.hang_up()
    await held(scene.caller, "sendrecv")
    scene.caller.reply(refer, 202)
    assert (await scene.story.done()).detail == "who was asked for hung up"
    await scene.caller.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_the_target_may_change_its_session(scene: Scene) -> None:
    await consulted(scene)
    number = scene.target.ask("INVITE", scene.target.sdp())
    assert b"m=audio" in (await scene.target.responded(number)).body
    scene.target.ack(number)
    number = scene.target.ask("INVITE")
    assert b"m=audio" in (await scene.target.responded(number)).body
    scene.target.ack(number, scene.target.sdp())
    number = scene.target.ask("INVITE", scene.target.sdp("18"))
    assert (await scene.target.responded(number)).status == 488
    scene.target.ack(number)
    await scene.target.hang_up()
    await tells(scene.caller, "200 OK", "terminated;reason=noresource")
    await scene.caller.hung_up_on()
    await scene.story.ended()


async def test_the_caller_hangs_up_while_the_target_rings(scene: Scene) -> None:
    await scene.story.wants("transfer", target=scene.place, mode="attended")
    await held(scene.caller, "sendonly")
    invite = await scene.target.invited()
    scene.target.reply(invite, 180)
    await scene.story.has("transfer.progress", 2)
    await scene.caller.hang_up()
    scene.target.reply(await scene.target.requested("CANCEL"), 200)
    scene.target.reply(invite, 487)
    assert await scene.story.ended() == "caller_hung_up"
    assert (await scene.story.done()).outcome == "failed"


async def test_a_caller_that_goes_early_finds_the_target_still_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs up as soon as it has taken the REFER, and calls the target then."""
    monkeypatch.setattr(transfer, "_TAKEOVER_S", 0.2)
    await consulted(scene)
    await tells(scene.caller, "100 Trying")
    await scene.caller.hang_up()
    assert await scene.story.ended() == "transferred"
    assert scene.target.wire.came.empty()
    await scene.target.hung_up_on()  # nobody came


async def test_a_transfer_of_which_nothing_is_heard_fails(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_ALL_S", 0.3)
    await scene.story.wants("transfer", target=scene.place, mode="attended")
    await held(scene.caller, "sendonly")
    await scene.target.answer_call()
    scene.caller.reply(await scene.caller.requested("REFER"), 202)
    await scene.target.hung_up_on()
    await held(scene.caller, "sendrecv")
    assert (await scene.story.done()).status == 408
    await scene.caller.hang_up()
    await scene.story.ended()


async def test_a_drain_ends_both_calls(scene: Scene) -> None:
    await consulted(scene)
    draining = asyncio.create_task(scene.server.drain())
    await asyncio.gather(scene.caller.hung_up_on(), scene.target.hung_up_on())
    await draining
    assert await scene.story.ended() == "shutdown"
    assert (await scene.story.done()).detail == "the call has ended"
    assert scene.server._endpoint._core.live_dialogs == 0


async def test_keys_are_pressed_by_the_agent(scene: Scene) -> None:
    await scene.story.wants("send_digits", digits="1w2")
    assert (await scene.story.done()).outcome == "done"
    payloads = []
    while not scene.caller.rtp.came.empty():
        packet = scene.caller.rtp.came.get_nowait()
        if packet[1] & 0x7F == 101:
            payloads.append(packet[12])
    assert sorted(set(payloads)) == [1, 2]
    await scene.caller.hang_up()
    await scene.story.ended()
