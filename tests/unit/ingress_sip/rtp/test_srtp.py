"""SRTP: against RFC 3711 and 7714 worked by hand, and against whoever replays and forges."""

from __future__ import annotations

import hmac
import struct
from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.rtp.packet import RtpError
from ingress_sip.rtp.protection import Protection
from ingress_sip.rtp.srtp import MAX_STREAMS, SUITES, Srtp, SrtpKeys
from ingress_sip.sdp import crypto

SIZES = {suite.name: (suite.key, suite.salt) for suite in crypto.SUITES}
CM_80, CM_32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
SSRC = 0xDECAFBAD
#: RFC 3711 B.3: the master key and salt, and what is derived from them.
MASTER = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")
DERIVED = {
    0: "C61E7A93744F39EE10734AFE3FF7A087",
    1: "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4",
    2: "30CBBC08863D8C85D49DB34A9AE1",
}


def rtp(sequence: int, payload: bytes = b"hello", ssrc: int = SSRC) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, ssrc) + payload


REPORT = struct.pack("!BBHIQIII", 0x80, 200, 6, SSRC, 1, 2, 3, 4)


def key(suite: str, first: int = 0) -> bytes:
    return bytes(range(first, first + sum(SIZES[suite])))


def pair(suite: str = CM_80) -> tuple[Srtp, Srtp]:
    keys = SrtpKeys(suite, key(suite), key(suite, 100))
    return Srtp(keys), Srtp(SrtpKeys(suite, keys.receive_key, keys.send_key))


# -- the RFCs by hand


def keystream(key: bytes, counter: bytes, size: int) -> bytes:
    return Cipher(AES(key), CTR(counter)).encryptor().update(bytes(size))


def derive(suite: str, master: bytes, label: int, size: int) -> bytes:
    """RFC 3711 4.3.1; with RFC 7714's salts of 96 bits after 11."""
    length, _ = SIZES[suite]
    salt = int.from_bytes(master[length:].ljust(14, b"\0")) ^ label << 48
    return keystream(master[:length], (salt << 16).to_bytes(16), size)


def by_hand(suite: str, master: bytes, packet: bytes, roc: int = 0) -> bytes:
    length, salt_size = SIZES[suite]
    session = derive(suite, master, 0, length)
    salt = int.from_bytes(derive(suite, master, 2, salt_size))
    header, payload = packet[:12], packet[12:]
    index = roc << 16 | int.from_bytes(header[2:4])
    ssrc = int.from_bytes(header[8:12])
    if suite.startswith("AEAD"):  # RFC 7714 8.1
        nonce = (salt ^ ssrc << 48 ^ index).to_bytes(12)
        return header + AESGCM(session).encrypt(nonce, payload, header)
    counter = (salt << 16) ^ ssrc << 64 ^ index << 16  # RFC 3711 4.1.1
    pad = keystream(session, counter.to_bytes(16), len(payload))
    secret = header + bytes(a ^ b for a, b in zip(payload, pad, strict=True))
    tag = hmac.digest(derive(suite, master, 1, 20), secret + roc.to_bytes(4), "sha1")
    return secret + tag[: 4 if suite == CM_32 else 10]


def test_the_rfcs_own_key_derivation() -> None:
    for label, expected in DERIVED.items():
        derived = bytes.fromhex(expected)
        assert derive(CM_80, MASTER, label, len(derived)) == derived


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_packets_are_those_of_the_rfc(suite: str) -> None:
    us, peer = pair(suite)
    made = by_hand(suite, key(suite), rtp(7))
    assert us.protect(rtp(7)) == made
    assert peer.unprotect(made) == rtp(7)


def test_every_suite_of_the_description_can_be_done() -> None:
    assert set(SIZES) == SUITES


# -- both directions


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_a_call(suite: str) -> None:
    us, peer = pair(suite)
    sides: tuple[tuple[Protection, Protection], ...] = ((us, peer), (peer, us))
    for sender, receiver in sides:
        for sequence in range(5):
            assert receiver.unprotect(sender.protect(rtp(sequence))) == rtp(sequence)
        secret = sender.protect_rtcp(REPORT)
        assert REPORT[8:] not in secret
        assert receiver.unprotect_rtcp(secret) == REPORT


def test_the_sequence_rolls_over() -> None:
    us, peer = pair()
    for sequence in (65534, 65535, 0, 1):
        secret = us.protect(rtp(sequence))
        assert secret == by_hand(CM_80, key(CM_80), rtp(sequence), roc=sequence < 10)
        assert peer.unprotect(secret) == rtp(sequence)


def test_late_packets_and_other_streams_are_welcome() -> None:
    us, peer = pair()
    peer.unprotect(us.protect(rtp(65534)))
    first, second = us.protect(rtp(65535)), us.protect(rtp(0))
    assert peer.unprotect(second) == rtp(0)
    assert peer.unprotect(first) == rtp(65535)
    other = rtp(4000, ssrc=5)
    assert peer.unprotect(us.protect(other)) == other


def test_packets_may_be_late_for_as_long_as_any_buffer_waits() -> None:
    us, peer = pair()
    late = us.protect(rtp(1))
    peer.unprotect(us.protect(rtp(1001)))
    assert peer.unprotect(late) == rtp(1)


def test_a_replayed_packet_is_refused() -> None:
    us, peer = pair()
    secret, report = us.protect(rtp(1)), us.protect_rtcp(REPORT)
    peer.unprotect(secret)
    peer.unprotect_rtcp(report)
    with pytest.raises(RtpError):
        peer.unprotect(secret)
    with pytest.raises(RtpError):
        peer.unprotect_rtcp(report)


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_a_forged_packet_is_refused_and_leaves_no_trace(suite: str) -> None:
    us, peer = pair(suite)
    secret, report = us.protect(rtp(1)), us.protect_rtcp(REPORT)
    for at in range(len(secret)):
        forged = bytes([*secret[:at], secret[at] ^ 1, *secret[at + 1 :]])
        with pytest.raises(RtpError):
            peer.unprotect(forged)
    for at in range(len(report)):
        forged = bytes([*report[:at], report[at] ^ 1, *report[at + 1 :]])
        with pytest.raises(RtpError):
            peer.unprotect_rtcp(forged)
    assert peer.unprotect(secret) == rtp(1)
    assert peer.unprotect_rtcp(report) == REPORT


@given(st.sampled_from(sorted(SUITES)), st.binary(max_size=60) | st.just(bytes(3000)))
def test_any_bytes_raise_only_the_peers_error(suite: str, data: bytes) -> None:
    _, peer = pair(suite)
    for unprotect in (peer.unprotect, peer.unprotect_rtcp):
        for packet in (data, rtp(1)[:12] + data, REPORT[:8] + data):
            with suppress(RtpError):
                unprotect(packet)


def test_streams_without_end_are_refused() -> None:
    us, peer = pair()
    for ssrc in range(MAX_STREAMS):
        peer.unprotect(us.protect(rtp(1, ssrc=ssrc)))
    with pytest.raises(RtpError):
        peer.unprotect(us.protect(rtp(1, ssrc=MAX_STREAMS)))
    assert peer.unprotect(us.protect(rtp(2, ssrc=3))) == rtp(2, ssrc=3)
    us.rekey(SrtpKeys(CM_80, key(CM_80, 50), key(CM_80, 100)))
    peer.rekey(SrtpKeys(CM_80, key(CM_80, 100), key(CM_80, 50)))
    assert peer.unprotect(us.protect(rtp(1, ssrc=MAX_STREAMS))) == rtp(1, ssrc=MAX_STREAMS)


# -- other keys in mid-call


def test_a_direction_whose_key_stays_goes_on() -> None:
    us, peer = pair()
    for sequence in (65535, 0):
        peer.unprotect(us.protect(rtp(sequence)))
    old = us.protect(rtp(1))
    keys = SrtpKeys(CM_80, key(CM_80), key(CM_80, 100))
    us.rekey(replace(keys, receive_key=key(CM_80, 50)))
    peer.rekey(SrtpKeys(CM_80, send_key=key(CM_80, 50), receive_key=keys.send_key))
    assert us.protect(rtp(2)) == by_hand(CM_80, keys.send_key, rtp(2), roc=1)
    assert peer.unprotect(old) == rtp(1)
    with pytest.raises(RtpError):
        peer.unprotect(old)
    assert us.unprotect(peer.protect(rtp(9))) == rtp(9)


def test_another_suite_is_another_beginning() -> None:
    us, peer = pair()
    us.protect(rtp(65535))
    suite = "AEAD_AES_256_GCM"
    us.rekey(SrtpKeys(suite, key(suite), key(suite, 100)))
    assert us.protect(rtp(0)) == by_hand(suite, key(suite), rtp(0))
    with pytest.raises(RtpError):
        us.unprotect(peer.protect(rtp(0)))


def test_odd_keys_are_our_mistake() -> None:
    for suite, size in (("F8_128_HMAC_SHA1_80", 30), (CM_80, 29), (CM_80, 31)):
        with pytest.raises(ValueError, match=r"suite|octets"):
            Srtp(SrtpKeys(suite, bytes(size), bytes(size)))
