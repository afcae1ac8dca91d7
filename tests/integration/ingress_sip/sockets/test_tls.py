"""SIP over TLS: who is believed, and certificates that change while we run."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.tls import TlsContexts, TlsError, TlsFiles, read_certificate
from ingress_sip.sockets.transports import StreamLimits, Transports
from tests.integration.ingress_sip.sockets.conftest import NewSide, Side, parsed
from tests.support.certificates import Authority, Pair, lock

TLS = Transport.TLS
LISTEN = "tls:127.0.0.1:0"
MESSAGE = (
    b"OPTIONS sip:b@example.com SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 40000\r\n\r\n"
    + b"x" * 40_000
)


def files(pair: Pair, authority: Authority, *, clients_verified: bool = False) -> TlsFiles:
    return TlsFiles(pair.certificate, pair.key, authority.file, clients_verified)


async def serial(side: Side, authority: Authority) -> int:
    """Which certificate a new connection is shown."""
    context = ssl.create_default_context(cafile=authority.file)
    hop = side.at(TLS)
    _, writer = await asyncio.open_connection(hop.host, hop.port, ssl=context)
    shown = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return int(shown, 16)


async def test_there_and_back(new_side: NewSide, authority: Authority) -> None:
    there = await new_side(LISTEN, tls=files(authority.issue("pbx.example"), authority))
    here = await new_side(LISTEN, tls=files(authority.issue("trunkline.example"), authority))
    hop = there.at(TLS, name="pbx.example")
    here.transports.send(MESSAGE, hop)
    data, source = await there.message()
    assert data == MESSAGE
    assert source.transport is TLS
    there.transports.send(MESSAGE, source)
    data, back = await here.message()
    assert data == MESSAGE
    assert back._replace(flow=0) == hop
    here.transports.send(MESSAGE, hop)
    assert (await there.message())[1] == source  # on the same connection
    assert there.transports.local(source) == ("127.0.0.1", hop.port)


async def test_without_a_name_the_address_has_to_be_proven(
    new_side: NewSide, authority: Authority
) -> None:
    there = await new_side(LISTEN, tls=files(authority.issue("127.0.0.1"), authority))
    here = await new_side(tls=TlsFiles(ca=authority.file))
    here.transports.send(MESSAGE, there.at(TLS))
    assert (await there.message())[0] == MESSAGE


@pytest.mark.parametrize("name", ["other.example", ""])
async def test_who_does_not_prove_the_name_gets_nothing(
    name: str, new_side: NewSide, authority: Authority
) -> None:
    there = await new_side(LISTEN, tls=files(authority.issue("pbx.example"), authority))
    here = await new_side(tls=TlsFiles(ca=authority.file))
    here.transports.send(MESSAGE, there.at(TLS, name="pbx.example"))
    assert (await there.message())[0] == MESSAGE
    here.transports.send(MESSAGE, hop := there.at(TLS, name=name))  # not on that connection
    async with asyncio.timeout(10):
        assert await here.failures.get() == hop
    assert there.messages.empty()


async def test_an_authority_that_is_not_ours_is_not_believed(
    new_side: NewSide, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    there = await new_side(LISTEN, tls=files(stranger.issue("pbx.example"), stranger))
    here = await new_side(tls=TlsFiles(ca=authority.file))
    here.transports.send(MESSAGE, hop := there.at(TLS, name="pbx.example"))
    async with asyncio.timeout(10):
        assert await here.failures.get() == hop


async def test_clients_may_have_to_show_a_certificate(
    new_side: NewSide, authority: Authority
) -> None:
    pair = authority.issue("pbx.example")
    there = await new_side(LISTEN, tls=files(pair, authority, clients_verified=True))
    hop = there.at(TLS, name="pbx.example")
    nobody = await new_side(tls=TlsFiles(ca=authority.file))
    nobody.transports.send(MESSAGE, hop)
    async with asyncio.timeout(10):
        await nobody.closings.get()  # TLS 1.3 tells the client after its handshake
    assert there.messages.empty()
    known = await new_side(tls=files(authority.issue("trunkline.example"), authority))
    known.transports.send(MESSAGE, hop)
    assert (await there.message())[0] == MESSAGE


async def test_a_new_certificate_is_shown_and_old_connections_live_on(
    new_side: NewSide, authority: Authority
) -> None:
    pair = authority.issue("127.0.0.1")
    there = await new_side(LISTEN, tls=files(pair, authority))
    here = await new_side(tls=TlsFiles(ca=authority.file))
    here.transports.send(MESSAGE, there.at(TLS))
    _, flow = await there.message()
    first = await serial(there, authority)
    authority.issue("127.0.0.1", into=pair)
    assert await serial(there, authority) != first
    here.transports.send(MESSAGE, there.at(TLS))
    assert (await there.message())[1] == flow


@pytest.mark.parametrize("broken", ["garbage", "other key", "gone"])
async def test_what_is_broken_does_not_replace_what_works(
    broken: str, new_side: NewSide, authority: Authority
) -> None:
    pair = authority.issue("127.0.0.1")
    there = await new_side(LISTEN, tls=files(pair, authority))
    first = await serial(there, authority)
    if broken == "garbage":
        pair.certificate.write_bytes(b"no certificate")
    elif broken == "gone":
        pair.key.unlink()
    else:  # the certificate comes first, its key a moment later
        later = authority.issue("127.0.0.1")
        os.replace(later.certificate, pair.certificate)
    assert await serial(there, authority) == first
    if broken == "other key":
        os.replace(later.key, pair.key)
        assert await serial(there, authority) != first


async def test_a_handshake_that_does_not_end_takes_its_place_for_a_while_only(
    new_side: NewSide, authority: Authority
) -> None:
    side = await new_side(
        LISTEN,
        tls=files(authority.issue("127.0.0.1"), authority),
        limits=StreamLimits(handshake_s=0.2, per_host=1),
    )
    hop = side.at(TLS)
    reader, writer = await asyncio.open_connection(hop.host, hop.port)
    refused, second = await asyncio.open_connection(hop.host, hop.port)
    async with asyncio.timeout(10):
        assert await refused.read() == b""
        await reader.read()
        await side.closings.get()
    assert await serial(side, authority)
    for each in (writer, second):
        each.close()
        await each.wait_closed()


async def test_old_tls_is_refused(new_side: NewSide, authority: Authority) -> None:
    own = files(authority.issue("127.0.0.1"), authority)
    for ours in (TlsContexts(own).server(), TlsContexts(own).client()):
        assert ours.minimum_version is ssl.TLSVersion.TLSv1_2
    side = await new_side(LISTEN, tls=own)
    context = ssl.create_default_context(cafile=authority.file)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    hop = side.at(TLS)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(hop.host, hop.port, ssl=context)


async def test_a_call_to_nobody_fails(new_side: NewSide) -> None:
    side = await new_side("udp:127.0.0.1:0")
    side.transports.send(MESSAGE, hop := Hop(TLS, "127.0.0.1", 1, name="pbx.example"))
    async with asyncio.timeout(10):
        assert await side.failures.get() == hop


# -- files


async def test_files_that_cannot_be_used_are_told_with_their_mend(
    authority: Authority, tmp_path: Path
) -> None:
    pair, other = authority.issue("a.example"), authority.issue("b.example")
    locked = authority.issue("c.example")
    lock(locked.key, b"secret")
    (garbage := tmp_path / "garbage.pem").write_bytes(b"no certificate")
    for wrong, says in [
        (TlsFiles(pair.certificate, other.key), f"{pair.certificate}: {other.key} is not its key"),
        (TlsFiles(tmp_path / "absent", pair.key), "absent: No such file"),
        (TlsFiles(pair.certificate, tmp_path / "absent"), "absent: No such file"),
        (TlsFiles(garbage, pair.key), "must be PEM files"),
        (TlsFiles(locked.certificate, locked.key), "the key without a passphrase"),
        (TlsFiles(ca=garbage), "garbage.pem: holds no certificates"),
    ]:
        with pytest.raises(TlsError) as told:
            TlsContexts(wrong)
        assert says in str(told.value)


async def test_listening_for_tls_wants_a_certificate() -> None:
    with pytest.raises(TlsError, match="no certificate"):
        Transports([parsed(LISTEN)], receive=lambda *_: None, failed=lambda _: None)


async def test_what_a_certificate_says(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("a.example", "192.0.2.1", valid_for=timedelta(days=3))
    found = read_certificate(pair.certificate)
    assert found.names == ("a.example", "192.0.2.1")
    assert found.not_after == read_certificate(pair.certificate).not_after
    for wrong in (tmp_path / "absent", pair.key):
        with pytest.raises(TlsError, match=str(wrong)):
            read_certificate(wrong)
