"""Secure media: what is offered, answered and refused under each policy."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.crypto import (
    AEAD_AES_256_GCM,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    KEY_MATERIAL,
    SdesKeys,
    key_for,
    parse_crypto,
)
from ingress_sip.sdp.direction import Direction
from ingress_sip.sdp.fingerprint import DtlsPeer, Fingerprint
from ingress_sip.sdp.offer_answer import LocalMedia, answer, offer
from ingress_sip.sdp.security import LocalSecurity, MediaSecurity
from ingress_sip.sdp.session import Media, SdpError, parse_sdp

HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
OFF, ALLOWED, REQUIRED = MediaSecurity
OURS = Fingerprint("sha-256", bytes(range(32)))
THEIRS = Fingerprint("sha-256", bytes(range(100, 132)))
FULL = LocalSecurity(key_material=bytes(range(KEY_MATERIAL)), fingerprint=OURS)
LOCAL = LocalMedia("192.0.2.1", 40000, session_id=7, security=FULL)
THEIR_KEY = bytes(range(200, 230))
CRYPTO = f"a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{b64encode(THEIR_KEY).decode()}"
DTLS = (f"a=fingerprint:{THEIRS.value}", "a=setup:actpass")
SDES = SdesKeys(
    AES_CM_128_HMAC_SHA1_80, key_for(AES_CM_128_HMAC_SHA1_80, FULL.key_material), THEIR_KEY
)
PASSIVE = DtlsPeer((THEIRS,), we_are_client=False)


def sdp(protocol: str, *lines: str, head: str = HEAD) -> bytes:
    media = f"m=audio 5000 {protocol} 0\r\n"
    return (head + media + "".join(f"{line}\r\n" for line in lines)).encode()


def wanting(policy: MediaSecurity, **changes: object) -> LocalMedia:
    return replace(LOCAL, security=replace(FULL, policy=policy, **changes))  # type: ignore[arg-type]


def values(media: Media, name: str) -> list[str]:
    return [value or "" for key, value in media.attributes if key == name]


@pytest.mark.parametrize(
    ("protocol", "lines", "security"),
    [
        ("RTP/AVP", (), None),
        ("RTP/AVPF", (), None),
        ("RTP/AVP", (CRYPTO,), SDES),
        ("RTP/AVPF", (CRYPTO,), SDES),
        ("RTP/SAVP", (CRYPTO,), SDES),
        ("RTP/SAVPF", (CRYPTO,), SDES),
        ("RTP/SAVP", DTLS, PASSIVE),
        ("RTP/AVP", DTLS, PASSIVE),
        ("RTP/AVP", (CRYPTO, *DTLS), PASSIVE),
        ("UDP/TLS/RTP/SAVP", DTLS, PASSIVE),
        ("UDP/TLS/RTP/SAVPF", (*DTLS, "a=rtcp-mux"), PASSIVE),
        ("UDP/TLS/RTP/SAVPF", (CRYPTO, *DTLS), PASSIVE),
    ],
)
def test_what_is_offered_is_answered(
    protocol: str, lines: tuple[str, ...], security: object
) -> None:
    result = answer(sdp(protocol, *lines), LOCAL)
    assert result.security == security
    [media] = parse_sdp(result.body).media
    assert media.protocol == protocol
    if isinstance(security, SdesKeys):
        [value] = values(media, "crypto")
        ours = parse_crypto(value)
        assert ours is not None
        assert (ours.tag, ours.suite, ours.key) == (4, security.suite, security.send_key)
    elif isinstance(security, DtlsPeer):
        assert values(media, "fingerprint") == [OURS.value]
        assert values(media, "setup") == ["passive"]
    else:
        assert not {"crypto", "fingerprint", "setup"} & {name for name, _ in media.attributes}


@pytest.mark.parametrize(
    ("local", "protocol", "lines"),
    [
        (LOCAL, "RTP/SAVP", ()),
        (LOCAL, "RTP/SAVP", ("a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:AAAA",)),
        (LOCAL, "UDP/TLS/RTP/SAVP", ()),
        (LOCAL, "UDP/TLS/RTP/SAVP", (CRYPTO,)),
        (LOCAL, "UDP/TLS/RTP/SAVP", (DTLS[0], "a=setup:holdconn")),
        (LOCAL, "UDP/TLS/RTP/SAVP", ("a=fingerprint:sha-1 " + ":".join(["AA"] * 20),)),
        (wanting(OFF), "RTP/SAVP", (CRYPTO,)),
        (wanting(OFF), "UDP/TLS/RTP/SAVP", DTLS),
        (wanting(REQUIRED), "RTP/AVP", ()),
        (wanting(ALLOWED, key_material=b""), "RTP/SAVP", (CRYPTO,)),
        (wanting(ALLOWED, fingerprint=None), "UDP/TLS/RTP/SAVP", DTLS),
    ],
)
def test_refused(local: LocalMedia, protocol: str, lines: tuple[str, ...]) -> None:
    with pytest.raises(SdpError) as caught:
        answer(sdp(protocol, *lines), local)
    assert caught.value.status == 488


def test_a_plain_line_beside_a_secure_one() -> None:
    both = sdp("RTP/SAVP", CRYPTO) + b"m=audio 5002 RTP/AVP 0\r\n"
    assert answer(both, LOCAL).remote == ("192.0.2.7", 5000)
    plain = answer(both, wanting(OFF))
    assert (plain.remote, plain.security) == (("192.0.2.7", 5002), None)
    assert answer(sdp("RTP/AVP", CRYPTO), wanting(OFF)).security is None


def test_the_peers_order_of_suites_counts() -> None:
    gcm = b64encode(bytes(44)).decode()
    result = answer(
        sdp(
            "RTP/SAVP",
            f"a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{b64encode(bytes(46)).decode()}",
            f"a=crypto:2 AEAD_AES_256_GCM inline:{gcm}",
            CRYPTO,
        ),
        LOCAL,
    )
    assert isinstance(result.security, SdesKeys)
    assert result.security.suite is AEAD_AES_256_GCM
    assert len(result.security.send_key) == 44


@pytest.mark.parametrize(
    ("said", "ours", "client"),
    [("active", "passive", False), ("passive", "active", True), ("actpass", "passive", False)],
)
def test_who_begins_the_handshake(said: str, ours: str, client: bool) -> None:
    result = answer(sdp("UDP/TLS/RTP/SAVP", DTLS[0], f"a=setup:{said}"), LOCAL)
    assert result.security == DtlsPeer((THEIRS,), client)
    assert values(parse_sdp(result.body).media[0], "setup") == [ours]


def test_dtls_may_stand_before_the_streams() -> None:
    head = HEAD + "a=fingerprint:" + THEIRS.value.lower() + "\r\na=setup:active\r\n"
    assert answer(sdp("UDP/TLS/RTP/SAVP", head=head), LOCAL).security == PASSIVE


def test_of_several_digests_the_best_liked_have_to_match() -> None:
    other = Fingerprint("sha-256", bytes(32))
    longer = Fingerprint("sha-512", bytes(64))
    lines = [f"a=fingerprint:{f.value}" for f in (longer, THEIRS, other)]
    result = answer(sdp("UDP/TLS/RTP/SAVP", *lines, "a=setup:active"), LOCAL)
    assert result.security == DtlsPeer((THEIRS, other), we_are_client=False)


def test_no_rtcp_where_it_would_want_a_handshake_of_its_own() -> None:
    assert answer(sdp("UDP/TLS/RTP/SAVP", *DTLS), LOCAL).rtcp_remote is None
    muxed = answer(sdp("UDP/TLS/RTP/SAVP", *DTLS, "a=rtcp-mux"), LOCAL)
    assert muxed.rtcp_remote == ("192.0.2.7", 5000)


@pytest.mark.parametrize(
    ("local", "protocol", "names"),
    [
        (wanting(OFF), "RTP/AVP", set()),
        (wanting(ALLOWED), "RTP/AVP", set()),
        (wanting(ALLOWED, signalling_secure=True), "RTP/AVP", {"crypto"}),
        (wanting(REQUIRED), "RTP/SAVP", {"crypto"}),
        (
            wanting(REQUIRED, key_material=b""),
            "UDP/TLS/RTP/SAVP",
            {"fingerprint", "setup", "rtcp-mux"},
        ),
    ],
)
def test_what_we_offer(local: LocalMedia, protocol: str, names: set[str]) -> None:
    [media] = parse_sdp(offer(local).body).media
    assert media.protocol == protocol
    assert {name for name, _ in media.attributes} & {
        "crypto", "fingerprint", "setup", "rtcp-mux"
    } == names  # fmt: skip


def test_we_cannot_require_what_we_cannot_do() -> None:
    with pytest.raises(ValueError, match="neither"):
        offer(replace(LOCAL, security=LocalSecurity(REQUIRED)))


def test_the_answer_takes_one_of_our_keys_by_its_tag() -> None:
    line = CRYPTO.replace("crypto:4", "crypto:2").replace("SHA1_80", "SHA1_32")
    result = offer(wanting(REQUIRED)).accept(sdp("RTP/SAVP", line))
    suite = AES_CM_128_HMAC_SHA1_32
    assert result.security == SdesKeys(suite, key_for(suite, FULL.key_material), THEIR_KEY)


@pytest.mark.parametrize(
    "line", ["a=x", CRYPTO, CRYPTO.replace("crypto:4", "crypto:2"), "a=crypto:1 x inline:y"]
)
def test_an_answer_without_a_key_for_our_offer(line: str) -> None:
    with pytest.raises(SdpError) as caught:
        offer(wanting(REQUIRED)).accept(sdp("RTP/SAVP", line))
    assert caught.value.status == 488


def test_keys_that_need_not_be_taken() -> None:
    opportunistic = offer(wanting(ALLOWED, signalling_secure=True))
    assert opportunistic.accept(sdp("RTP/AVP")).security is None
    taken = opportunistic.accept(sdp("RTP/AVP", CRYPTO.replace("crypto:4", "crypto:1")))
    assert taken.security == SDES


def test_the_answer_to_our_dtls() -> None:
    pending = offer(wanting(REQUIRED, key_material=b""))
    for said, client in (("active", False), ("passive", True), ("actpass", True)):
        lines = (DTLS[0], f"a=setup:{said}", "a=rtcp-mux")
        result = pending.accept(sdp("UDP/TLS/RTP/SAVP", *lines))
        assert result.security == DtlsPeer((THEIRS,), client)
        assert result.rtcp_mux
    with pytest.raises(SdpError):
        pending.accept(sdp("UDP/TLS/RTP/SAVP", CRYPTO))


# -- in mid-call


def test_a_refresh_keeps_the_keys() -> None:
    agreed = answer(sdp("RTP/SAVP", CRYPTO), LOCAL)
    assert agreed.answer(sdp("RTP/SAVP", CRYPTO, "a=sendonly")).security == agreed.security
    held = agreed.offer_again(direction=Direction.SENDONLY)
    assert held.accept(sdp("RTP/SAVP", CRYPTO)).security == agreed.security
    anew = agreed.offer()
    assert parse_sdp(anew.body).media[0].protocol == "RTP/SAVP"
    assert anew.accept(sdp("RTP/SAVP", CRYPTO)).security == agreed.security


def test_the_peer_changes_its_key() -> None:
    agreed = answer(sdp("RTP/SAVP", CRYPTO), LOCAL)
    other = bytes(30)
    line = CRYPTO.replace(b64encode(THEIR_KEY).decode(), b64encode(other).decode())
    changed = agreed.answer(sdp("RTP/SAVP", line))
    assert changed.security == replace(SDES, receive_key=other)
    assert changed.body == agreed.body


def test_an_association_keeps_its_roles() -> None:
    agreed = answer(sdp("UDP/TLS/RTP/SAVP", DTLS[0], "a=setup:passive"), LOCAL)
    again = agreed.answer(sdp("UDP/TLS/RTP/SAVP", *DTLS))
    assert again.security == agreed.security == DtlsPeer((THEIRS,), we_are_client=True)
    refresh = agreed.offer_again()
    assert refresh.body == agreed.body
    assert refresh.accept(sdp("UDP/TLS/RTP/SAVP", DTLS[0], "a=setup:passive")) == replace(
        agreed, theirs=parse_sdp(sdp("UDP/TLS/RTP/SAVP", DTLS[0], "a=setup:passive"))
    )


def test_another_certificate_or_tls_id_is_another_association() -> None:
    agreed = answer(sdp("UDP/TLS/RTP/SAVP", *DTLS), LOCAL)
    moved = (f"a=fingerprint:{OURS.value}", DTLS[1])
    assert agreed.answer(sdp("UDP/TLS/RTP/SAVP", *moved)).security != agreed.security
    assert agreed.answer(sdp("UDP/TLS/RTP/SAVP", *DTLS, "a=tls-id:x")).security != agreed.security


SECURITIES = st.builds(
    replace,
    st.just(FULL),
    policy=st.sampled_from(MediaSecurity),
    signalling_secure=st.booleans(),
    fingerprint=st.sampled_from([OURS, None]),
    key_material=st.sampled_from([FULL.key_material, b""]),
)


@given(SECURITIES, SECURITIES)
def test_two_of_us_agree_or_refuse(ours: LocalSecurity, theirs: LocalSecurity) -> None:
    theirs = replace(theirs, key_material=theirs.key_material[::-1])
    caller, callee = replace(LOCAL, security=ours), replace(LOCAL, security=theirs)
    try:
        pending = offer(caller)
    except ValueError:
        assert not ours.key_material
        assert ours.fingerprint is None
        return
    try:
        called = answer(pending.body, callee)
    except SdpError:
        assert REQUIRED in (ours.policy, theirs.policy)
        return
    calling = pending.accept(called.body)
    match called.security, calling.security:
        case SdesKeys() as a, SdesKeys() as b:
            assert a == SdesKeys(b.suite, send_key=b.receive_key, receive_key=b.send_key)
        case DtlsPeer() as a, DtlsPeer() as b:
            assert a.we_are_client is not b.we_are_client
        case a, b:
            assert a is b is None


def test_keys_stay_out_of_what_is_printed() -> None:
    result = answer(sdp("RTP/SAVP", CRYPTO), LOCAL)
    assert "inline" not in repr(result)
    assert repr(THEIR_KEY[:4])[2:-1] not in repr(result)
    assert "inline" not in repr(offer(wanting(REQUIRED)))
