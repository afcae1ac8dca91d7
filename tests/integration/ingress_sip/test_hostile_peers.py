"""The SIP server on loopback, and peers that mean it no good, or know no better."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.log import Ownership
from bus.session import BusSession
from calls import events as e
from calls.ending import Ending
from ingress_sip.limits import Allowance, SourceLimits
from ingress_sip.server import SipServer
from ingress_sip.signalling.message import Response
from ingress_sip.sockets.udp import RtpPorts
from ingress_sip.trunking.config import Trunks
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.phone import (
    NewPhone,
    Port,
    StartServer,
    ending,
    jobs,
    live_call,
)


async def test_garbage_on_every_port_changes_nothing(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    await phone.dial()
    for garbage in (b"", b"\x00" * 100, b"INVITE", b"\xff" * 1500, b"SIP/2.0 200 OK\r\n\r\n"):
        phone.raw(garbage)
        phone.rtp.transport.sendto(garbage, ("127.0.0.1", phone.remote_rtp))
    await phone.hang_up()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP


@pytest.mark.parametrize("known", [True, False])
async def test_a_trunk_is_heard_however_much_it_says(
    start_server: StartServer, new_phone: NewPhone, *, known: bool
) -> None:
    allow = ["127.0.0.1"] if known else []
    trunk = {"name": "acme", "uri": "sip:203.0.113.20", "allow": allow, "options_s": 0}
    policy = {"unknown_callers": "accept"}
    few = Allowance(0, 3)
    server = await start_server(
        trunks=Trunks.model_validate({"trunks": [trunk], "policy": policy}),
        limits=SourceLimits(few, few),
    )
    phone = await new_phone(server)
    for number in range(4):
        phone.send("OPTIONS", cseq=number + 1)
    answers = [await phone.final(cseq=number + 1) for number in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    if known:
        assert (await phone.final(cseq=4)).status == 200
    else:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await phone.final(cseq=4)


async def test_octets_that_are_no_text_stop_no_other_call(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    odd, plain = await new_phone(server), await new_phone(server)
    assert (await odd.dial("%FF%FE")).status == 200
    assert (await plain.dial()).status == 200
    await odd.hang_up()
    await plain.hang_up()

    async def both_over() -> bool:
        return await jobs(session, "recorder") == 2

    await eventually(both_over)


@pytest.mark.parametrize("host", ["::1", "phone.invalid", "0.0.0.0"])
async def test_an_address_that_cannot_be_sent_to_stops_no_other_call(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    host: str,
) -> None:
    odd, plain = await new_phone(server), await new_phone(server)
    assert (await odd.dial(host=host)).status == 200
    assert (await plain.dial()).status == 200
    await plain.hear(0xFF)  # silence, in mu-law: the ticker is alive
    odd.talk(0x21)
    if host != "0.0.0.0":  # which asks for no audio
        await odd.hear(0xFF)  # symmetric RTP has found it
    await odd.hang_up()
    await plain.hang_up()


async def test_a_contact_that_cannot_be_sent_to_loses_only_its_own_bye(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    odd, plain = await new_phone(server), await new_phone(server)
    odd.send("INVITE", body=odd.sdp(), contact="[::1]:5060")
    await odd.final()
    odd.ack()
    await plain.dial()
    draining = asyncio.create_task(server.drain())
    plain.answer(await plain.requested("BYE"))
    await draining


async def test_a_caller_who_never_acknowledges_gets_no_audio_and_no_work_is_done_for_it(
    server: SipServer,
    session: BusSession,
    new_phone: NewPhone,
    eventually: Eventually[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else an INVITE in somebody's name would send them 32 s of audio (RFC 8445 19.5.1)."""
    monkeypatch.setattr("legs.engine._BEAT_S", 0.01)
    phone = await new_phone(server)
    phone.send("INVITE", body=phone.sdp())
    assert (await phone.final()).status == 200
    call = await live_call(session)
    seen = (await session.presence.live_calls())[call]

    async def shown_alive() -> bool:
        return (await session.presence.live_calls())[call] > seen

    await eventually(shown_alive)  # else the recorder would take it for an orphan
    await asyncio.sleep(0.1)  # five ticks
    assert phone.rtp.came.empty()
    assert (await jobs(session, "asr"), await jobs(session, "llm")) == (0, 0)
    phone.ack()
    await phone.hear(0xFF)
    phone.ack()  # once more, as its 200 was resent

    async def asked() -> bool:
        return (await jobs(session, "asr"), await jobs(session, "llm")) == (1, 1)

    await eventually(asked)  # of who hangs up before that, nobody is asked anything
    await phone.hang_up()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP
    assert (await jobs(session, "asr"), await jobs(session, "llm")) == (1, 1)
    assert [event.kind for event in await session.log.read(call)].count("call.answered") == 1


async def test_an_ack_that_anybody_could_have_sent_brings_no_audio_before_the_callers(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    """Whoever forges an INVITE can forge such an ACK too; pyVoIP sends no other."""
    phone = await new_phone(server)
    phone.send("INVITE", body=phone.sdp())
    assert (await phone.final()).status == 200
    ours, phone.to_tag = phone.to_tag, "made-up"
    phone.ack()
    await asyncio.sleep(0.1)  # five ticks
    assert phone.rtp.came.empty()
    assert await jobs(session, "asr") == 0
    phone.talk(0x21)
    await phone.hear(0xFF)
    phone.to_tag = ours
    await phone.hang_up()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP


async def test_a_bye_before_the_ack_ends_a_call_that_never_was_connected(
    server: SipServer, session: BusSession, new_phone: NewPhone, eventually: Eventually[Any]
) -> None:
    phone = await new_phone(server)
    phone.send("INVITE", body=phone.sdp())
    await phone.final()
    await phone.hang_up()
    phone.ack()
    assert await ending(session, eventually) is Ending.CALLER_HUNG_UP
    assert server._engine.calls == []


async def test_a_refused_call_costs_no_transaction_and_one_datagram(
    start_server: StartServer, new_phone: NewPhone
) -> None:
    server = await start_server(max_calls=1)
    phone, busy = await new_phone(server), await new_phone(server)
    await phone.dial()
    before = server._endpoint._core.live_transactions
    for number, sdp in (("300", busy.sdp()), ("100", busy.sdp()), ("100", b"no sdp")):
        busy.send("INVITE", number, body=sdp, branch=f"b{number}{len(sdp)}")
        assert isinstance(answer := await busy.receive(), Response)
        assert answer.status in (404, 503)
    assert server._endpoint._core.live_transactions == before
    assert server._endpoint._core.live_dialogs == 1


async def test_octets_that_are_no_text_anywhere_leave_no_port_taken(
    start_server: StartServer, new_phone: NewPhone
) -> None:
    server = await start_server(rtp_first=42_300, rtp_last=42_301)  # one call's ports
    odd = await new_phone(server)
    for number in range(3):
        odd.call_id, odd.to_tag = f"odd{number}", ""
        odd.caller = "\udcff\udcfe"
        assert (await odd.dial("\udcff\udcfe")).status == 200
        await odd.hang_up()
        await asyncio.sleep(0.05)  # its port is closed


async def test_a_new_process_does_not_begin_with_the_ports_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their callers still send there; the first call would hear, and answer, somebody else's."""
    begins = iter([0, 7])
    monkeypatch.setattr("secrets.randbelow", lambda _: next(begins))
    for expected in (42_400, 42_414):
        ports = RtpPorts("127.0.0.1", 42_400, 42_500)
        sockets = [await ports.open(lambda *_: None) for _ in range(2)]
        assert [socket.port for socket in sockets] == [expected, expected + 2]
        for socket in sockets:
            socket.close()
    await asyncio.sleep(0)  # uvloop closes them in its next round


async def test_a_rush_of_calls_is_let_in_a_few_at_a_time(
    server: SipServer, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    phones = [await new_phone(server) for _ in range(20)]
    at_once, most = 0, 0
    really = server._engine.open

    async def counted(started: e.CallStarted, owner: Ownership | None = None) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await really(started, owner)
        at_once -= 1

    monkeypatch.setattr(server._inbound, "_one_of_few", asyncio.Semaphore(4))
    monkeypatch.setattr(server._engine, "open", counted)
    answers = await asyncio.gather(*(phone.dial() for phone in phones))
    assert {answer.status for answer in answers} == {200}
    assert 1 < most <= 4
    for phone in phones:
        await phone.hang_up()


async def test_our_own_mistake_about_a_datagram_keeps_the_port_open(
    server: SipServer, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await new_phone(server)

    def mistaken(*_: Any) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as broken:
        broken.setattr(server._endpoint._core, "receive", mistaken)
        phone.raw(b"anything")
        await asyncio.sleep(0.05)  # it has come
    assert (await phone.dial()).status == 200


async def test_audio_follows_a_call_that_moves(server: SipServer, new_phone: NewPhone) -> None:
    """RFC 3264 8.3.1, also where the new place is silent, and the old one still sends."""
    phone, elsewhere = await new_phone(server), await new_phone(server)
    await phone.dial()
    phone.talk(0x21)
    await phone.hear(0xFF)
    moved = phone.sdp().replace(
        b"m=audio %d" % phone.rtp.number, b"m=audio %d" % elsewhere.rtp.number
    )
    phone.send("INVITE", body=moved, cseq=2)
    await phone.final(2)
    phone.ack(2)
    await elsewhere.hear(0xFF)
    while not phone.rtp.came.empty():
        phone.rtp.came.get_nowait()
    phone.talk(0x21)
    await elsewhere.hear(0xFF)
    await asyncio.sleep(0.1)  # five ticks
    assert phone.rtp.came.empty()


async def test_an_address_on_another_host_has_to_show_itself(
    server: SipServer, new_phone: NewPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8445 19.5.1: else a call is a way to send audio to anybody."""
    monkeypatch.setattr("ingress_sip.rtp.destination.PROOF_MS", 100)
    phone = await new_phone(server)
    loop = asyncio.get_running_loop()
    _, victim = await loop.create_datagram_endpoint(
        Port, local_addr=("127.0.0.2", phone.rtp.number)
    )
    try:
        await phone.dial(host="127.0.0.2")
        async with asyncio.timeout(5):
            await victim.came.get()
        await asyncio.sleep(0.15)
        while not victim.came.empty():
            victim.came.get_nowait()
        await asyncio.sleep(0.1)  # five ticks
        assert victim.came.empty()
        phone.talk(0x21)  # the phone itself is heard, and answered
        await phone.hear(0xFF)
    finally:
        victim.transport.close()
