"""Whether a stream is encrypted, and who makes its keys (RFC 4568, 5763, 8643).

Two ways lead to SRTP. With SDES each side writes its key into the description, where all can read
it that the signalling passes through; with DTLS-SRTP the description names a certificate only, and
the keys are made on the media path. A peer asks for either by the profile of its m= line (SAVP,
UDP/TLS/RTP/SAVP), or writes the same attributes under plain RTP/AVP and takes what it is answered
(RFC 8643): phones call that "SRTP optional".

RFC 4568 7 wants SDES keys nowhere but in signalling that is itself encrypted. We keep to it in
what we offer of our own will, and answer keys wherever they are offered: the peer has shown its own
key already, and to refuse would drop the call or, worse, its protection.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, NamedTuple

from ingress_sip.sdp.crypto import Crypto, SdesKeys, cryptos_of, key_for, offered_cryptos
from ingress_sip.sdp.fingerprint import DtlsPeer, Fingerprint, Setup, dtls_of
from ingress_sip.sdp.session import Attribute, Media, SdpError, SessionDescription

Security = SdesKeys | DtlsPeer

_PLAIN: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
_KEYS_WITHIN: Final = frozenset({"RTP/SAVP", "RTP/SAVPF"})  # RFC 5763 puts DTLS there, too
_DTLS: Final = frozenset({"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
PROFILES: Final = _PLAIN | _KEYS_WITHIN | _DTLS
#: What of a line's attributes says how it is secured, and goes with that from offer to offer.
ATTRIBUTES: Final = frozenset({"crypto", "fingerprint", "setup", "rtcp-mux"})


class MediaSecurity(Enum):
    """How an installation wants its media."""

    OFF = "off"  # plain RTP: who insists on SRTP is refused
    ALLOWED = "allowed"  # SRTP with whoever offers it
    REQUIRED = "required"  # SRTP or no call


@dataclass(frozen=True, slots=True)
class LocalSecurity:
    """What we can do, and what we want. Without keys and certificate there is plain RTP only."""

    policy: MediaSecurity = MediaSecurity.ALLOWED
    signalling_secure: bool = False  # does this call's SIP go over TLS?
    key_material: bytes = field(default=b"", repr=False)  # crypto.KEY_MATERIAL random octets
    fingerprint: Fingerprint | None = None  # of our DTLS certificate


class Secured(NamedTuple):
    """What protects a stream, and the attributes by which our description says so."""

    keys: Security | None
    attributes: tuple[Attribute, ...] = ()


def is_demanded(protocol: str) -> bool:
    """Does this profile of an m= line mean SRTP and nothing else?"""
    return protocol.upper() not in _PLAIN


def secure_answer(
    theirs: SessionDescription, media: Media, local: LocalSecurity, before: Security | None
) -> Secured | None:
    """How to answer an offered stream, secured with `before` until now; None: not at all.

    Where both are offered, DTLS goes first (RFC 8643 3.1): its keys are seen by nobody.
    """
    if local.policy is not MediaSecurity.OFF:
        dtls = dtls_of(theirs, media)
        if dtls is not None and local.fingerprint is not None:
            return _dtls_answer(*dtls, local.fingerprint, before)
        cryptos = [] if media.protocol.upper() in _DTLS else cryptos_of(media)
        if cryptos and local.key_material:
            offered = cryptos[0]
            ours = replace(offered, key=key_for(offered.suite, local.key_material))
            keys = SdesKeys(ours.suite, send_key=ours.key, receive_key=offered.key)
            return Secured(keys, (("crypto", ours.value),))
    if is_demanded(media.protocol) or local.policy is MediaSecurity.REQUIRED:
        return None
    return Secured(None)


def secure_offer(local: LocalSecurity) -> tuple[str, tuple[Attribute, ...]]:
    """The profile and attributes of a stream that we offer.

    Keys that are allowed are offered under RTP/AVP, for whoever likes to take them (RFC 8643), and
    over secure signalling only. Keys that are required are SDES's, which more phones and trunks
    know than DTLS; they are offered over any signalling. Who does not want that gives no key
    material, and DTLS is left.

    Raises ValueError where security is required and there is nothing to do it with: our mistake.
    """
    if local.policy is MediaSecurity.REQUIRED:
        if local.key_material:
            return "RTP/SAVP", _crypto_lines(offered_cryptos(local.key_material))
        if local.fingerprint is not None:
            # RFC 5764 4.1.1: without mux RTCP would want a handshake of its own.
            lines = (*_dtls_lines(local.fingerprint, Setup.ACTPASS), ("rtcp-mux", None))
            return "UDP/TLS/RTP/SAVP", lines
        raise ValueError("secure media is required, but there are neither keys nor a certificate")
    if local.policy is MediaSecurity.ALLOWED and local.signalling_secure and local.key_material:
        return "RTP/AVP", _crypto_lines(offered_cryptos(local.key_material))
    return "RTP/AVP", ()


def secured_by(
    offered: Media, theirs: SessionDescription, media: Media, policy: MediaSecurity
) -> Security | None:
    """What an answered stream is secured with. Raises SdpError when that is not what we offered."""
    if any(name == "fingerprint" for name, _ in offered.attributes):
        dtls = dtls_of(theirs, media)
        if dtls is not None:
            peer, setup = dtls
            # An answer has to decide (RFC 5763 5); one that repeats actpass waits for somebody.
            return replace(peer, we_are_client=setup is not Setup.ACTIVE)
    ours = {(crypto.tag, crypto.suite): crypto for crypto in cryptos_of(offered)}
    for crypto in cryptos_of(media):
        # RFC 4568 5.1.3: the answer names one of our lines by its tag.
        chosen = ours.get((crypto.tag, crypto.suite))
        if chosen is not None:
            return SdesKeys(crypto.suite, send_key=chosen.key, receive_key=crypto.key)
    demanded = is_demanded(offered.protocol) or is_demanded(media.protocol)
    if demanded or policy is MediaSecurity.REQUIRED:
        raise SdpError(488, "no key for SRTP in the answer")
    return None


def _dtls_answer(
    peer: DtlsPeer, setup: Setup, fingerprint: Fingerprint, before: Security | None
) -> Secured:
    if setup is Setup.ACTPASS:
        # RFC 8842 5.3 would rather have us active. But the address that a phone behind NAT writes
        # cannot be reached before it has sent something: as client it does, and we learn it.
        kept = replace(peer, we_are_client=True)
        peer = kept if kept == before else peer  # an association that stands keeps its roles
    ours = Setup.ACTIVE if peer.we_are_client else Setup.PASSIVE
    return Secured(peer, _dtls_lines(fingerprint, ours))


def _dtls_lines(fingerprint: Fingerprint, setup: Setup) -> tuple[Attribute, ...]:
    return (("fingerprint", fingerprint.value), ("setup", setup.value))


def _crypto_lines(cryptos: list[Crypto]) -> tuple[Attribute, ...]:
    return tuple(("crypto", crypto.value) for crypto in cryptos)
