"""DTLS-SRTP: two endpoints against each other, and whoever meddles.

What is lost is sent again by OpenSSL's own clock, which test_dtls_loss.py waits for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto

from ingress_sip.rtp.dtls import Certificate, Dtls, DtlsError, is_dtls
from ingress_sip.rtp.packet import RtpError
from ingress_sip.rtp.srtp import Srtp

NOW = datetime(2026, 11, 26, tzinfo=UTC)
CLIENT, SERVER, STRANGER = Certificate(NOW), Certificate(NOW), Certificate(NOW)
PACKET = b"\x80\x00\x00\x01" + bytes(8) + b"hello"


def client(peer: Certificate = SERVER) -> Dtls:
    return Dtls(CLIENT, is_client=True, fingerprints=[peer.fingerprint])


def server(peer: Certificate = CLIENT) -> Dtls:
    return Dtls(SERVER, is_client=False, fingerprints=[peer.fingerprint])


def exchange(
    one: Dtls, other: Dtls, way: Callable[[list[bytes]], list[bytes]] = lambda sent: sent
) -> None:
    """Carry datagrams to and fro until there are no more; `way` is what happens to them."""
    sides = [(one, other), (other, one)]
    while sent := [(to, way(by.datagrams_to_send())) for by, to in sides]:
        if not any(datagrams for _, datagrams in sent):
            return
        for to, datagrams in sent:
            for datagram in datagrams:
                to.receive(datagram)


def assert_agreed(one: Dtls, other: Dtls) -> None:
    assert one.keys is not None
    assert other.keys is not None
    us, peer = Srtp(one.keys), Srtp(other.keys)
    assert peer.unprotect(us.protect(PACKET)) == PACKET
    assert us.unprotect(peer.protect(PACKET)) == PACKET
    assert one.keys.send_key != one.keys.receive_key
    assert one.next_timeout_ms() is other.next_timeout_ms() is None


def test_a_handshake_ends_in_keys() -> None:
    one, other = client(), server()
    assert one.keys is None
    assert 0 < (one.next_timeout_ms() or 0) <= 1000
    assert other.next_timeout_ms() is None
    exchange(one, other)
    assert_agreed(one, other)
    assert one.keys is not None
    assert one.keys.suite == "AEAD_AES_256_GCM"


def test_datagrams_hold_whole_records_and_fit_any_path() -> None:
    one, other = client(), server()
    seen: list[bytes] = []

    def watch(sent: list[bytes]) -> list[bytes]:
        seen.extend(sent)
        return sent

    exchange(one, other, watch)
    assert len(seen) == 4  # one a flight
    for datagram in seen:
        assert is_dtls(datagram)
        assert len(datagram) <= 1200
        rest = datagram
        while rest:
            rest = rest[13 + int.from_bytes(rest[11:13]) :]


def test_datagrams_may_hold_one_record_and_come_twice() -> None:
    def split(datagram: bytes) -> list[bytes]:
        records = []
        while datagram:
            size = 13 + int.from_bytes(datagram[11:13])
            records.append(datagram[:size])
            datagram = datagram[size:]
        return records

    def way(sent: list[bytes]) -> list[bytes]:
        records = [record for datagram in sent for record in split(datagram)]
        return [record for record in records for _ in range(2)]

    one, other = client(), server()
    exchange(one, other, way)
    assert_agreed(one, other)


def test_garbage_between_the_datagrams_changes_nothing() -> None:
    junk = [b"\x16", b"\x16\xfe\xfd", bytes([22]) * 40, b"\x17\xfe\xfd" + bytes(50), b"\x3f" * 1500]

    def way(sent: list[bytes]) -> list[bytes]:
        return [piece for datagram in sent for piece in (*junk, datagram[:20], datagram, *junk)]

    one, other = client(), server()
    exchange(one, other, way)
    assert_agreed(one, other)
    for piece in junk:
        one.receive(piece)
    assert_agreed(one, other)


@pytest.mark.parametrize("is_client", [True, False])
def test_another_certificate_than_the_description_names_is_refused(is_client: bool) -> None:
    one, other = (
        client(STRANGER if is_client else SERVER),
        server(CLIENT if is_client else STRANGER),
    )
    with pytest.raises(DtlsError, match="certificate"):
        exchange(one, other)
    failed = one if is_client else other
    assert failed.keys is None
    assert failed.next_timeout_ms() is None
    assert failed.datagrams_to_send() == []
    for again in (lambda: failed.receive(b"\x16" * 20), failed.handle_timeout):
        with pytest.raises(DtlsError, match="certificate"):
            again()


@pytest.mark.parametrize("is_client", [True, False])
def test_keys_come_before_salts_and_the_clients_first(
    is_client: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def export(_: object, label: bytes, size: int) -> bytes:
        asked.append((label, size))
        return b"C" * 32 + b"S" * 32 + b"c" * 12 + b"s" * 12

    monkeypatch.setattr(SSL.Connection, "export_keying_material", export)
    one, other = client(), server()
    exchange(one, other)
    keys = (one if is_client else other).keys
    assert keys is not None
    ours, theirs = b"C" * 32 + b"c" * 12, b"S" * 32 + b"s" * 12
    assert (keys.send_key, keys.receive_key) == ((ours, theirs) if is_client else (theirs, ours))
    assert asked == [(b"EXTRACTOR-dtls_srtp", 88)] * 2


def test_an_alert_ends_it() -> None:
    one = client()
    one.datagrams_to_send()
    with pytest.raises(DtlsError):
        one.receive(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28")
    assert one.next_timeout_ms() is None


def test_fingerprints_by_longer_hashes() -> None:
    der = crypto.dump_certificate(
        crypto.FILETYPE_ASN1, SSL.Connection(SERVER.context).get_certificate() or crypto.X509()
    )
    assert hashlib.sha256(der).digest() == SERVER.fingerprint[1]
    one = Dtls(
        CLIENT,
        is_client=True,
        fingerprints=[("sha-384", bytes(48)), ("sha-384", hashlib.sha384(der).digest())],
    )
    other = server()
    exchange(one, other)
    assert_agreed(one, other)


def test_a_peer_without_srtp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SSL.Context, "set_tlsext_use_srtp", lambda *_: None)
    bare = Certificate(NOW)
    one = Dtls(bare, is_client=True, fingerprints=[SERVER.fingerprint])
    with pytest.raises(DtlsError, match="profile"):
        exchange(one, server(bare))


def test_a_peer_without_a_certificate_is_refused() -> None:
    bare = Certificate(NOW)
    bare.context = SSL.Context(SSL.DTLS_METHOD)
    one = Dtls(bare, is_client=True, fingerprints=[SERVER.fingerprint])
    with pytest.raises(DtlsError):
        exchange(one, server())


def test_only_dtls_is_taken() -> None:
    assert [first for first in range(256) if is_dtls(bytes([first]))] == list(range(20, 64))
    assert not is_dtls(b"")
    for datagram in (b"", PACKET, b"\x00\x01" + bytes(18), b"\x16" * 3000):
        with pytest.raises(RtpError):
            server().receive(datagram)


def test_the_timer_does_nothing_before_its_time() -> None:
    one = client()
    one.datagrams_to_send()
    one.handle_timeout()
    assert one.datagrams_to_send() == []


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=80), max_size=4), st.booleans(), st.integers(0, 3))
def test_any_bytes_raise_only_the_peers_error(
    junk: list[bytes], to_client: bool, after: int
) -> None:
    one, other = client(), server()
    for _ in range(after):
        for by, to in ((one, other), (other, one)):
            for datagram in by.datagrams_to_send():
                to.receive(datagram)
    target = one if to_client else other
    for piece in junk:
        for datagram in (piece, b"\x16\xfe\xfd" + bytes(8) + len(piece).to_bytes(2) + piece):
            with suppress(RtpError):
                target.receive(datagram)
    target.datagrams_to_send()
