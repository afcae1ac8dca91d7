"""A name server on loopback that knows what it is given, and counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_MOST_ALIASES = 10  # they may go round in a circle


class DnsServer(asyncio.DatagramProtocol):
    """Answers from `zone`, lines as "www.example. 60 A 192.0.2.1"; CNAMEs are followed."""

    def __init__(self, zone: str) -> None:
        self._sets: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset] = {}
        for line in filter(None, map(str.strip, zone.splitlines())):
            name, ttl, kind, data = line.split(maxsplit=3)
            one = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
            self._sets.setdefault((one.name, one.rdtype), one).update(one)
        #: Names (without the final dot) and kinds.
        self.asked: Counter[tuple[str, str]] = Counter()
        #: Kinds of query that are never answered; "ANY" is all.
        self.deaf: set[str] = set()
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[question.name.to_text(omit_final_dot=True), kind] += 1
        if self.deaf & {kind, "ANY"}:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        name = question.name
        for _ in range(_MOST_ALIASES):
            if (alias := self._sets.get((name, dns.rdatatype.CNAME))) is None:
                break
            answer.answer.append(alias)
            name = alias[0].target
        if (found := self._sets.get((name, question.rdtype))) is not None:
            answer.answer.append(found)
        elif not any(known == name or known.is_subdomain(name) for known, _ in self._sets):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if not answer.answer:  # RFC 2308: how long to remember that there is none
            soa = "ns.test. hostmaster.test. 1 3600 600 86400 60"
            answer.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", soa))
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def serving(zone: str) -> AsyncIterator[DnsServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: DnsServer(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
        await asyncio.sleep(0)  # uvloop closes it in its next round
