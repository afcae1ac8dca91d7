"""Offer and answer: one codec, every m= line answered, hold."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.offer_answer import (
    PCMA,
    PCMU,
    Direction,
    LocalMedia,
    accept_answer,
    answer,
    offer,
)
from ingress_sip.sdp.session import SdpError, parse_sdp

LOCAL = LocalMedia("192.0.2.1", 40000, session_id=7, version=3)
HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
EVENTS = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16")


def offered(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


@pytest.mark.parametrize(
    ("formats", "codec", "payload_type"),
    [("0 8", PCMU, 0), ("8 0", PCMA, 8), ("9 18 8", PCMA, 8), ("97 8", PCMU, 97)],
)
def test_the_offerers_order_decides(formats: str, codec: object, payload_type: int) -> None:
    result = answer(offered(f"m=audio 5000 RTP/AVP {formats}", "a=rtpmap:97 pcmu/8000/1"), LOCAL)
    assert (result.codec, result.payload_type) == (codec, payload_type)
    assert result.remote == ("192.0.2.7", 5000)
    [media] = parse_sdp(result.body).media
    assert media.formats == (str(payload_type),)
    assert media.rtpmaps()[payload_type].encoding == result.codec.name
    assert (media.port, parse_sdp(result.body).address) == (40000, "192.0.2.1")


def test_a_local_codec_list_limits_the_choice() -> None:
    result = answer(offered("m=audio 5000 RTP/AVP 0 8"), replace(LOCAL, codecs=(PCMA,)))
    assert result.codec == PCMA


def test_a_static_number_can_be_mapped_to_something_else() -> None:
    with pytest.raises(SdpError) as caught:
        answer(offered("m=audio 5000 RTP/AVP 0", "a=rtpmap:0 G729/8000"), LOCAL)
    assert caught.value.status == 488


def test_telephone_events_keep_the_offerers_number() -> None:
    result = answer(
        offered(
            "m=audio 5000 RTP/AVP 0 96 100",
            "a=rtpmap:96 telephone-event/48000",
            "a=rtpmap:100 Telephone-Event/8000",
        ),
        LOCAL,
    )
    assert result.event_payload_type == 100
    [media] = parse_sdp(result.body).media
    assert media.formats == ("0", "100")
    assert media.rtpmaps()[100].clock_rate == 8000


def test_no_telephone_events_where_none_were_offered() -> None:
    result = answer(offered("m=audio 5000 RTP/AVP 0"), LOCAL)
    assert result.event_payload_type is None
    assert b"telephone-event" not in result.body


def test_every_line_is_answered_in_its_place() -> None:
    result = answer(
        offered(
            "m=video 5002 RTP/AVP 31",
            "m=audio 5004 RTP/SAVP 0",
            "m=audio 5006 RTP/AVP 9",
            "m=audio 5000 RTP/AVP 0 101",
            *EVENTS,
            "m=audio 5008 RTP/AVP 0",
            "m=application 5010 udp wb",
        ),
        LOCAL,
    )
    media = parse_sdp(result.body).media
    assert [(m.kind, m.port, m.protocol) for m in media] == [
        ("video", 0, "RTP/AVP"),
        ("audio", 0, "RTP/SAVP"),
        ("audio", 0, "RTP/AVP"),
        ("audio", 40000, "RTP/AVP"),
        ("audio", 0, "RTP/AVP"),
        ("application", 0, "udp"),
    ]


@pytest.mark.parametrize(
    ("said", "address", "ours"),
    [
        ("a=sendrecv", "192.0.2.7", Direction.SENDRECV),
        ("a=sendonly", "192.0.2.7", Direction.RECVONLY),
        ("a=recvonly", "192.0.2.7", Direction.SENDONLY),
        ("a=inactive", "192.0.2.7", Direction.INACTIVE),
        ("a=ptime:20", "192.0.2.7", Direction.SENDRECV),
        ("a=sendrecv", "0.0.0.0", Direction.RECVONLY),
        ("a=sendonly", "0.0.0.0", Direction.RECVONLY),
        ("a=inactive", "0.0.0.0", Direction.INACTIVE),
        ("a=recvonly", "0.0.0.0", Direction.INACTIVE),
    ],
)
def test_hold(said: str, address: str, ours: Direction) -> None:
    on_stream = offered("m=audio 5000 RTP/AVP 0", f"c=IN IP4 {address}", said)
    on_session = offered(
        said,
        "m=audio 5000 RTP/AVP 0",
        head=HEAD.replace("c=IN IP4 192.0.2.7", f"c=IN IP4 {address}"),
    )
    for sdp in (on_stream, on_session):
        result = answer(sdp, LOCAL)
        assert result.direction is ours
        assert (ours.value, None) in parse_sdp(result.body).media[0].attributes


def test_the_streams_direction_overrides_the_sessions() -> None:
    sdp = offered("a=inactive", "m=audio 5000 RTP/AVP 0", "a=sendrecv")
    assert answer(sdp, LOCAL).direction is Direction.SENDRECV


@pytest.mark.parametrize(
    ("line", "ptime"),
    [("a=ptime:30", 30), ("a=ptime:20", 20), ("a=x", 20), ("a=ptime:9999", 20), ("a=ptime:?", 20)],
)
def test_ptime(line: str, ptime: int) -> None:
    assert answer(offered("m=audio 5000 RTP/AVP 0", line), LOCAL).ptime == ptime


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 488),
        (("m=audio 5000 RTP/AVP 9 18",), 488),
        (("m=audio 0 RTP/AVP 0",), 488),
        (("m=audio 5000 RTP/SAVP 0",), 488),
        (("m=audio 5000 RTP/AVPF 0",), 488),
        (("m=audio 5000 RTP/AVP",), 488),
        (("m=audio 5000 RTP/AVP 128", "a=rtpmap:128 PCMU/8000"), 488),
        (("m=audio 5000 RTP/AVP 97", "a=rtpmap:97 PCMU/16000"), 488),
        (("m=audio 5000 RTP/AVP 97", "a=rtpmap:97 PCMU/8000/2"), 488),
    ],
)
def test_refused(lines: tuple[str, ...], status: int) -> None:
    with pytest.raises(SdpError) as caught:
        answer(offered(*lines), LOCAL)
    assert caught.value.status == status


def test_a_stream_without_an_address_is_malformed() -> None:
    sdp = offered("m=audio 5000 RTP/AVP 0", head=HEAD.replace("c=IN IP4 192.0.2.7\r\n", ""))
    with pytest.raises(SdpError) as caught:
        answer(sdp, LOCAL)
    assert caught.value.status == 400


def test_ipv6() -> None:
    local = replace(LOCAL, address="2001:db8::1")
    head = HEAD.replace("c=IN IP4 192.0.2.7", "c=IN IP6 2001:db8::7")
    result = answer(offered("m=audio 5000 RTP/AVP 0", head=head), local)
    assert result.remote == ("2001:db8::7", 5000)
    assert b"\r\nc=IN IP6 2001:db8::1\r\n" in result.body


@given(
    st.lists(st.sampled_from([PCMU, PCMA]), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from([PCMU, PCMA]), min_size=1, max_size=2, unique=True),
)
def test_two_of_us_agree(ours: list[object], theirs: list[object]) -> None:
    caller = replace(LOCAL, codecs=tuple(ours))
    callee = replace(LOCAL, address="192.0.2.2", port=41000, codecs=tuple(theirs))
    common = [codec for codec in ours if codec in theirs]
    if not common:
        with pytest.raises(SdpError):
            answer(offer(caller), callee)
        return
    called = answer(offer(caller), callee)
    calling = accept_answer(caller, called.body)
    assert called.codec == calling.codec == common[0]
    assert called.event_payload_type == calling.event_payload_type == 101
    assert (called.remote, calling.remote) == (("192.0.2.1", 40000), ("192.0.2.2", 41000))
    assert called.direction is calling.direction is Direction.SENDRECV


def test_an_answer_must_fit_its_offer() -> None:
    two = offered("m=audio 5000 RTP/AVP 0", "m=audio 5002 RTP/AVP 0")
    with pytest.raises(SdpError) as caught:
        accept_answer(LOCAL, two)
    assert caught.value.status == 400


@given(st.binary(max_size=120))
def test_any_bytes_raise_only_the_peers_error(data: bytes) -> None:
    sdp = offered("m=audio 5000 RTP/AVP 0 101", *EVENTS) + data
    with suppress(SdpError):
        result = answer(sdp, LOCAL)
        assert len(parse_sdp(result.body).media) == len(parse_sdp(sdp).media)
