"""Messages over real sockets: which way they take, and what becomes of peers that misbehave."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.sockets.transports import Listen, StreamLimits, Transports
from tests.integration.conftest import Eventually
from tests.integration.ingress_sip.sockets.conftest import NewSide, Side, parsed

UDP, TCP = Transport.UDP, Transport.TCP
BOTH = ("udp:127.0.0.1:0", "tcp:127.0.0.1:0")


def request(call_id: str = "1", body: bytes = b"", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return (
        "OPTIONS sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKa\r\n"
        f"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: {call_id}\r\n"
        f"CSeq: 1 OPTIONS\r\nContent-Length: {length}\r\n\r\n"
    ).encode() + body


async def dial(side: Side, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw TCP peer."""
    at = side.at(TCP)
    return await asyncio.open_connection(at.host, at.port, **options)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def until_shut(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


# -- listening


async def test_udp_and_tcp_share_a_free_port(new_side: NewSide) -> None:
    side = await new_side("udp:127.0.0.1:0", "udp:[::1]:0", "tcp:127.0.0.1:0", "tcp:[::1]:0")
    ports = {(at.host, at.port) for at in side.transports.listening}
    assert len(ports) == 2
    assert {host for host, _ in ports} == {"127.0.0.1", "::1"}


async def test_all_addresses_of_both_families_on_one_port(new_side: NewSide) -> None:
    first = await new_side("udp:0.0.0.0:0")
    port = first.transports.listening[0].port
    await first.transports.close()
    await asyncio.sleep(0)
    both = await new_side(
        *(f"{t}:{host}:{port}" for t in BOTH_KINDS for host in ("0.0.0.0", "[::]"))
    )
    assert len(both.transports.listening) == 4


BOTH_KINDS = ("udp", "tcp")


async def test_a_name_is_listened_on(new_side: NewSide) -> None:
    side = await new_side("udp:localhost:0")
    assert side.transports.listening[0].host in ("127.0.0.1", "::1")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_taken_port_is_named_and_nothing_stays_bound(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        free.bind(("127.0.0.1", 0))
        other, port = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        name = f"{'udp' if kind is socket.SOCK_DGRAM else 'tcp'}:127.0.0.1:{port}"
        transports = Transports(
            [parsed(f"tcp:127.0.0.1:{other}"), parsed(name)],
            receive=lambda *_: None,
            failed=lambda _: None,
        )
        with pytest.raises(OSError, match=f"cannot listen on {name}: Address already in use"):
            await transports.start()
        await transports.close()
    with socket.socket() as again:
        again.bind(("127.0.0.1", other))


async def test_a_host_that_is_not_ours_is_named() -> None:
    for text in ("udp:192.0.2.1:0", "tcp:nowhere.invalid:0"):
        transports = Transports([parsed(text)], receive=lambda *_: None, failed=lambda _: None)
        with pytest.raises(OSError, match=f"cannot listen on {text}: "):
            await transports.start()
        await transports.close()


# -- ways


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transport", [UDP, TCP])
async def test_there_and_back_by_the_flow(
    transport: Transport, host: str, new_side: NewSide
) -> None:
    here, there = [
        await new_side("udp:127.0.0.1:0", "tcp:127.0.0.1:0", "udp:[::1]:0", "tcp:[::1]:0")
        for _ in range(2)
    ]
    large = request("large", b"x" * (60_000 if transport is TCP else 8_000))
    here.transports.send(large, there.at(transport, host))
    data, source = await there.message()
    assert data == large
    assert (source.transport, source.host) == (transport, host)
    assert source.flow
    there.transports.send(request("back"), source)
    data, back = await here.message()
    assert data == request("back")
    assert back._replace(flow=0) == there.at(transport, host)
    assert here.failures.empty()
    assert there.transports.local(source) == tuple(there.at(transport, host)[1:3])


async def test_a_socket_of_the_other_family_is_not_taken(new_side: NewSide) -> None:
    here = await new_side("udp:127.0.0.1:0")
    there = await new_side("udp:[::1]:0")
    hop = there.at(UDP, "::1")._replace(flow=1)
    here.transports.send(b"x", hop)
    assert here.failures.empty()  # not from within
    assert await here.failures.get() == hop


async def test_one_connection_carries_all_and_is_made_anew_when_it_is_gone(
    new_side: NewSide,
) -> None:
    here, there = await new_side(*BOTH), await new_side(*BOTH)
    for number in range(3):
        here.transports.send(request(str(number)), there.at(TCP))
    came = [await there.message() for _ in range(3)]
    assert [data for data, _ in came] == [request(str(number)) for number in range(3)]
    assert len({source.flow for _, source in came}) == 1
    there.transports.send(request("back"), came[0][1])
    flow = (await here.message())[1]
    await there.transports.close()
    gone = await here.closings.get()
    assert gone == flow
    port = there.at(TCP).port
    await asyncio.sleep(0)
    anew = await new_side(f"tcp:127.0.0.1:{port}")
    here.transports.send(request("again"), flow)
    assert (await anew.message())[0] == request("again")
    assert here.failures.empty()


async def test_who_connected_to_us_is_reached_by_address_too(new_side: NewSide) -> None:
    side = await new_side(*BOTH)
    reader, writer = await dial(side)
    writer.write(request())
    _, source = await side.message()
    side.transports.send(request("back"), source._replace(flow=0))
    assert await reader.readexactly(len(request("back"))) == request("back")
    await until_shut(writer)


async def test_a_connection_that_is_refused_fails_each_hop_once(new_side: NewSide) -> None:
    side = await new_side(*BOTH)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hop = Hop(TCP, "127.0.0.1", nobody.getsockname()[1])
        side.transports.send(request("1"), hop)
        side.transports.send(request("2"), hop)
        side.transports.send(request("3"), hop._replace(flow=99))
        async with asyncio.timeout(10):
            assert {await side.failures.get(), await side.failures.get()} == {
                hop, hop._replace(flow=99)
            }  # fmt: skip
    assert side.failures.empty()


async def test_a_connection_that_takes_too_long_fails(new_side: NewSide) -> None:
    side = await new_side(*BOTH, limits=StreamLimits(connect_s=0.05))
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        hop = Hop(TCP, *address)
        side.transports.send(request(), hop)
        async with asyncio.timeout(10):
            assert await side.failures.get() == hop
        for one in waiting:
            one.close()


async def test_what_waits_for_a_connection_has_a_limit(new_side: NewSide) -> None:
    here = await new_side(*BOTH, limits=StreamLimits(unsent=1_000))
    there = await new_side(*BOTH)
    here.transports.send(request("1"), there.at(TCP))
    here.transports.send(request("2", b"x" * 1_000), there.at(TCP))
    assert await here.failures.get() == there.at(TCP)
    assert (await there.message())[0] == request("1")


async def test_local_is_the_address_that_the_peer_sees(new_side: NewSide) -> None:
    side = await new_side("udp:127.0.0.2:0", "udp:0.0.0.0:0", "tcp:0.0.0.0:0", "udp:[::]:0")
    at = {(each.transport, each.host): each.port for each in side.transports.listening}
    local = side.transports.local
    assert local(Hop(UDP, "127.0.0.1", 5060)) == ("127.0.0.1", at[UDP, "0.0.0.0"])
    assert local(Hop(UDP, "::1", 5060)) == ("::1", at[UDP, "::"])
    assert local(Hop(TCP, "127.0.0.1", 5060)) == ("127.0.0.1", at[TCP, "0.0.0.0"])
    assert local(Hop(Transport.TLS, "127.0.0.1", 5061)) == ("127.0.0.1", 5061)
    there = await new_side("udp:127.0.0.1:0")
    there.transports.send(b"x", Hop(UDP, "127.0.0.2", at[UDP, "127.0.0.2"]))
    assert local((await side.message())[1]) == ("127.0.0.2", at[UDP, "127.0.0.2"])


# -- peers that misbehave, or only do little


async def test_pings_are_answered_and_ours_are_sent(new_side: NewSide) -> None:
    limits = StreamLimits(ping_s=0.05, look_s=0.01)
    side = await new_side(*BOTH, limits=limits)
    reader, writer = await dial(side)
    writer.write(b"\r\n\r\n" + request() + b"\r\n\r\n\r\n\r\n")
    assert await reader.readexactly(6) == b"\r\n" * 3
    assert (await side.message())[0] == request()
    await until_shut(writer)

    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(4)
        heard.set()
        await rest_of(reader)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    side.transports.send(request(), Hop(TCP, *server.sockets[0].getsockname()))
    async with asyncio.timeout(10):
        await heard.wait()
    await side.transports.close()
    server.close()
    await server.wait_closed()


async def test_a_peer_that_stops_to_pong_is_dropped(new_side: NewSide) -> None:
    here = await new_side(*BOTH, limits=StreamLimits(ping_s=0.05, pong_s=0.1, look_s=0.01))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(request()) + 4)
        writer.write(b"\r\n")
        await rest_of(reader)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hop = Hop(TCP, *server.sockets[0].getsockname())
    here.transports.send(request(), hop)
    async with asyncio.timeout(10):
        assert (await here.closings.get())._replace(flow=0) == hop
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("said", [b"", request()[:-4], b"\r\n\r\n"])
async def test_who_does_not_finish_a_message_is_dropped(said: bytes, new_side: NewSide) -> None:
    side = await new_side(*BOTH, limits=StreamLimits(message_s=0.05, look_s=0.01))
    reader, writer = await dial(side)
    writer.write(said)
    assert await rest_of(reader) in (b"", b"\r\n")
    await until_shut(writer)


async def test_a_quiet_connection_is_let_go_unless_something_lives_on_it(
    new_side: NewSide,
) -> None:
    side = await new_side(*BOTH, limits=StreamLimits(idle_s=0.1, look_s=0.01))
    used, idle = await dial(side), await dial(side)
    used[1].write(request("used"))
    side.kept.add((await side.message())[1].flow)
    idle[1].write(request("idle"))
    _, gone = await side.message()
    assert await rest_of(idle[0]) == b""
    assert await side.closings.get() == gone
    await asyncio.sleep(0.2)
    used[1].write(request("still there"))
    assert (await side.message())[0] == request("still there")
    for _, writer in (used, idle):
        await until_shut(writer)


async def test_what_cannot_be_cut_is_answered_and_closed(new_side: NewSide) -> None:
    side = await new_side(*BOTH)
    reader, writer = await dial(side)
    writer.write(request("first") + request("second").replace(b"Content-Length: 0\r\n", b""))
    answer = await rest_of(reader)
    assert answer.startswith(b"SIP/2.0 400 Missing Content-Length\r\n")
    assert b"Call-ID: second\r\n" in answer
    assert b";received=127.0.0.1" in answer
    assert (await side.message())[0] == request("first")
    assert side.messages.empty()
    await until_shut(writer)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xa5"])
async def test_what_is_no_sip_is_closed_without_a_word(noise: bytes, new_side: NewSide) -> None:
    side = await new_side(*BOTH)
    reader, writer = await dial(side)
    writer.write(noise)
    assert await rest_of(reader) == b""
    await until_shut(writer)


async def test_a_host_has_so_many_connections_and_no_more(
    new_side: NewSide, eventually: Eventually[bool]
) -> None:
    side = await new_side(*BOTH, limits=StreamLimits(per_host=2, connections=3))
    held = [await dial(side), await dial(side)]
    for number, (_, writer) in enumerate(held):
        writer.write(request(str(number)))
        await side.message()
    reader, refused = await dial(side)
    assert await rest_of(reader) == b""
    await until_shut(refused)
    other = await dial(side, local_addr=("127.0.0.9", 0))
    other[1].write(request("other"))
    assert (await side.message())[1].host == "127.0.0.9"
    reader, full = await dial(side, local_addr=("127.0.0.10", 0))
    assert await rest_of(reader) == b""
    side.transports.send(request(), hop := Hop(TCP, "127.0.0.1", 9))
    assert await side.failures.get() == hop
    await until_shut(full)
    await until_shut(held[0][1])
    await side.closings.get()
    again = await dial(side)
    again[1].write(request("again"))
    assert (await side.message())[0] == request("again")
    for _, writer in (held[1], other, again):
        await until_shut(writer)


async def test_a_peer_that_does_not_read_is_dropped(new_side: NewSide) -> None:
    side = await new_side(*BOTH, limits=StreamLimits(unsent=100_000))
    _, writer = await dial(side, limit=1)
    writer.write(request())
    _, source = await side.message()
    sent = 0
    while side.failures.empty():
        side.transports.send(request("x", b"x" * 60_000), source)
        await asyncio.sleep(0)
        assert (sent := sent + 1) < 1_000
    assert await side.failures.get() == source
    assert await side.closings.get() == source
    await until_shut(writer)


async def test_a_receiver_that_fails_loses_one_message_only(new_side: NewSide) -> None:
    side = await new_side(*BOTH)
    there = await new_side(*BOTH)
    mistakes = iter([RuntimeError("ours"), None, RuntimeError("ours"), None])
    put = side.messages.put_nowait

    def mistaken(data: bytes, hop: Hop) -> None:
        if mistake := next(mistakes):
            raise mistake
        put((data, hop))

    side.transports._connections._receive = mistaken
    for sock in side.transports._sockets.values():
        sock._receive = mistaken
    for transport in (TCP, UDP):
        for call_id in ("lost", "kept"):
            there.transports.send(request(call_id), side.at(transport))
        assert (await side.message())[0] == request("kept")


async def test_a_close_in_the_middle_of_things_leaves_nothing(new_side: NewSide) -> None:
    side = await new_side(*BOTH, limits=StreamLimits(closing_s=0.1))
    half, full = await dial(side), await dial(side, limit=1)
    half[1].write(request()[:20])
    full[1].write(request())
    _, source = await side.message()
    side.transports.send(request("x", b"x" * 60_000), source)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connecting = Hop(TCP, *silent.getsockname())
        side.transports.send(request(), connecting)
        assert side.transports.connections == 3
        await side.transports.close()
        assert side.transports.connections == 0
        side.transports.send(request(), source)
        await asyncio.sleep(0)
        assert side.transports.connections == 0
    failed = [side.failures.get_nowait() for _ in range(side.failures.qsize())]
    assert failed == [connecting, source]
    for _, writer in (half, full):
        await until_shut(writer)


async def test_a_peer_that_says_goodbye_is_not_written_to(new_side: NewSide) -> None:
    side = await new_side(*BOTH)
    reader, writer = await dial(side)
    writer.write(request())
    _, source = await side.message()
    writer.write_eof()
    assert await rest_of(reader) == b""
    assert await side.closings.get() == source
    await until_shut(writer)


async def test_listeners_are_written_as_they_are_read() -> None:
    for text in ("udp:0.0.0.0:5060", "tls:[::]:5061"):
        assert str(parsed(text)) == text
    assert Listen(TCP, "::", 5060).is_wildcard
