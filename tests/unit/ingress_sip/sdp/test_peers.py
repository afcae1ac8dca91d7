"""The descriptions of real peers, written after their manner: what is made of each."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.codecs import G722, OPUS, PCMA, PCMU, Codec, EventType
from ingress_sip.sdp.crypto import (
    AEAD_AES_256_GCM,
    AES_CM_128_HMAC_SHA1_32,
    AES_CM_128_HMAC_SHA1_80,
    KEY_MATERIAL,
    CryptoSuite,
    SdesKeys,
)
from ingress_sip.sdp.fingerprint import DtlsPeer, Fingerprint
from ingress_sip.sdp.offer_answer import LocalMedia, answer, offer
from ingress_sip.sdp.security import LocalSecurity
from ingress_sip.sdp.session import SdpError, parse_sdp

PEERS = {
    path.stem: path.read_bytes().replace(b"\n", b"\r\n")
    for path in sorted((Path(__file__).parent / "peers").glob("*.sdp"))
}
SECURITY = LocalSecurity(
    key_material=bytes(range(KEY_MATERIAL)), fingerprint=Fingerprint("sha-256", bytes(32))
)
#: Who likes it wide.
WIDE = (OPUS, G722, PCMU, PCMA)
LOCAL = LocalMedia("192.0.2.1", 40000, session_id=7, codecs=WIDE, security=SECURITY)
TELEPHONE = replace(LOCAL, codecs=(PCMA,))
KEY = b"0123456789ABCDEF0123456789ABCD"


class Made(NamedTuple):
    codec: Codec
    payload_type: int
    events: EventType | None
    rtcp: tuple[str, int] | None
    secured: CryptoSuite | type[DtlsPeer] | None = None
    ptime: int = 20


CM_80, CM_32 = AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32
KEYS_8K = EventType(101, 8000)
MADE = {
    "asterisk": Made(OPUS, 107, KEYS_8K, ("192.0.2.7", 15863)),
    "baresip": Made(OPUS, 96, KEYS_8K, ("192.0.2.7", 21027)),
    "baresip-dtls": Made(OPUS, 96, KEYS_8K, None, DtlsPeer),
    "browser": Made(OPUS, 111, EventType(110, 48000), ("192.0.2.7", 54321), DtlsPeer),
    "cisco": Made(OPUS, 114, KEYS_8K, ("192.0.2.7", 16399), AEAD_AES_256_GCM),
    "fax": Made(PCMA, 8, None, ("192.0.2.7", 20001), ptime=10),
    "freeswitch": Made(OPUS, 102, EventType(103, 48000), ("192.0.2.7", 26411)),
    "linphone": Made(OPUS, 96, EventType(101, 48000), ("192.0.2.7", 57478)),
    "linphone-srtp": Made(PCMU, 0, KEYS_8K, ("2001:db8::7", 7078), CM_80),
    "snom-optional": Made(G722, 9, KEYS_8K, ("192.0.2.7", 59219), CM_32),
    "teams": Made(G722, 9, KEYS_8K, ("192.0.2.200", 51027), CM_80),
    "twilio": Made(PCMU, 0, KEYS_8K, ("203.0.113.9", 18913), CM_80),
    "zoom": Made(G722, 9, KEYS_8K, ("203.0.113.20", 40213), CM_80),
}


@pytest.mark.parametrize("name", PEERS)
def test_what_is_made_of_it(name: str) -> None:
    result = answer(PEERS[name], LOCAL)
    secured = result.security
    assert MADE[name] == Made(
        result.codec,
        result.payload_type,
        result.events,
        result.rtcp_remote,
        secured.suite if isinstance(secured, SdesKeys) else type(secured) if secured else None,
        result.ptime,
    )
    if isinstance(secured, SdesKeys):
        assert secured.receive_key[:16] == KEY[:16]


@pytest.mark.parametrize("name", PEERS)
def test_every_line_is_answered_in_its_place(name: str) -> None:
    theirs = parse_sdp(PEERS[name])
    ours = parse_sdp(answer(PEERS[name], LOCAL).body)
    assert [(m.kind, m.protocol) for m in ours.media] == [
        (m.kind, m.protocol) for m in theirs.media
    ]
    taken = [m for m in ours.media if m.port]
    assert [m.kind for m in taken] == ["audio"]
    assert len(taken[0].formats) <= 2


@pytest.mark.parametrize("name", PEERS)
def test_it_could_be_the_answer_to_our_offer(name: str) -> None:
    """Peers with more m= lines than our offer has, or without its keys, are none of these."""
    if len(parse_sdp(PEERS[name]).media) > 1:
        with pytest.raises(SdpError):
            offer(TELEPHONE).accept(PEERS[name])
        return
    if b"RTP/SAVP" in PEERS[name] or b"PCMA" not in PEERS[name].upper():
        with pytest.raises(SdpError):
            offer(TELEPHONE).accept(PEERS[name])
        return
    assert offer(TELEPHONE).accept(PEERS[name]).payload_type == 8


@given(
    name=st.sampled_from(sorted(PEERS)),
    cuts=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10_000)), max_size=4),
    junk=st.binary(max_size=6),
)
def test_damage_raises_only_the_peers_error(
    name: str, cuts: list[tuple[int, int]], junk: bytes
) -> None:
    data = PEERS[name]
    for width, at in cuts:
        start = at % (len(data) + 1)
        data = data[:start] + junk + data[start + width * len(junk) :]
    with suppress(SdpError):
        agreed = answer(data, LOCAL)
        assert len(parse_sdp(agreed.body).media) == len(parse_sdp(data).media)
        assert agreed.offer_again().body == agreed.body
        assert len(parse_sdp(agreed.offer().body).media) == len(parse_sdp(data).media)
        with suppress(SdpError):
            agreed.answer(PEERS["asterisk"])
    with suppress(SdpError):
        offer(LOCAL).accept(data)


LINES = st.sampled_from(
    sorted({line for data in PEERS.values() for line in data.split(b"\r\n") if line})
)


@given(st.lists(LINES, max_size=12))
def test_lines_of_all_peers_shuffled_raise_only_the_peers_error(lines: list[bytes]) -> None:
    head = b"v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
    data = head + b"m=audio 9 RTP/AVP 0 8\r\n" + b"\r\n".join(lines)
    with suppress(SdpError):
        agreed = answer(data, LOCAL)
        answer(agreed.body, LOCAL)
        again = agreed.offer()
        assert len(parse_sdp(again.body).media) == len(parse_sdp(data).media)
    with suppress(SdpError):
        offer(LOCAL).accept(data)
