"""Offer and answer, once: one codec, every m= line answered, numbers in both directions, hold."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.codecs import CODECS, G722, OPUS, PCMA, PCMU, Codec, EventType
from ingress_sip.sdp.direction import Direction
from ingress_sip.sdp.offer_answer import LocalMedia, answer, offer
from ingress_sip.sdp.session import SdpError, parse_sdp

LOCAL = LocalMedia("192.0.2.1", 40000, session_id=7, version=3)
WIDE = replace(LOCAL, codecs=CODECS)
HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
EVENTS = ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16")


def offered(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


@pytest.mark.parametrize(
    ("formats", "codec", "payload_type"),
    [("0 8", PCMU, 0), ("8 0", PCMA, 8), ("9 18 8", PCMA, 8), ("97 8", PCMU, 97)],
)
def test_the_offerer_decides_between_the_laws(
    formats: str, codec: object, payload_type: int
) -> None:
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
    ("lines", "ptime"),
    [
        (("a=ptime:30",), 30),
        (("a=ptime:20",), 20),
        (("a=x",), 20),
        (("a=ptime:9999",), 20),
        (("a=ptime:?",), 20),
        (("a=ptime:0",), 20),
        (("a=ptime: 40 ",), 40),
        (("a=ptime:50",), 40),
        (("a=ptime:5",), 10),
        (("a=ptime:120",), 60),
        (("a=ptime:40", "a=maxptime:30"), 30),
        (("a=maxptime:10",), 10),
        (("a=maxptime:150",), 20),
    ],
)
def test_ptime(lines: tuple[str, ...], ptime: int) -> None:
    assert answer(offered("m=audio 5000 RTP/AVP 0", *lines), LOCAL).ptime == ptime


def test_opus_has_no_frames_of_30_ms() -> None:
    lines = ("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2", "a=ptime:30")
    assert answer(offered(*lines), WIDE).ptime == 20


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 488),
        (("m=audio 5000 RTP/AVP 9 18",), 488),
        (("m=audio 0 RTP/AVP 0",), 488),
        (("m=audio 5000 RTP/SAVP 0",), 488),
        (("m=audio 5000 udp 0",), 488),
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
    st.lists(st.sampled_from(CODECS), min_size=1, unique=True),
    st.lists(st.sampled_from(CODECS), min_size=1, unique=True),
)
def test_two_of_us_agree(ours: list[Codec], theirs: list[Codec]) -> None:
    caller = replace(LOCAL, codecs=tuple(ours))
    callee = replace(LOCAL, address="192.0.2.2", port=41000, codecs=tuple(theirs))
    laws = [codec for codec in ours if codec in (PCMU, PCMA)]
    order = [law for codec in theirs for law in ((*laws,) if codec in (PCMU, PCMA) else (codec,))]
    common = [codec for codec in order if codec in ours and codec in theirs]
    if not common:
        with pytest.raises(SdpError):
            answer(offer(caller).body, callee)
        return
    called = answer(offer(caller).body, callee)
    calling = offer(caller).accept(called.body)
    assert called.codec == calling.codec == common[0]
    assert called.payload_type == calling.payload_type == common[0].payload_type
    assert called.receive == calling.receive == ((common[0].payload_type, common[0]),)
    assert called.events == calling.events
    assert called.events is not None
    assert called.events.clock_rate == common[0].clock_rate
    assert called.events in calling.receive_events
    assert (called.remote, calling.remote) == (("192.0.2.1", 40000), ("192.0.2.2", 41000))
    assert called.rtcp_remote == ("192.0.2.1", 40001)
    assert called.direction is calling.direction is Direction.SENDRECV


def test_an_answer_must_fit_its_offer() -> None:
    for lines, status in (
        (("m=audio 5000 RTP/AVP 0", "m=audio 5002 RTP/AVP 0"), 400),
        (("m=video 5000 RTP/AVP 31",), 400),
        ((), 400),
        (("m=audio 0 RTP/AVP 0",), 488),
        (("m=audio 5000 RTP/AVP 9",), 488),
        (("m=audio 5000 RTP/SAVP 0",), 488),
    ):
        with pytest.raises(SdpError) as caught:
            offer(LOCAL).accept(offered(*lines))
        assert caught.value.status == status


def test_we_send_by_the_answers_numbers_and_hear_by_ours() -> None:
    result = offer(WIDE).accept(
        offered(
            "m=audio 5000 RTP/AVP 96 0 97",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:97 telephone-event/48000",
        )
    )
    assert (result.codec, result.payload_type) == (OPUS, 96)
    assert result.events == EventType(97, 48000)
    # And by the peer's, for those that take the numbers of the answer in both directions.
    assert result.receive == ((0, PCMU), (111, OPUS), (96, OPUS))
    assert result.receive_events == (
        EventType(101, 8000),
        EventType(110, 48000),
        EventType(97, 48000),
    )


def test_a_number_of_ours_keeps_its_meaning_whatever_the_answer_says() -> None:
    result = offer(WIDE).accept(offered("m=audio 5000 RTP/AVP 101", "a=rtpmap:101 opus/48000/2"))
    assert result.payload_type == 101
    assert result.receive == ((111, OPUS),)
    assert (result.events, result.receive_events) == (None, ())


def test_an_offer_of_all_that_we_speak() -> None:
    [media] = parse_sdp(offer(WIDE).body).media
    assert media.formats == ("0", "8", "9", "111", "101", "110")
    assert media.rtpmaps()[9].clock_rate == 8000  # RFC 3551 4.5.2
    assert media.rtpmaps()[111].channels == 2
    assert {media.rtpmaps()[n].clock_rate for n in (101, 110)} == {8000, 48000}


@pytest.mark.parametrize(
    ("lines", "codec", "payload_type"),
    [
        (("9 0",), G722, 9),
        (("99", "a=rtpmap:99 g722/8000"), G722, 99),
        (("107 0", "a=rtpmap:107 OPUS/48000/2"), OPUS, 107),
        (("107 0", "a=rtpmap:107 opus/48000"), OPUS, 107),
        (("107 0", "a=rtpmap:107 opus/16000/2"), PCMU, 0),
        (("9 0", "a=rtpmap:9 G722/16000"), PCMU, 0),
        (("107 0",), PCMU, 0),
    ],
)
def test_wideband(lines: tuple[str, ...], codec: Codec, payload_type: int) -> None:
    wide_first = replace(WIDE, codecs=(OPUS, G722, PCMU))
    result = answer(offered(f"m=audio 5000 RTP/AVP {lines[0]}", *lines[1:]), wide_first)
    assert (result.codec, result.payload_type) == (codec, payload_type)
    assert result.receive == ((payload_type, codec),)


def test_what_costs_least_is_taken_though_the_offerer_has_it_last() -> None:
    lines = ("m=audio 5000 RTP/AVP 96 9 8 0", "a=rtpmap:96 opus/48000/2")
    assert answer(offered(*lines), WIDE).codec == PCMA
    assert answer(offered(*lines), replace(WIDE, codecs=(G722, PCMU))).codec == G722


@pytest.mark.parametrize(
    ("events", "chosen"),
    [
        (("101 8000", "102 48000"), EventType(102, 48000)),
        (("101 8000",), EventType(101, 8000)),  # phones that learned Opus late
        (("101 16000",), None),
    ],
)
def test_telephone_events_beside_opus(events: tuple[str, ...], chosen: EventType | None) -> None:
    pairs = [event.split() for event in events]
    maps = [f"a=rtpmap:{number} telephone-event/{clock}" for number, clock in pairs]
    numbers = " ".join(number for number, _ in pairs)
    result = answer(
        offered(f"m=audio 5000 RTP/AVP 96 {numbers}", "a=rtpmap:96 opus/48000/2", *maps), WIDE
    )
    assert result.events == chosen
    assert result.receive_events == ((chosen,) if chosen else ())


@pytest.mark.parametrize(
    ("lines", "mux", "rtcp"),
    [
        ((), False, ("192.0.2.7", 5001)),
        (("a=rtcp-mux",), True, ("192.0.2.7", 5000)),
        (("a=rtcp-mux", "a=rtcp:6000"), True, ("192.0.2.7", 5000)),
        (("a=rtcp:6000",), False, ("192.0.2.7", 6000)),
        (("a=rtcp:6000 IN IP4 192.0.2.8",), False, ("192.0.2.8", 6000)),
        (("a=rtcp:9 IN IP4 0.0.0.0",), False, None),
        (("a=rtcp:99999",), False, None),
        (("a=rtcp:9 IN IP4 <evil>",), False, None),
        (("a=rtcp:x",), False, ("192.0.2.7", 5001)),
        (("c=IN IP4 0.0.0.0",), False, None),
        (("c=IN IP6 ::",), False, None),
    ],
)
def test_where_rtcp_goes(lines: tuple[str, ...], mux: bool, rtcp: tuple[str, int] | None) -> None:
    result = answer(offered("m=audio 5000 RTP/AVP 0", *lines), LOCAL)
    assert (result.rtcp_mux, result.rtcp_remote) == (mux, rtcp)
    assert (("rtcp-mux", None) in parse_sdp(result.body).media[0].attributes) is mux


def test_mux_is_ours_to_offer() -> None:
    result = offer(LOCAL).accept(offered("m=audio 5000 RTP/AVP 0", "a=rtcp-mux"))
    assert (result.rtcp_mux, result.rtcp_remote) == (False, ("192.0.2.7", 5001))


def test_no_rtcp_above_the_last_port() -> None:
    assert answer(offered("m=audio 65535 RTP/AVP 0"), LOCAL).rtcp_remote is None


def test_we_may_ask_for_longer_packets_and_hold_from_the_start() -> None:
    local = replace(LOCAL, ptime=40, direction=Direction.SENDONLY)
    result = answer(offered("m=audio 5000 RTP/AVP 0", "a=ptime:10"), local)
    assert result.ptime == 10
    assert result.direction is Direction.SENDONLY
    attributes = parse_sdp(result.body).media[0].attributes
    assert ("ptime", "40") in attributes
    assert ("sendonly", None) in attributes


@given(st.binary(max_size=120))
def test_any_bytes_raise_only_the_peers_error(data: bytes) -> None:
    sdp = offered("m=audio 5000 RTP/AVP 0 101", *EVENTS) + data
    with suppress(SdpError):
        result = answer(sdp, LOCAL)
        assert len(parse_sdp(result.body).media) == len(parse_sdp(sdp).media)
