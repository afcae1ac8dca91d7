"""SRTP keys in the description: a=crypto (SDES, RFC 4568).

Each side names the key that it *sends* with. What we do not do (several keys with an MKI, key
derivation rates, unencrypted or unauthenticated streams, FEC) makes a line one of those that we
pass over: the peer has others, or none that we can use.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ingress_sip.sdp.session import Media

_CRYPTO_RE: Final = re.compile(r"([0-9]{1,9}) +([A-Za-z0-9_]+) +(\S+)((?: +\S+)*) *")
_INLINE_RE: Final = re.compile(
    r"inline:([A-Za-z0-9+/]{1,128})={0,2}(?:\|(2\^[0-9]{1,2}|[0-9]{1,20}))?", re.IGNORECASE
)
#: A key for fewer packets than this would have to be changed in a long call (87 minutes at 20 ms).
_LEAST_LIFETIME: Final = 2**18


class CryptoSuite(NamedTuple):
    """An SRTP protection profile, by the name that SDP gives it."""

    name: str
    key: int  # octets
    salt: int  # octets

    @property
    def size(self) -> int:
        """Octets of a master key with its salt behind it."""
        return self.key + self.salt


AES_CM_128_HMAC_SHA1_80: Final = CryptoSuite("AES_CM_128_HMAC_SHA1_80", 16, 14)  # RFC 4568 6.2.1
AES_CM_128_HMAC_SHA1_32: Final = CryptoSuite("AES_CM_128_HMAC_SHA1_32", 16, 14)  # 6.2.2
AEAD_AES_128_GCM: Final = CryptoSuite("AEAD_AES_128_GCM", 16, 12)  # RFC 7714 14.2
AEAD_AES_256_GCM: Final = CryptoSuite("AEAD_AES_256_GCM", 32, 12)
SUITES: Final = (
    AES_CM_128_HMAC_SHA1_80,
    AES_CM_128_HMAC_SHA1_32,
    AEAD_AES_128_GCM,
    AEAD_AES_256_GCM,
)
#: What every phone and trunk with SDES has; what else there is, we take when it is offered.
OFFERED: Final = (AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32)
KEY_MATERIAL: Final = sum(suite.size for suite in SUITES)
"""Random octets that a call needs for its keys: RFC 4568 6.1 wants one of its own for each line."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """An a=crypto line that can be used. `key` is the master key with its salt behind it."""

    tag: int
    suite: CryptoSuite
    key: bytes = field(repr=False)

    @property
    def value(self) -> str:
        """The attribute's value. No lifetime is named: the default, 2^48 packets, outlasts us."""
        return f"{self.tag} {self.suite.name} inline:{b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class SdesKeys:
    """The keys of both directions, each with its salt behind it; they stay out of any log."""

    suite: CryptoSuite
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)


def key_for(suite: CryptoSuite, material: bytes) -> bytes:
    """The part of a call's KEY_MATERIAL octets that is the key we send with under `suite`."""
    start = sum(before.size for before in SUITES[: SUITES.index(suite)])
    return material[start : start + suite.size]


def cryptos_of(media: Media) -> list[Crypto]:
    """The lines that can be used, in the peer's order of preference (RFC 4568 5.1.1)."""
    values = (value for name, value in media.attributes if name == "crypto" and value)
    return [crypto for value in values if (crypto := parse_crypto(value)) is not None]


def offered_cryptos(material: bytes) -> list[Crypto]:
    return [
        Crypto(tag, suite, key_for(suite, material)) for tag, suite in enumerate(OFFERED, start=1)
    ]


def parse_crypto(value: str) -> Crypto | None:
    """Read an attribute's value; None when it is malformed or asks for what we do not do."""
    match = _CRYPTO_RE.fullmatch(value)
    if match is None:
        return None
    tag, name, key_params, session_params = match.groups()
    suite = next((suite for suite in SUITES if suite.name == name.upper()), None)
    key = _inline_key(key_params)
    if suite is None or key is None or len(key) != suite.size:
        return None
    return Crypto(int(tag), suite, key) if _are_harmless(session_params.split()) else None


def _inline_key(text: str) -> bytes | None:
    match = _INLINE_RE.fullmatch(text)
    if match is None:
        return None  # several keys, or one with an MKI, among others
    encoded, lifetime = match.groups()
    if lifetime is not None and _packets(lifetime) < _LEAST_LIFETIME:
        return None
    try:
        # Some leave out the padding, which says nothing.
        return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return None


def _packets(lifetime: str) -> int:
    return 2 ** int(lifetime[2:]) if lifetime.startswith("2^") else int(lifetime)


def _are_harmless(session_params: Iterable[str]) -> bool:
    """RFC 4568 6.3: a window size is a hint (6.3.6), and what begins with "-" may be left aside."""
    return all(p.upper().startswith("WSH=") or p.startswith("-") for p in session_params)
