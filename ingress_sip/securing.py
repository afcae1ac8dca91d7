"""How a call's packets are protected: not at all, by keys in SDP, or by a DTLS handshake."""

from __future__ import annotations

from ingress_sip.rtp.dtls import Certificate, Dtls
from ingress_sip.rtp.handshake import Handshake
from ingress_sip.rtp.protection import Protection
from ingress_sip.rtp.srtp import Srtp, SrtpKeys
from ingress_sip.sdp.crypto import SdesKeys
from ingress_sip.sdp.fingerprint import DtlsPeer
from ingress_sip.sdp.security import Security


class Securing:
    """One call's protection, from one offer/answer to the next."""

    def __init__(self, certificate: Certificate) -> None:
        """`certificate` is who we are in a handshake."""
        self._certificate = certificate
        self._agreed: Security | None = None
        self._srtp: Srtp | None = None
        self._dtls: _DtlsHandshake | None = None

    def agree(self, security: Security | None) -> None:
        """The outcome of an offer/answer. The same again changes nothing (RFC 3264 8, 8842 4)."""
        if security == self._agreed:
            return
        self._agreed, self._dtls = security, None
        if isinstance(security, SdesKeys):
            keys = SrtpKeys(security.suite.name, security.send_key, security.receive_key)
            if self._srtp is None:
                self._srtp = Srtp(keys)
            else:
                self._srtp.rekey(keys)
            return
        self._srtp = None
        if security is not None:
            self._dtls = _DtlsHandshake(security, self._certificate)

    @property
    def protection(self) -> Protection | None:
        """By keys that were in SDP."""
        return self._srtp

    @property
    def handshake(self) -> Handshake | None:
        """What makes the keys, where SDP had none."""
        return self._dtls


class _DtlsHandshake:
    """DTLS-SRTP, as the media sees it (ingress_sip.rtp.handshake.Handshake)."""

    def __init__(self, peer: DtlsPeer, certificate: Certificate) -> None:
        self._dtls = Dtls(certificate, is_client=peer.we_are_client, fingerprints=peer.fingerprints)
        self._protection: Srtp | None = None

    @property
    def protection(self) -> Protection | None:
        if self._protection is None and self._dtls.keys is not None:
            self._protection = Srtp(self._dtls.keys)
        return self._protection

    def receive(self, datagram: bytes) -> None:
        self._dtls.receive(datagram)

    def datagrams_to_send(self) -> list[bytes]:
        return self._dtls.datagrams_to_send()

    def handle_timeout(self) -> None:
        self._dtls.handle_timeout()
