"""By which ways a call may come and go: TCP, TLS, IPv6; SRTP by SDES and by DTLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from bus import topics
from bus.audio import decode_frame
from bus.session import BusSession
from ingress_sip.endpoint import EndpointConfig
from ingress_sip.rtp.dtls import Certificate, Dtls, is_dtls
from ingress_sip.rtp.srtp import Srtp
from ingress_sip.server import SipServer
from ingress_sip.signalling.routing import Transport
from ingress_sip.sockets.tls import TlsFiles
from ingress_sip.sockets.transports import Listen
from ingress_sip.trunking.config import Trunk, Trunks
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.agent import NewStory, Story, place
from tests.integration.ingress_sip.party import NewParty, Party, at
from tests.integration.ingress_sip.phone import StartServer
from tests.integration.ingress_sip.test_media_stream import has_ipv6
from tests.support.certificates import Authority


def listening(*transports: Transport, host: str = "127.0.0.1", **fields: Any) -> EndpointConfig:
    return EndpointConfig(tuple(Listen(each, host, 0) for each in transports), **fields)


async def is_heard(
    caller: Party, log: Story, session: BusSession, eventually: Eventually[Any], mark: int = 0x21
) -> None:
    """Both hear each other: the caller the agent's silence, and the bus the caller's mark."""
    await caller.hear(0xFF)

    async def heard() -> bool:
        caller.talk(mark)
        entries = await session.redis.xrange(topics.audio_in(log.call))
        frames = [decode_frame(entry_id, fields[b"f"]) for entry_id, fields in entries]
        return any(set(frame.payload) == {mark} for frame in frames)

    await eventually(heard)


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
async def test_a_call_by_a_connection(
    start_server: StartServer,
    new_party: NewParty,
    story: NewStory,
    tmp_path: Path,
    transport: Transport,
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("127.0.0.1")
    tls = TlsFiles(pair.certificate, pair.key, authority.file)
    trunk = Trunk(name="acme", uri="sip:127.0.0.2", allow=("127.0.0.1",), options_s=0)
    server = await start_server(
        endpoint=listening(Transport.UDP, transport, tls=tls), trunks=Trunks(trunks=(trunk,))
    )
    trust = ssl.create_default_context(cafile=authority.file)
    caller = await new_party(
        server, transport=transport, trust=trust if transport is Transport.TLS else None
    )
    host, port = at(server, transport)
    uri = f"sip:200@{host}:{port};transport={transport}"
    assert (await caller.dial(uri)).status == 200
    log = story()
    await log.begins(server)
    started = await log.started()
    assert started.remote == f"{transport}:{caller.address}"
    assert started.trunk == "acme"
    await caller.hear(0xFF)
    await log.wants("hangup")
    await caller.hung_up_on()  # by the connection that is there
    assert await log.ended() == "agent_hung_up"


async def test_a_call_of_ours_by_tcp(
    start_server: StartServer, session: BusSession, story: NewStory
) -> None:
    """Two servers of ours: one calls, the other's agent answers."""
    called = await start_server(endpoint=listening(Transport.TCP))
    server = await start_server(endpoint=listening(Transport.TCP))
    host, port = at(called, Transport.TCP)
    call = await place(server, session, f"sip:200@{host}:{port};transport=tcp")
    await story(call).has("call.answered")
    assert (called.calls, server.calls) == (1, 1)
    server.cancel(call)
    assert await story(call).ended() == "agent_hung_up"


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_a_call_by_ipv6(
    start_server: StartServer,
    session: BusSession,
    new_party: NewParty,
    story: NewStory,
    eventually: Eventually[Any],
) -> None:
    server = await start_server(endpoint=listening(Transport.UDP, host="::1"), rtp_host="::1")
    caller = await new_party(server, host="::1")
    _, port = at(server, host="::1")
    response = await caller.dial(f"sip:200@[::1]:{port}")
    assert b"c=IN IP6 ::1" in response.body
    log = story()
    await log.begins(server)
    await is_heard(caller, log, session, eventually)
    await caller.hang_up()
    await log.ended()
    call = await place(server, session, f"sip:bob@{caller.address}")
    await caller.answer_call()
    await caller.hear(0xFF)
    await caller.hang_up()
    assert await story(call).ended() == "caller_hung_up"


class Sdes:
    """The phone's side of SRTP, of libsrtp alone."""

    def __init__(self, ours: bytes, theirs: bytes) -> None:
        self._out = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        self._in = Session(Policy(key=theirs, ssrc_type=Policy.SSRC_ANY_INBOUND))
        self.protect, self.unprotect = self._out.protect, self._in.unprotect


def key_in(body: bytes) -> bytes:
    found = re.search(rb"a=crypto:\d+ AES_CM_128_HMAC_SHA1_80 inline:(\S+)", body)
    assert found is not None
    return b64decode(found[1])


async def test_srtp_with_keys_in_the_description(
    server: SipServer,
    session: BusSession,
    new_party: NewParty,
    story: NewStory,
    eventually: Eventually[Any],
) -> None:
    caller = await new_party(server)
    host, port = at(server)
    key = bytes(range(30))
    crypto = f"crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{b64encode(key).decode()}"
    offer = caller.sdp(profile="RTP/SAVP", lines=(crypto,))
    response = await caller.dial(f"sip:200@{host}:{port}", offer)
    caller.protection = Sdes(key, key_in(response.body))  # type: ignore[assignment]  # no RTCP
    log = story()
    await log.begins(server)
    await is_heard(caller, log, session, eventually)
    await caller.hang_up()
    await log.ended()


async def test_srtp_that_we_ask_for(
    start_server: StartServer, session: BusSession, new_party: NewParty, story: NewStory
) -> None:
    far = await new_party()
    trunk = Trunk(name="acme", uri=f"sip:{far.address}", options_s=0, srtp="required")
    server = await start_server(trunks=Trunks(trunks=(trunk,)))
    far.meets(server)
    call = await place(server, session, "1234")
    invite = await far.invited()
    assert b"RTP/SAVP" in invite.body
    key = bytes(range(30))
    line = f"crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{b64encode(key).decode()}"
    far.reply(invite, 200, far.sdp(profile="RTP/SAVP", lines=(line,)))
    await far.requested("ACK")
    far.protection = Sdes(key, key_in(invite.body))  # type: ignore[assignment]  # no RTCP
    await far.hear(0xFF)
    await far.hang_up()
    assert await story(call).ended() == "caller_hung_up"


async def shaken(caller: Party, certificate: Certificate, answer: bytes) -> Srtp:
    """The phone's side of a DTLS handshake, as its client."""
    expected = ("sha-256", bytes.fromhex(fingerprint_in(answer).replace(":", "")))
    dtls = Dtls(certificate, is_client=True, fingerprints=[expected])
    async with asyncio.timeout(10):
        while True:
            for datagram in dtls.datagrams_to_send():
                caller.rtp.transport.sendto(datagram, caller.remote_rtp)
            if dtls.keys is not None:
                return Srtp(dtls.keys)
            packet = await caller.rtp.came.get()
            if is_dtls(packet):
                dtls.receive(packet)


def dtls_offer(caller: Party, certificate: Certificate) -> bytes:
    digest = ":".join(f"{octet:02X}" for octet in certificate.fingerprint[1])
    lines = (f"fingerprint:sha-256 {digest}", "setup:active", "rtcp-mux")
    return caller.sdp(profile="UDP/TLS/RTP/SAVP", lines=lines)


def fingerprint_in(body: bytes) -> str:
    found = re.search(rb"a=fingerprint:sha-256 (\S+)", body, re.IGNORECASE)
    assert found is not None
    return found[1].decode()


async def test_srtp_with_keys_by_dtls(
    server: SipServer,
    session: BusSession,
    new_party: NewParty,
    story: NewStory,
    eventually: Eventually[Any],
) -> None:
    caller = await new_party(server)
    host, port = at(server)
    certificate = Certificate(datetime.now(UTC))
    response = await caller.dial(f"sip:200@{host}:{port}", dtls_offer(caller, certificate))
    caller.protection = await shaken(caller, certificate, response.body)
    log = story()
    await log.begins(server)
    await is_heard(caller, log, session, eventually)
    await caller.hang_up()
    assert await log.ended() == "caller_hung_up"


async def test_a_caller_that_leaves_during_the_handshake_leaves_nothing_behind(
    server: SipServer, new_party: NewParty, eventually: Eventually[Any]
) -> None:
    caller = await new_party(server)
    host, port = at(server)
    offer = dtls_offer(caller, Certificate(datetime.now(UTC)))
    assert (await caller.dial(f"sip:200@{host}:{port}", offer)).status == 200
    [call] = server._live
    await eventually(lambda: call.connected_ms is not None)
    await caller.hang_up()
    await eventually(lambda: server._engine.calls == [])
    # The wait for the handshake ends with the call, and connects nothing.
    await eventually(lambda: len(server._live.tasks) == 2)
    assert server._engine._legs == {}


async def test_a_handshake_that_never_comes_ends_the_call(
    server: SipServer,
    new_party: NewParty,
    story: NewStory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingress_sip.live._SECURED_S", 0.1)
    caller = await new_party(server)
    host, port = at(server)
    offer = dtls_offer(caller, Certificate(datetime.now(UTC)))
    assert (await caller.dial(f"sip:200@{host}:{port}", offer)).status == 200
    [call] = server._live
    await caller.hung_up_on()
    assert await story(call.started.call).ended() == "failed"
