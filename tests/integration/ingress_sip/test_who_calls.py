"""Who calls and who is called: passwords both ways, trunks by address, phones that register."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import pytest

from bus.dialling import CannotPlaceError
from bus.session import BusSession
from ingress_sip.endpoint import EndpointConfig
from ingress_sip.server import SipServer
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.routing import Transport
from ingress_sip.sockets.transports import Listen
from ingress_sip.trunking.config import Account, Phone, Phones, Rules, Trunk, Trunks
from tests.integration.ingress_sip.agent import NewStory, place
from tests.integration.ingress_sip.party import Fields, NewParty, Party, at
from tests.integration.ingress_sip.phone import StartServer

PHONES = Trunks(
    phones=Phones(
        realm="pbx.example", min_s=10, users=(Phone(name="alice", password_env="ALICE_PASSWORD"),)
    )
)
LISTEN = EndpointConfig(
    (Listen(Transport.UDP, "127.0.0.1", 0),), domains=frozenset({"pbx.example"})
)
PASSWORD = "alice's own"
CHALLENGE = (("Proxy-Authenticate", 'Digest realm="acme", nonce="n1", qop="auth", algorithm=MD5'),)


async def exchange(start_server: StartServer) -> SipServer:
    """A server that alice's phones may register at."""
    return await start_server(endpoint=LISTEN, trunks=PHONES)


def md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def answer_to(response: Response, method: str, uri: str, password: str = PASSWORD) -> Fields:
    """What a phone says to a challenge, reckoned by hand."""
    challenge = response.headers.get("WWW-Authenticate") or ""
    [nonce], [realm] = (re.findall(rf'{name}="([^"]*)"', challenge) for name in ("nonce", "realm"))
    ha1, ha2 = md5("alice", realm, password), md5(method, uri)
    proof = md5(ha1, nonce, "00000001", "c", "auth", ha2)
    fields = (
        f'username="alice", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{proof}"',
        'algorithm=MD5, qop=auth, nc=00000001, cnonce="c"',
    )
    return (("Authorization", f"Digest {', '.join(fields)}"),)


def is_proven(request: Request, password: str = "the trunk's") -> bool:
    """Has the server answered CHALLENGE, as user "us"?"""
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("Proxy-Authorization") or ""))
    ha1, ha2 = md5("us", "acme", password), md5(request.method, str(request.uri))
    proof = md5(ha1, "n1", said.get("nc", ""), said.get("cnonce", ""), "auth", ha2)
    return said.get("response") == proof


async def register(phone: Party, server: SipServer, expires: int = 60) -> Response:
    """REGISTER, with the password."""
    host, port = at(server)
    uri = f"sip:{host}:{port}"
    phone.call_id, phone.target = "registration", uri
    phone.local = phone.remote = "<sip:alice@pbx.example>"
    phone.local += ";tag=r"
    fields = (("Expires", str(expires)),)
    challenged = await phone.responded(phone.ask("REGISTER", fields=fields))
    assert challenged.status == 401
    proof = answer_to(challenged, "REGISTER", uri)
    response = await phone.responded(phone.ask("REGISTER", fields=(*fields, *proof)))
    phone.call_id = ""
    return response


async def test_a_phone_proves_who_it_is(start_server: StartServer, new_party: NewParty) -> None:
    server = await exchange(start_server)
    phone = await new_party(server, user="alice")
    host, port = at(server)
    uri = f"sip:200@{host}:{port}"
    phone.local = "<sip:alice@pbx.example>;tag=1"
    phone.call_id = "one"
    challenged = await phone.dial(uri)
    assert challenged.status == 401
    phone.ack(1)
    wrong = answer_to(challenged, "INVITE", uri, "somebody's")
    assert (await phone.dial(uri, fields=wrong)).status == 401
    phone.ack(2)
    right = answer_to(challenged, "INVITE", uri)
    assert (await phone.dial(uri, fields=right)).status == 200
    await phone.hear(0xFF)
    await phone.hang_up()


async def test_a_phone_that_registered_is_called_by_its_name(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    server = await exchange(start_server)
    phone = await new_party(server, user="alice")
    assert (await register(phone, server)).status == 200
    assert [each.user for each in server.lines().phones] == ["alice"]
    host, port = at(server)
    for name in (f"sip:alice@{host}:{port}", "sip:alice@pbx.example"):
        call = await place(server, session, name, caller_id="500")
        invite = await phone.answer_call()
        assert (invite.uri.user, invite.from_.uri.user) == ("alice", "500")
        await phone.hear(0xFF)
        await phone.hang_up()
        assert await story(call).ended() == "caller_hung_up"
        assert (await story(call).started()).trunk == ""


async def test_a_phone_that_has_gone_cannot_be_called(
    start_server: StartServer, session: BusSession, new_party: NewParty
) -> None:
    server = await exchange(start_server)
    phone = await new_party(server, user="alice")
    await register(phone, server)
    assert (await register(phone, server, expires=0)).status == 200
    with pytest.raises(CannotPlaceError, match="no phone of 'alice' is registered"):
        await place(server, session, "sip:alice@pbx.example")


async def test_bindings_go_on_after_a_restart(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    before = await exchange(start_server)
    phone = await new_party(before, user="alice")
    await register(phone, before)
    after = await exchange(start_server)
    after.remember(before.bindings(), 1.0)
    phone.meets(after)
    call = await place(after, session, "sip:alice@pbx.example")
    await phone.answer_call()
    await phone.hang_up()
    await story(call).ended()


def of(party: Party, **fields: Any) -> Trunk:
    """The trunk at 127.0.0.1, to which we prove ourselves."""
    account = Account(user="us", password_env="TRUNK_PASSWORD")
    uri = f"sip:{party.address}"
    return Trunk(name="acme", uri=uri, allow=("127.0.0.1",), options_s=0, auth=account, **fields)


async def test_we_prove_who_we_are_to_a_trunk(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party()
    server = await start_server(trunks=Trunks(trunks=(of(far),)))
    far.meets(server)
    call = await place(server, session, "1234")
    first = await far.invited()
    far.reply(first, 407, fields=CHALLENGE)
    invite = await far.answer_call()
    assert is_proven(invite)
    assert (invite.call_id, invite.cseq.number) == (first.call_id, first.cseq.number + 1)
    await story(call).has("call.answered")
    server.cancel(call)
    bye = await far.requested("BYE")
    assert is_proven(bye)
    far.reply(bye, 200)
    assert await story(call).ended() == "agent_hung_up"


async def test_we_prove_who_we_are_within_a_call_that_the_trunk_began(
    start_server: StartServer, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party()
    server = await start_server(trunks=Trunks(trunks=(of(far, max_calls=1),)))
    far.meets(server)
    host, port = at(server)
    assert (await far.dial(f"sip:200@{host}:{port}")).status == 200
    log = story()
    await log.begins(server)
    started = await log.started()
    assert (started.trunk, started.direction) == ("acme", "inbound")
    await log.wants("hangup")
    far.reply(await far.requested("BYE"), 407, fields=CHALLENGE)
    bye = await far.requested("BYE")
    assert is_proven(bye)
    far.reply(bye, 200)
    assert await log.ended() == "agent_hung_up"


async def test_a_rush_of_calls_does_not_go_past_a_trunks_limit(
    start_server: StartServer, new_party: NewParty
) -> None:
    first = await new_party()
    server = await start_server(trunks=Trunks(trunks=(of(first, max_calls=2),)))
    first.meets(server)
    parties = [first, *[await new_party(server) for _ in range(4)]]
    host, port = at(server)
    dials = [each.dial(f"sip:200@{host}:{port}") for each in parties]
    answers = await asyncio.gather(*dials)
    assert sorted(each.status for each in answers) == [200, 200, 503, 503, 503]
    taken = [p for p, a in zip(parties, answers, strict=True) if a.status == 200]
    await asyncio.gather(*(each.hang_up() for each in taken))
    assert server._policy.lines.calls("acme", "inbound") == 0
    third = await new_party(server)
    assert (await third.dial(f"sip:200@{host}:{port}")).status == 200
    await third.hang_up()


@pytest.mark.parametrize(("unknown", "status"), [("reject", 403), ("silent", None)])
async def test_a_stranger_is_refused_or_hears_nothing(
    start_server: StartServer, new_party: NewParty, unknown: Any, status: int | None
) -> None:
    server = await start_server(trunks=Trunks(policy=Rules(unknown_callers=unknown)))
    stranger = await new_party(server)
    host, port = at(server)
    if status is not None:
        assert (await stranger.dial(f"sip:200@{host}:{port}")).status == status
        return
    stranger.call(f"sip:200@{host}:{port}", stranger.sdp())
    stranger.ask("OPTIONS")
    await asyncio.sleep(0.1)
    assert stranger.wire.came.empty()
