"""RFC 3263 against a name server of our own: which servers, by what, in which order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.uri import SipUri, parse_uri
from ingress_sip.sockets import resolver as resolving
from ingress_sip.sockets.resolver import ResolveError, Resolver
from tests.support.dns_server import DnsServer, serving

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS
ZONE = """
    plain.test. 60 A 192.0.2.1
    plain.test. 60 AAAA 2001:db8::1
    alias.test. 60 CNAME other.test.
    other.test. 60 CNAME plain.test.
    loop.test. 60 CNAME pool.test.
    pool.test. 60 CNAME loop.test.

    trunk.test. 60 NAPTR 10 20 "s" "SIP+D2U" "" _sip._udp.trunk.test.
    trunk.test. 60 NAPTR 10 10 "S" "sips+d2t" "" _sips._tcp.trunk.test.
    trunk.test. 60 NAPTR 5 1 "u" "E2U+sip" "!^.*$!sip:x@y!" .
    trunk.test. 60 NAPTR 20 1 "s" "SIP+D2W" "" _sip._ws.trunk.test.
    _sip._udp.trunk.test. 60 SRV 10 0 5070 a.trunk.test.
    _sips._tcp.trunk.test. 60 SRV 10 0 5071 b.trunk.test.
    a.trunk.test. 60 A 192.0.2.10
    b.trunk.test. 60 A 192.0.2.11

    srv.test. 60 A 192.0.2.99
    _sip._udp.srv.test. 60 SRV 20 0 5062 c.srv.test.
    _sip._udp.srv.test. 60 SRV 10 30 5060 a.srv.test.
    _sip._udp.srv.test. 60 SRV 10 10 5061 b.srv.test.
    _sip._tcp.srv.test. 60 SRV 10 0 5060 a.srv.test.
    _sips._tcp.srv.test. 60 SRV 10 0 5061 a.srv.test.
    a.srv.test. 60 A 192.0.2.20
    b.srv.test. 60 A 192.0.2.21
    c.srv.test. 60 A 192.0.2.22

    none.test. 60 A 192.0.2.30
    _sip._udp.none.test. 60 SRV 0 0 0 .
"""


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with serving(ZONE) as server:
        yield server


def asking(
    server: DnsServer, hosts: dict[str, Sequence[str]] | None = None, **more: object
) -> Resolver:
    async def system(host: str) -> Sequence[str]:
        return (hosts or {}).get(host, ())

    usual: dict[str, object] = {"uniform": lambda: 0.999, "system": system}
    return Resolver(nameservers=["127.0.0.1"], port=server.port, **(usual | more))  # type: ignore[arg-type]


def uri(text: str) -> SipUri:
    parsed = parse_uri(text)
    assert isinstance(parsed, SipUri)
    return parsed


V4, V6 = "192.0.2.1", "2001:db8::1"


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ("sip:192.0.2.5", [Hop(UDP, "192.0.2.5", 5060)]),
        ("sip:[2001:db8::5]:5070;transport=tcp", [Hop(TCP, "2001:db8::5", 5070)]),
        ("sips:192.0.2.5", [Hop(TLS, "192.0.2.5", 5061)]),
        ("sip:plain.test:5070", [Hop(UDP, V4, 5070), Hop(UDP, V6, 5070)]),
        ("sips:plain.test:5070", [Hop(TLS, at, 5070, 0, "plain.test") for at in (V4, V6)]),
        ("sip:a@plain.test", [Hop(UDP, V4, 5060), Hop(UDP, V6, 5060)]),
        ("sip:plain.test;transport=TCP", [Hop(TCP, V4, 5060), Hop(TCP, V6, 5060)]),
        ("sip:alias.test.", [Hop(UDP, V4, 5060), Hop(UDP, V6, 5060)]),
        (
            "sip:b@plain.test;maddr=192.0.2.7;transport=tls",
            [Hop(TLS, "192.0.2.7", 5061, 0, "plain.test")],
        ),
        (
            "sip:trunk.test",
            [Hop(TLS, "192.0.2.11", 5071, 0, "trunk.test"), Hop(UDP, "192.0.2.10", 5070)],
        ),
        ("sips:trunk.test", [Hop(TLS, "192.0.2.11", 5071, 0, "trunk.test")]),
        ("sip:trunk.test;transport=udp", [Hop(UDP, "192.0.2.10", 5070)]),
        ("sip:srv.test;transport=tls", [Hop(TLS, "192.0.2.20", 5061, 0, "srv.test")]),
        ("sip:srv.test;transport=sctp", None),
        ("sip:srv.test:5060", [Hop(UDP, "192.0.2.99", 5060)]),
        ("sip:none.test", [Hop(UDP, "192.0.2.30", 5060)]),
    ],
)  # fmt: skip
async def test_where_a_uri_leads(text: str, hops: list[Hop] | None, server: DnsServer) -> None:
    found = await asking(server).resolve(uri(text))
    assert found == (hops or await asking(server).resolve(uri("sip:srv.test")))


async def test_priority_comes_first_and_weight_draws(server: DnsServer) -> None:
    draws: Iterator[float] = iter([])
    made = asking(server, uniform=lambda: next(draws))
    order = {}
    for first in (0.0, 0.23, 0.27, 0.999):  # of 40: b has the first 10, a the 30 after it
        draws = iter([first, 0.5, 0.5, 0.5, 0.5])
        order[first] = [hop.port for hop in await made.resolve(uri("sip:srv.test;transport=udp"))]
    assert order == {
        0.0: [5061, 5060, 5062],
        0.23: [5061, 5060, 5062],
        0.27: [5060, 5061, 5062],
        0.999: [5060, 5061, 5062],
    }


async def test_without_naptr_all_that_srv_knows(server: DnsServer) -> None:
    hops = await asking(server).resolve(uri("sip:srv.test"))
    assert Counter(hop.transport for hop in hops) == {UDP: 3, TCP: 1, TLS: 1}
    assert [hop.transport for hop in hops] == [UDP, UDP, UDP, TCP, TLS]
    only = await asking(server, transports=[TCP]).resolve(uri("sip:srv.test"))
    assert only == [Hop(TCP, "192.0.2.20", 5060)]


@pytest.mark.parametrize(
    ("families", "addresses"), [((4,), [V4]), ((6,), [V6]), ((6, 4), [V6, V4])]
)
async def test_families(families: tuple[int, ...], addresses: list[str], server: DnsServer) -> None:
    hops = await asking(server, families=families).resolve(uri("sip:plain.test"))
    assert [hop.host for hop in hops] == addresses


async def test_answers_are_remembered_for_as_long_as_they_say(server: DnsServer) -> None:
    made = asking(server)
    for text in ("sip:trunk.test", "sip:plain.test"):
        await made.resolve(uri(text))
        before = server.asked.copy()
        await made.resolve(uri(text))
        assert server.asked == before


async def test_a_name_without_a_dot_is_the_machines(server: DnsServer) -> None:
    made = asking(server, {"pbx": ["2001:db8::9", "192.0.2.9"]})
    assert await made.resolve(uri("sip:pbx:5080")) == [
        Hop(UDP, "192.0.2.9", 5080), Hop(UDP, "2001:db8::9", 5080)
    ]  # fmt: skip
    assert not server.asked
    real = Resolver(nameservers=["127.0.0.1"], port=server.port)
    assert Hop(UDP, "127.0.0.1", 5060) in await real.resolve(uri("sip:localhost:5060"))


async def test_a_name_that_dns_does_not_know_may_be_the_machines(server: DnsServer) -> None:
    made = asking(server, {"pbx.lan": ["192.0.2.9"]})
    assert await made.resolve(uri("sip:pbx.lan")) == [Hop(UDP, "192.0.2.9", 5060)]


@pytest.mark.parametrize(
    "text", ["sip:nowhere.test", "sip:loop.test", "sip:x..test", "sip:nowhere"]
)
async def test_nobody_is_told_with_what_was_asked(text: str, server: DnsServer) -> None:
    with pytest.raises(ResolveError) as told:
        await asking(server).resolve(uri(text.replace("sip:", "sip:me:secret@")))
    assert str(told.value).startswith(f"nobody is known to serve {text}: asked for ")
    assert "write an address and a port" in str(told.value)
    if text == "sip:nowhere.test":
        assert "SRV _sip._udp.nowhere.test (no such name)" in str(told.value)


async def test_a_server_that_is_deaf_to_naptr_does_not_stop_us(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_STEP_S", 0.2)
    server.deaf = {"NAPTR"}
    hops = await asking(server).resolve(uri("sip:srv.test;transport=tcp"))
    assert hops == [Hop(TCP, "192.0.2.20", 5060)]
    assert (await asking(server).resolve(uri("sip:srv.test")))[0].host == "192.0.2.20"


async def test_a_server_that_does_not_answer_is_not_waited_for(
    server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_STEP_S", 0.2)
    server.deaf = {"ANY"}
    with pytest.raises(ResolveError, match=r"A srv\.test \(LifetimeTimeout\)"):
        await asking(server).resolve(uri("sip:srv.test"))
    monkeypatch.setattr(resolving, "_TOTAL_S", 0.1)
    began = time.monotonic()
    with pytest.raises(ResolveError, match="no answer within"):
        await asking(server).resolve(uri("sip:srv.test"))
    assert time.monotonic() - began < 2.0


async def test_the_machines_own_name_servers_are_read() -> None:
    assert await Resolver().resolve(uri("sip:127.0.0.1")) == [Hop(UDP, "127.0.0.1", 5060)]
