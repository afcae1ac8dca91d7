"""DTLS-SRTP with losses. OpenSSL sends again by its own clock, so this waits: once for all."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ingress_sip.rtp.dtls import Certificate, Dtls
from ingress_sip.rtp.srtp import Srtp

FLIGHTS = 4  # hello; hello and certificate; certificate and finished; finished
PACKET = b"\x80\x00\x00\x01" + bytes(8) + b"hello"


class Pair:
    """Two endpoints whose `lost`-th flight does not arrive."""

    def __init__(self, certificate: Certificate, lost: int) -> None:
        ends = [certificate.fingerprint]
        self.client = Dtls(certificate, is_client=True, fingerprints=ends)
        self.server = Dtls(certificate, is_client=False, fingerprints=ends)
        self.lost = lost
        self.flights = 0

    @property
    def done(self) -> bool:
        return self.client.keys is not None and self.server.keys is not None

    def exchange(self) -> None:
        sides = ((self.client, self.server), (self.server, self.client))
        quiet = False
        while not quiet:
            quiet = True
            for by, to in sides:
                if not (flight := by.datagrams_to_send()):
                    continue
                quiet = False
                self.flights += 1
                if self.flights == self.lost:
                    continue
                for datagram in flight:
                    to.receive(datagram)


def test_each_flight_may_be_lost() -> None:
    certificate = Certificate(datetime.now(UTC))
    pairs = [Pair(certificate, lost) for lost in range(1, FLIGHTS + 1)]
    for pair in pairs:
        pair.exchange()
        assert not pair.done
        assert pair.flights == pair.lost
    until = time.monotonic() + 10
    while not all(pair.done for pair in pairs) and time.monotonic() < until:
        ends = [end for pair in pairs for end in (pair.client, pair.server)]
        waits = [wait for end in ends if (wait := end.next_timeout_ms()) is not None]
        time.sleep(min(waits) / 1000)
        for end in ends:
            end.handle_timeout()
        for pair in pairs:
            pair.exchange()
    for pair in pairs:
        assert pair.client.keys is not None
        assert pair.server.keys is not None
        secret = Srtp(pair.client.keys).protect(PACKET)
        assert Srtp(pair.server.keys).unprotect(secret) == PACKET
