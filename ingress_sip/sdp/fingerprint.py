"""DTLS-SRTP in the description: a=fingerprint (RFC 8122) and a=setup (RFC 4145, 5763, 8842)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from ingress_sip.sdp.session import Media, SessionDescription

#: Octets of a digest. RFC 8122 5: SHA-256 is preferred; MD5 must not, SHA-1 should not be used.
HASHES: Final = {"sha-256": 32, "sha-512": 64, "sha-384": 48}
_MAX_FINGERPRINTS: Final = 8
_FINGERPRINT_RE: Final = re.compile(r"([A-Za-z0-9-]{1,16}) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*) *")


class Fingerprint(NamedTuple):
    """A certificate's digest: `algorithm` is a key of HASHES."""

    algorithm: str
    digest: bytes

    @property
    def value(self) -> str:
        """The attribute's value."""
        return f"{self.algorithm} {self.digest.hex(':').upper()}"


class Setup(Enum):
    """Who begins the handshake (RFC 4145 section 4)."""

    ACTIVE = "active"  # this side does: it is the DTLS client
    PASSIVE = "passive"
    ACTPASS = "actpass"  # an offer's: the answer decides


@dataclass(frozen=True, slots=True)
class DtlsPeer:
    """The handshake that gives the keys. Equal to the one before: its association goes on.

    RFC 8842 4: other fingerprints, another role or another tls-id mean a new one.
    """

    fingerprints: tuple[Fingerprint, ...]  # the peer's certificate has one of these
    we_are_client: bool
    tls_id: str | None = None


def dtls_of(theirs: SessionDescription, media: Media) -> tuple[DtlsPeer, Setup] | None:
    """What a description says of DTLS on one of its streams; None: nothing that can be used.

    `we_are_client` is what follows from its a=setup, and False where that leaves it to us.
    """
    fingerprints = _fingerprints(theirs, media)
    said = media.attribute("setup") or theirs.attribute("setup") or "active"  # RFC 4145 4
    setup = next((setup for setup in Setup if setup.value == said.strip().lower()), None)
    if not fingerprints or setup is None:  # among others "holdconn"
        return None
    tls_id = media.attribute("tls-id") or theirs.attribute("tls-id")
    return DtlsPeer(fingerprints, setup is Setup.PASSIVE, tls_id), setup


def _fingerprints(theirs: SessionDescription, media: Media) -> tuple[Fingerprint, ...]:
    """RFC 8122 5: of several digests, those by the hash that is liked best have to match."""
    found = []
    for attributes in (media.attributes, theirs.attributes):
        values = (value for name, value in attributes if name == "fingerprint")
        found = [fingerprint for value in values if (fingerprint := _parse(value or ""))]
        if found:
            break
    best = next((name for name in HASHES if any(f.algorithm == name for f in found)), None)
    return tuple(f for f in found if f.algorithm == best)[:_MAX_FINGERPRINTS]


def _parse(value: str) -> Fingerprint | None:
    match = _FINGERPRINT_RE.fullmatch(value)
    if match is None:
        return None
    algorithm = match.group(1).lower()
    digest = bytes.fromhex(match.group(2).replace(":", ""))
    return Fingerprint(algorithm, digest) if HASHES.get(algorithm) == len(digest) else None
