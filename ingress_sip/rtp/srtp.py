"""SRTP and SRTCP over libsrtp (RFC 3711, 7714)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pylibsrtp import Error, Policy, Session

from ingress_sip.rtp.packet import RtpError

#: libsrtp's profiles by the names of the suites, and the octets of a master key with its salt.
#: RTCP has a tag of 80 bits even under _32 (RFC 4568 6.2.2).
_PROFILES: Final = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
}
SUITES: Final = frozenset(_PROFILES)
MAX_STREAMS: Final = 256
"""SSRCs heard in a call. Each costs memory; an honest peer changes its own now and then."""

_WINDOW: Final = 1024
"""Packets that may be late and are still told from replayed ones: 20 s, more than any buffer."""
_RTP_SSRC: Final = slice(8, 12)
_RTCP_SSRC: Final = slice(4, 8)


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master keys of both directions, each with its salt behind it, for a suite of SUITES."""

    suite: str
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)


class Srtp:
    """A call's `Protection`, for whatever SSRCs come and go. Raises ValueError for odd keys."""

    def __init__(self, keys: SrtpKeys) -> None:
        self._keys = keys
        self._sender = _session(keys.suite, keys.send_key, Policy.SSRC_ANY_OUTBOUND)
        self._receiver = _session(keys.suite, keys.receive_key, Policy.SSRC_ANY_INBOUND)
        self._heard: set[bytes] = set()

    def rekey(self, keys: SrtpKeys) -> None:
        """Go on with other keys; a direction whose key stays goes on as it was.

        It keeps its roll-over counter and window: to begin anew under the same key would encrypt
        two packets alike (RFC 3711 9.1), or take one twice.
        """
        before, self._keys = self._keys, keys
        if (keys.suite, keys.send_key) != (before.suite, before.send_key):
            self._sender = _session(keys.suite, keys.send_key, Policy.SSRC_ANY_OUTBOUND)
        if (keys.suite, keys.receive_key) != (before.suite, before.receive_key):
            self._receiver = _session(keys.suite, keys.receive_key, Policy.SSRC_ANY_INBOUND)
            self._heard.clear()

    def protect(self, rtp: bytes) -> bytes:
        return self._sender.protect(rtp)

    def protect_rtcp(self, rtcp: bytes) -> bytes:
        return self._sender.protect_rtcp(rtcp)

    def unprotect(self, srtp: bytes) -> bytes:
        return self._unprotected(self._receiver.unprotect, srtp, srtp[_RTP_SSRC])

    def unprotect_rtcp(self, srtcp: bytes) -> bytes:
        return self._unprotected(self._receiver.unprotect_rtcp, srtcp, srtcp[_RTCP_SSRC])

    def _unprotected(self, unprotect: Callable[[bytes], bytes], data: bytes, ssrc: bytes) -> bytes:
        is_new = ssrc not in self._heard
        if is_new and len(self._heard) >= MAX_STREAMS:
            raise RtpError("too many streams")
        try:
            plain = unprotect(data)
        except (Error, ValueError) as error:  # ValueError: longer than libsrtp's buffer
            raise RtpError(f"SRTP: {error}") from error
        if is_new:
            self._heard.add(ssrc)
        return plain


def _session(suite: str, key: bytes, ssrcs: int) -> Session:
    try:
        profile, size = _PROFILES[suite]
    except KeyError:
        raise ValueError(f"no SRTP suite {suite}") from None
    if len(key) != size:
        raise ValueError(f"{suite} takes {size} octets, not {len(key)}")
    policy = Policy(key=key, ssrc_type=ssrcs, srtp_profile=profile)
    policy.window_size = _WINDOW
    return Session(policy)
