"""A call whose caller changes: by REFER to us, and by an INVITE with Replaces (RFC 3515, 3891)."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from calls import events as e
from ingress_sip import referred
from ingress_sip.server import SipServer
from ingress_sip.trunking.config import Rules, Trunk, Trunks
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.agent import NewStory, Story
from tests.integration.ingress_sip.party import NewParty, Party, at
from tests.integration.ingress_sip.phone import StartServer

#: Callers may have us call anybody named bob.
ALLOWED = Trunks(policy=Rules(unknown_callers="accept", refer=("bob",)))


class Scene(NamedTuple):
    """A caller in a call with the agent, somebody to take its place, and the call's log."""

    server: SipServer
    caller: Party
    other: Party
    story: Story

    def refers(self, user: str = "bob", query: str = "") -> int:
        """The caller sends a REFER to the other."""
        target = f"<sip:{user}@{self.other.address}{query}>"
        return self.caller.ask("REFER", fields=(("Refer-To", target),))

    async def called(self) -> int:
        """How many calls the agent has, by the log."""
        return len([each for each in await self.story.entries() if each.kind == "call.started"])


@pytest.fixture
async def scene(start_server: StartServer, new_party: NewParty, story: NewStory) -> Scene:
    server = await start_server(trunks=ALLOWED)
    caller, other = await new_party(server, user="alice"), await new_party(server)
    host, port = at(server)
    assert (await caller.dial(f"sip:200@{host}:{port}")).status == 200
    made = Scene(server, caller, other, story())
    await made.story.begins(server)
    return made


def replaces(party: Party) -> tuple[tuple[str, str], ...]:
    """What asks for the server's call with a party: its tags are seen from the server."""
    ours, theirs = (each.partition("tag=")[2] for each in (party.remote, party.local))
    return (("Replaces", f"{party.call_id};to-tag={ours};from-tag={theirs}"),)


async def test_nobody_may_have_us_call_unless_the_file_says_so(scene: Scene) -> None:
    response = await scene.caller.responded(scene.refers("carol"))
    assert response.status == 603
    assert scene.other.wire.came.empty()
    number = scene.caller.ask("REFER", fields=(("Refer-To", "<tel:+1900>"),))
    assert (await scene.caller.responded(number)).status == 603
    await scene.caller.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_the_conversation_goes_on_with_whoever_is_called(
    scene: Scene, eventually: Eventually[Any]
) -> None:
    assert (await scene.caller.responded(scene.refers())).status == 202
    assert await scene.caller.notified() == "SIP/2.0 100 Trying"
    invite = await scene.other.invited()
    assert invite.from_.uri.user == "200"  # whom the caller had called
    scene.other.reply(invite, 180)
    assert await scene.caller.notified() == "SIP/2.0 180 Ringing"
    await scene.caller.hear(0xFF)  # the agent speaks to the caller until then
    scene.other.reply(invite, 200, scene.other.sdp())
    await scene.other.requested("ACK")
    assert await scene.caller.notified() == "SIP/2.0 200 OK"
    await scene.caller.hang_up()
    await scene.other.hear(0xFF)
    scene.other.talk(0x21)
    [call] = scene.server._live
    await eventually(lambda: call.stream.heard_ms is not None)
    await scene.caller.hears_nothing()
    await scene.other.hang_up()
    assert await scene.story.ended() == "caller_hung_up"
    assert await scene.called() == 1


async def test_who_does_not_hang_up_after_the_success_is_hung_up_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referred, "_LEAVE_S", 0.05)
    scene.refers()
    invite = await scene.other.invited()
    scene.other.reply(invite, 183, scene.other.sdp())
    scene.other.reply(invite, 200)  # the answer to the offer came with the 183
    await scene.other.requested("ACK")
    await scene.caller.hung_up_on()
    await scene.other.hear(0xFF)
    await scene.other.hang_up()
    await scene.story.ended()


async def test_a_drain_ends_the_new_call_and_the_old(scene: Scene) -> None:
    scene.refers()
    await scene.other.answer_call()
    while await scene.caller.notified() != "SIP/2.0 200 OK":
        pass
    draining = asyncio.create_task(scene.server.drain())
    await asyncio.gather(scene.caller.hung_up_on(), scene.other.hung_up_on())
    await draining
    assert await scene.story.ended() == "shutdown"
    assert scene.server._endpoint._core.live_dialogs == 0


async def test_one_that_fails_leaves_the_caller(scene: Scene) -> None:
    scene.refers()
    scene.other.reply(await scene.other.invited(), 486)
    assert await scene.caller.notified() == "SIP/2.0 100 Trying"
    assert await scene.caller.notified() == "SIP/2.0 486 Whatever"
    scene.caller.rtp.came = asyncio.Queue()
    await scene.caller.hear(0xFF)
    await scene.caller.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_a_caller_that_leaves_at_once_is_sent_nothing_more(scene: Scene) -> None:
    scene.refers()
    invite = await scene.other.invited()
    await scene.caller.hang_up()
    await scene.caller.hears_nothing()
    scene.other.reply(invite, 200, scene.other.sdp())
    await scene.other.hear(0xFF)
    await scene.other.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_a_caller_that_left_and_nobody_in_its_place_is_the_end(scene: Scene) -> None:
    scene.refers()
    invite = await scene.other.invited()
    await scene.caller.hang_up()
    scene.other.reply(invite, 480)
    assert await scene.story.ended() == "caller_hung_up"


async def test_an_agent_that_hangs_up_meanwhile_calls_nobody(scene: Scene) -> None:
    scene.refers()
    invite = await scene.other.invited()
    scene.other.reply(invite, 180)
    await scene.story.wants("hangup")
    scene.other.reply(await scene.other.requested("CANCEL"), 200)
    scene.other.reply(invite, 487)
    await scene.caller.hung_up_on()
    assert await scene.story.ended() == "agent_hung_up"


async def test_a_refer_with_replaces_takes_over_a_call_of_theirs(scene: Scene) -> None:
    header = "their-call%3Bto-tag%3Da%3Bfrom-tag%3Db"
    scene.refers(query=f"?Replaces={header}&Subject=no&P-Asserted-Identity=no")
    invite = await scene.other.answer_call()
    assert invite.headers.get("Replaces") == "their-call;to-tag=a;from-tag=b"
    assert invite.headers.get("Subject") is None
    assert invite.headers.get("P-Asserted-Identity") is None
    await scene.other.hear(0xFF)
    await scene.caller.hang_up()
    await scene.other.hang_up()
    await scene.story.ended()


@pytest.mark.parametrize("late", [False, True])
async def test_somebody_takes_the_callers_place(scene: Scene, late: bool) -> None:
    body = b"" if late else scene.other.sdp()
    host, port = at(scene.server)
    # It asks by the Contact, which names no agent.
    number = scene.other.call(f"sip:{host}:{port}", body, replaces(scene.caller))
    assert (await scene.other.responded(number)).status == 200
    scene.other.ack(number, scene.other.sdp() if late else b"")
    await scene.caller.hung_up_on()
    await scene.other.hear(0xFF)
    await scene.caller.hears_nothing()
    await scene.other.hang_up()
    assert await scene.story.ended() == "caller_hung_up"
    assert await scene.called() == 1


async def test_what_cannot_take_its_place_is_refused(scene: Scene) -> None:
    host, port = at(scene.server)
    wrong = (("Replaces", "no-such-call;to-tag=a;from-tag=b"),)
    assert (await scene.other.dial(f"sip:{host}:{port}", fields=wrong)).status == 481
    dial = scene.other.dial(f"sip:{host}:{port}", scene.other.sdp("18"), replaces(scene.caller))
    assert (await dial).status == 488
    await scene.caller.hear(0xFF)
    await scene.caller.hang_up()
    await scene.story.ended()


async def test_whoever_takes_its_place_ends_the_call_that_it_asked_for(scene: Scene) -> None:
    """The caller refers us, and is replaced itself before that is answered."""
    scene.refers()
    invite = await scene.other.invited()
    scene.other.reply(invite, 180)
    await scene.story.has("call.answered")
    host, port = at(scene.server)
    taker = scene.other.second_line(scene.server)
    number = taker.call(f"sip:{host}:{port}", taker.sdp(), replaces(scene.caller))
    cancel = await scene.other.requested("CANCEL")
    scene.other.reply(cancel, 200)
    scene.other.reply(invite, 487)
    await scene.caller.hung_up_on()
    [call] = scene.server._live
    # Its 200 is read by nobody: it is sent again, as any that has no ACK.
    assert (await taker.responded(number)).status == 200
    taker.ack(number)
    assert call.dialog.call_id == taker.call_id
    await taker.hang_up()
    assert await scene.story.ended() == "caller_hung_up"


async def test_lines_go_with_the_caller(
    start_server: StartServer, new_party: NewParty, story: NewStory
) -> None:
    """The trunk's line is free once the caller has gone to somebody by another way."""
    caller, other = await new_party(user="alice"), await new_party()
    inward = Trunk(
        name="in", uri="sip:127.0.0.1", allow=("127.0.0.1",), options_s=0, dial=(), max_calls=5
    )
    outward = Trunk(name="out", uri=f"sip:{other.address}", options_s=0, dial=("7*",))
    rules = Rules(refer=("7*",))
    server = await start_server(trunks=Trunks(trunks=(inward, outward), policy=rules))
    caller.meets(server)
    other.meets(server)
    host, port = at(server)
    assert (await caller.dial(f"sip:200@{host}:{port}")).status == 200
    log = story()
    await log.begins(server)
    lines = server._policy.lines
    assert lines.calls("in", "inbound") == 1
    number = caller.ask("REFER", fields=(("Refer-To", f"<sip:700@{host}:{port}>"),))
    assert (await caller.responded(number)).status == 202
    await other.answer_call()
    await other.hear(0xFF)
    assert (lines.calls("in", "inbound"), lines.calls("out", "outbound")) == (0, 1)
    await caller.hang_up()
    await other.hang_up()
    assert await log.ended() == "caller_hung_up"
    assert isinstance((await log.entries())[0], e.CallStarted)
