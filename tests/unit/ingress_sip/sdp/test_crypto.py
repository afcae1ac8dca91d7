"""SDES: which a=crypto lines are taken, and that ours read back."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.crypto import (
    AEAD_AES_128_GCM,
    AES_CM_128_HMAC_SHA1_80,
    KEY_MATERIAL,
    SUITES,
    Crypto,
    CryptoSuite,
    key_for,
    parse_crypto,
)

KEY = bytes(range(30))
INLINE = f"inline:{b64encode(KEY).decode()}"
CM = "AES_CM_128_HMAC_SHA1_80"


@given(
    st.sampled_from(SUITES).flatmap(
        lambda suite: st.builds(
            Crypto,
            st.integers(0, 999_999_999),
            st.just(suite),
            st.binary(min_size=suite.size, max_size=suite.size),
        )
    )
)
def test_what_is_written_reads_back_the_same(crypto: Crypto) -> None:
    assert parse_crypto(crypto.value) == crypto


@given(st.text(max_size=80) | st.text(max_size=30).map(lambda text: f"1 {CM} inline:{text}"))
def test_any_text_is_a_line_or_none(text: str) -> None:
    parse_crypto(text)


@pytest.mark.parametrize(
    "value",
    [
        f"1 {CM} {INLINE}",
        f"1  {CM.lower()}  {INLINE} ",
        f"1 {CM} {INLINE}|2^31",
        f"1 {CM} {INLINE}|1048576",
        f"1 {CM} {INLINE} WSH=128",
        f"1 {CM} {INLINE} -x=y WSH=64",
        f"1 {CM} {INLINE.replace('inline', 'INLINE')}",
    ],
)
def test_taken(value: str) -> None:
    assert parse_crypto(value) == Crypto(1, AES_CM_128_HMAC_SHA1_80, KEY)


def test_missing_padding_is_forgiven() -> None:
    key = bytes(AEAD_AES_128_GCM.size)
    padded = b64encode(key).decode()
    assert padded.endswith("=")
    taken = parse_crypto(f"7 AEAD_AES_128_GCM inline:{padded.rstrip('=')}")
    assert taken == Crypto(7, AEAD_AES_128_GCM, key)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"{CM} {INLINE}",
        f"x {CM} {INLINE}",
        f"1 AES_256_CM_HMAC_SHA1_80 {INLINE}",
        f"1 F8_128_HMAC_SHA1_80 {INLINE}",
        f"1 {CM} {INLINE}|2^31|1:1",  # an MKI
        f"1 {CM} {INLINE}|1:4",
        f"1 {CM} {INLINE};{INLINE}",
        f"1 {CM} {INLINE}|2^10",
        f"1 {CM} uri:https://192.0.2.1/key",
        f"1 {CM} inline:AAAA",
        f"1 {CM} inline:A",
        f"1 {CM} {INLINE} KDR=1",
        f"1 {CM} {INLINE} UNENCRYPTED_SRTP",
        f"1 {CM} {INLINE} UNAUTHENTICATED_SRTP",
        f"1 {CM} {INLINE} FEC_ORDER=SRTP_FEC",
        f"1 {CM}",
    ],
)
def test_passed_over(value: str) -> None:
    assert parse_crypto(value) is None


def test_every_suite_has_a_key_of_its_own() -> None:
    material = bytes(range(KEY_MATERIAL))
    keys = [key_for(suite, material) for suite in SUITES]
    assert [len(key) for key in keys] == [suite.size for suite in SUITES]
    assert b"".join(keys) == material


def test_keys_stay_out_of_what_is_printed() -> None:
    suite: CryptoSuite = AES_CM_128_HMAC_SHA1_80
    assert "\\x02" not in repr(Crypto(1, suite, KEY))
