"""Session descriptions: what is written reads back the same, and nothing else raises."""

from __future__ import annotations

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.session import (
    MAX_FORMATS,
    MAX_LINES,
    MAX_MEDIA,
    Attribute,
    Media,
    Origin,
    RtpMap,
    SdpError,
    SessionDescription,
    parse_sdp,
)

WORD = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=8)
LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
VALUE = LINE.map(lambda text: text.strip(" ") + ".")
ADDRESS = st.ip_addresses().map(str) | WORD.map(lambda word: f"{word}.example")
ATTRIBUTES: st.SearchStrategy[tuple[Attribute, ...]] = st.lists(
    st.tuples(WORD, st.none() | VALUE), max_size=4
).map(tuple)
NUMBER = st.integers(0, 2**63)
MEDIA = st.builds(
    Media,
    st.sampled_from(["audio", "video", "application"]),
    st.integers(0, 65535),
    st.sampled_from(["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udptl"]),
    st.lists(WORD, max_size=4).map(tuple),
    st.none() | ADDRESS,
    ATTRIBUTES,
)
SESSIONS = st.builds(
    SessionDescription,
    st.builds(Origin, WORD, NUMBER, NUMBER, ADDRESS),
    st.none() | ADDRESS,
    st.lists(MEDIA, max_size=4).map(tuple),
    ATTRIBUTES,
    VALUE,
)
SIMPLE = b"v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"


@given(SESSIONS)
def test_what_is_written_reads_back_the_same(session: SessionDescription) -> None:
    assert parse_sdp(session.encode()) == session


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: SIMPLE + data))
def test_any_bytes_raise_only_the_peers_error(data: bytes) -> None:
    with suppress(SdpError):
        session = parse_sdp(data)
        assert parse_sdp(session.encode()).media == session.media


def test_lines_without_use_are_left_out() -> None:
    data = (
        SIMPLE.replace(b"t=0", b"b=AS:64\r\nt=0") + b"k=clear:x\r\nm=audio 9 RTP/AVP 0\r\ni=x\r\n"
    )
    assert parse_sdp(data) == parse_sdp(SIMPLE + b"m=audio 9 RTP/AVP 0\r\n")


def test_bare_line_feeds_are_line_ends() -> None:
    assert parse_sdp(SIMPLE.replace(b"\r\n", b"\n")) == parse_sdp(SIMPLE)


def test_a_stream_may_have_its_own_address() -> None:
    data = SIMPLE + b"m=audio 9 RTP/AVP 0\r\nm=video 9 RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\n"
    session = parse_sdp(data)
    addresses = [session.address_of(media) for media in session.media]
    assert addresses == ["192.0.2.7", "2001:db8::1"]


def test_a_multicast_ttl_is_no_part_of_the_address() -> None:
    data = SIMPLE.replace(b"c=IN IP4 192.0.2.7", b"c=IN IP4 233.252.0.1/127")
    assert parse_sdp(data).address == "233.252.0.1"


def test_rtpmaps_that_cannot_be_read_are_passed_over() -> None:
    lines = b"a=rtpmap:96 opus/48000/2\r\na=rtpmap:x\r\na=rtpmap:96 again/1\r\na=rtpmap\r\n"
    [media] = parse_sdp(SIMPLE + b"m=audio 9 RTP/AVP 96\r\n" + lines).media
    assert media.rtpmaps() == {96: RtpMap(96, "opus", 48000, 2)}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"v=1\r\n" + SIMPLE[5:],
        SIMPLE.replace(b"o=", b"x="),
        SIMPLE.replace(b"- 1 2", b"- one 2"),
        SIMPLE.replace(b"c=IN IP4 192.0.2.7", b"c=IN IP4"),
        SIMPLE.replace(b"c=IN IP4 192.0.2.7", b"c=IN IP4 a b"),
        SIMPLE.replace(b"c=IN IP4 192.0.2.7", b"c=IN IP4 <evil>"),
        SIMPLE + b"m=audio 70000 RTP/AVP 0\r\n",
        SIMPLE + b"m=audio\r\n",
        SIMPLE + b"m=audio 9 RTP/AVP" + b" 0" * (MAX_FORMATS + 1) + b"\r\n",
        SIMPLE + b"nonsense\r\n",
        SIMPLE + b"a=x\0y\r\n",
        SIMPLE + b"a=x\r\n" * MAX_LINES,
        SIMPLE + b"m=audio 9 RTP/AVP 0\r\n" * (MAX_MEDIA + 1),
        SIMPLE + b"a=" + b"x" * 65_536,
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(SdpError) as caught:
        parse_sdp(data)
    assert caught.value.status == 400
