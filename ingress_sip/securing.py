"""How a call's packets are protected: not at all, by keys in SDP, or by a DTLS handshake."""

from __future__ import annotations

import structlog

from ingress_sip.rtp.dtls import Certificate, Dtls, DtlsError
from ingress_sip.rtp.packet import RtpError
from ingress_sip.rtp.protection import Protection
from ingress_sip.rtp.srtp import Srtp, SrtpKeys
from ingress_sip.sdp.crypto import SdesKeys
from ingress_sip.sdp.fingerprint import DtlsPeer
from ingress_sip.sdp.security import Security

_log = structlog.get_logger(__name__)


class Securing:
    """One call's protection. While `waiting`, nothing may be sent and nothing is believed."""

    def __init__(self, name: str, certificate: Certificate) -> None:
        """`name` is for the log."""
        self.waiting = False
        self._name = name
        self._certificate = certificate
        self._agreed: Security | None = None
        self._srtp: Srtp | None = None
        self._dtls: Dtls | None = None

    @property
    def protection(self) -> Protection | None:
        """What the packets go through; None for plain RTP, and as long as there are no keys."""
        return self._srtp

    def agree(self, security: Security | None) -> None:
        """The outcome of an offer/answer. The same again changes nothing (RFC 3264 8, 8842 4)."""
        if security == self._agreed:
            return
        self._agreed, self._dtls = security, None
        if security is None:
            self._srtp, self.waiting = None, False
        elif isinstance(security, SdesKeys):
            keys = SrtpKeys(security.suite.name, security.send_key, security.receive_key)
            if self._srtp is None:
                self._srtp = Srtp(keys)
            else:
                self._srtp.rekey(keys)
            self.waiting = False
        else:
            self._begin(security)

    def _begin(self, peer: DtlsPeer) -> None:
        self._srtp, self.waiting = None, True
        self._dtls = Dtls(
            self._certificate,
            is_client=peer.we_are_client,
            fingerprints=[(each.algorithm, each.digest) for each in peer.fingerprints],
        )

    def received(self, datagram: bytes) -> None:
        """Take a DTLS datagram of the peer's (RFC 7983)."""
        dtls = self._dtls
        if dtls is None:
            return
        try:
            dtls.receive(datagram)
        except DtlsError as error:
            _log.warning("rtp.dtls_failed", call=self._name, error=str(error))
            self._dtls = None  # `waiting` stays: there will be no media
        except RtpError:
            return
        self._take_keys()

    def tick(self) -> None:
        """Send again what was not answered; to be called now and then while `waiting`."""
        if self._dtls is not None and self.waiting:
            try:
                self._dtls.handle_timeout()
            except DtlsError as error:
                _log.warning("rtp.dtls_failed", call=self._name, error=str(error))
                self._dtls = None

    def datagrams_to_send(self) -> list[bytes]:
        """What the handshake has to say."""
        return self._dtls.datagrams_to_send() if self._dtls is not None else []

    def _take_keys(self) -> None:
        if self.waiting and self._dtls is not None and self._dtls.keys is not None:
            self._srtp, self.waiting = Srtp(self._dtls.keys), False
