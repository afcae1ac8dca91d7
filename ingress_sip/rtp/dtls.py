"""DTLS-SRTP without I/O: a handshake on the media path that ends in SRTP keys (RFC 5764).

OpenSSL does the work, over memory. It keeps its own clock for what has to be sent again, so
`handle_timeout` may be called as often as one likes: it acts once a second has gone by without an
answer, then two, then four.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from ingress_sip.rtp.packet import MAX_DATAGRAM, RtpError
from ingress_sip.rtp.srtp import SrtpKeys

#: OpenSSL's names of the profiles: the suite in SDP's words, octets of its key and of its salt
#: (RFC 5764 4.1.2, 7714 14.2). The first that both sides have is taken.
_PROFILES: Final = {
    b"SRTP_AEAD_AES_256_GCM": ("AEAD_AES_256_GCM", 32, 12),
    b"SRTP_AEAD_AES_128_GCM": ("AEAD_AES_128_GCM", 16, 12),
    b"SRTP_AES128_CM_SHA1_80": ("AES_CM_128_HMAC_SHA1_80", 16, 14),
    b"SRTP_AES128_CM_SHA1_32": ("AES_CM_128_HMAC_SHA1_32", 16, 14),
}
_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL"
_DTLS_1_2: Final = 0xFEFD
_MTU: Final = 1200  # bytes of a datagram: fits any path
_RECORD_HEADER: Final = 13  # bytes; the last two are the length of what follows (RFC 6347 4.1)
_YEARS: Final = timedelta(days=3650)  # peers go by the fingerprint; no process lives that long


class DtlsError(RtpError):
    """The handshake has failed for good: there will be no keys, and no media."""


class Certificate:
    """Who we are: a self-signed certificate, made once for all calls of a process (RFC 5763 5)."""

    def __init__(self, now: datetime) -> None:
        """`now` has a time zone."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trunkline")])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _YEARS)
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = _fingerprint(
            "sha-256", certificate.public_bytes(serialization.Encoding.DER)
        )
        """Algorithm and digest, for the description."""
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.set_min_proto_version(_DTLS_1_2)
        self.context.set_max_proto_version(_DTLS_1_2)  # what is split below are its records
        self.context.set_cipher_list(_CIPHERS)
        self.context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        self.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.context.set_tlsext_use_srtp(b":".join(_PROFILES))
        # Any certificate is good that has the right fingerprint: looked at when all is done.
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)


class Dtls:
    """One association: feed it datagrams, send what it makes, and take its keys.

    It goes on answering after that: a peer that missed our last flight sends its own again.
    Whoever feeds it lets in only who may be the peer: a server answers a hello with thrice its
    size, a few times over.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        is_client: bool,
        fingerprints: Collection[tuple[str, bytes]],
    ) -> None:
        """The peer's certificate has one of `fingerprints`: algorithm ("sha-256"), digest."""
        self.keys: SrtpKeys | None = None
        """What the handshake ended in; None as long as it goes on."""
        self._is_client = is_client
        self._fingerprints = fingerprints
        self._failure: str | None = None
        self._connection = SSL.Connection(certificate.context)
        self._connection.set_ciphertext_mtu(_MTU)
        if is_client:
            self._connection.set_connect_state()
            self._advance()
        else:
            self._connection.set_accept_state()

    def receive(self, datagram: bytes) -> None:
        """Take a datagram; what is no DTLS, or damaged, changes nothing.

        Raises DtlsError: the handshake has failed; RtpError: no DTLS, or too long.
        """
        if not is_dtls(datagram) or len(datagram) > MAX_DATAGRAM:
            raise RtpError(f"{len(datagram)} bytes are no DTLS datagram")
        self._check()
        self._connection.bio_write(datagram)
        self._advance()

    def datagrams_to_send(self) -> list[bytes]:
        """What there is to send, in order, since last asked."""
        try:
            return list(_datagrams(self._connection.bio_read(65_536)))
        except SSL.WantReadError:
            return []

    def next_timeout_ms(self) -> float | None:
        """How long from now `handle_timeout` will have something to do; None: it will not."""
        if self.keys is not None or self._failure is not None:
            return None
        seconds = self._connection.DTLSv1_get_timeout()
        return None if seconds is None else seconds * 1000

    def handle_timeout(self) -> None:
        """Send the last flight again if its time has come. Raises DtlsError: once too often."""
        self._check()
        if self.keys is not None:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise self._failed(error) from error

    def _check(self) -> None:
        if self._failure is not None:
            raise DtlsError(self._failure)

    def _advance(self) -> None:
        try:
            if self.keys is None:
                self._connection.do_handshake()
                self.keys = self._agreed()
            while True:
                self._connection.recv(MAX_DATAGRAM)  # none of it is ours (RFC 5764 4)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return
        except SSL.Error as error:
            if self.keys is None:
                raise self._failed(error) from error

    def _agreed(self) -> SrtpKeys:
        """RFC 5764 4.2: both keys, then both salts, the client's before the server's."""
        certificate = self._connection.get_peer_certificate()
        profile = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if certificate is None or profile is None:
            raise self._refused("no SRTP profile in common")
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
        if not any(_fingerprint(name, der)[1] == digest for name, digest in self._fingerprints):
            # RFC 5763 5: it is not the peer of the signalling.
            raise self._refused("the certificate is not that of the description")
        suite, key, salt = profile
        made = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = made[:key] + made[2 * key : 2 * key + salt]
        server = made[key : 2 * key] + made[2 * key + salt :]
        ours, theirs = (client, server) if self._is_client else (server, client)
        return SrtpKeys(suite, send_key=ours, receive_key=theirs)

    def _refused(self, why: str) -> DtlsError:
        self.datagrams_to_send()  # it gets no word more, least of all our Finished
        return self._failed(why)

    def _failed(self, why: object) -> DtlsError:
        self._failure = f"DTLS: {why}"
        return DtlsError(self._failure)


def is_dtls(datagram: bytes) -> bool:
    """Whether a datagram on a media port is DTLS: first byte 20 to 63 (RFC 7983 section 7)."""
    return bool(datagram) and 20 <= datagram[0] <= 63


def _datagrams(records: bytes) -> Iterator[bytes]:
    """OpenSSL's memory forgets where datagrams ended: whole records, as many as fit."""
    start = end = 0
    while end < len(records):
        length = int.from_bytes(records[end + _RECORD_HEADER - 2 : end + _RECORD_HEADER])
        size = _RECORD_HEADER + length
        if end > start and end + size - start > _MTU:
            yield records[start:end]
            start = end
        end += size
    if end > start:
        yield records[start:end]


def _fingerprint(algorithm: str, der: bytes) -> tuple[str, bytes]:
    return algorithm, hashlib.new(algorithm.replace("-", ""), der).digest()
