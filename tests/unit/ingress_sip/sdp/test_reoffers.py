"""Offers in mid-call, of either side: what may change, and what has to stay (RFC 3264 8)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.codecs import CODECS, G722, OPUS, PCMA, PCMU
from ingress_sip.sdp.direction import Direction
from ingress_sip.sdp.offer_answer import LocalMedia, Negotiated, answer, offer
from ingress_sip.sdp.session import SdpError, parse_sdp

LOCAL = LocalMedia("192.0.2.1", 40000, session_id=7)
PEER = LocalMedia("192.0.2.7", 5000, session_id=9)
HEAD = "v=0\r\no=- 1 2 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
AUDIO = ("m=audio 5000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000")
DIRECTIONS = st.sampled_from(Direction)


def sdp(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


def version(body: bytes) -> int:
    return parse_sdp(body).origin.version


@pytest.fixture
def agreed() -> Negotiated:
    return answer(sdp("m=video 5002 RTP/AVP 31", *AUDIO), LOCAL)


def test_a_refresh_repeats_the_description(agreed: Negotiated) -> None:
    again = agreed.offer_again()
    assert again.body == agreed.body
    refreshed = again.accept(sdp("m=video 0 RTP/AVP 31", *AUDIO))
    assert refreshed == replace(agreed, theirs=refreshed.theirs)
    assert refreshed.offer_again().body == agreed.body


def test_the_answer_to_a_refresh_is_the_same_again(agreed: Negotiated) -> None:
    assert agreed.answer(sdp("m=video 5002 RTP/AVP 31", *AUDIO)) == agreed


def test_hold_and_resume_of_ours(agreed: Negotiated) -> None:
    hold = agreed.offer_again(direction=Direction.SENDONLY)
    said = parse_sdp(hold.body)
    assert [(m.kind, m.port) for m in said.media] == [("video", 0), ("audio", 40000)]
    assert said.media[1].formats == ("8", "96")
    assert said.media[1].attributes[-1] == ("sendonly", None)
    assert said.origin == replace(parse_sdp(agreed.body).origin, version=2)

    held = hold.accept(sdp("m=video 0 RTP/AVP 31", *AUDIO, "a=recvonly"))
    assert held.direction is Direction.SENDONLY

    # The peer's own offers do not end our hold.
    offered = held.answer(sdp("m=video 0 RTP/AVP 31", *AUDIO))
    assert offered.direction is Direction.SENDONLY
    both = held.answer(sdp("m=video 0 RTP/AVP 31", *AUDIO, "a=sendonly"))
    assert both.direction is Direction.INACTIVE

    # When we resume, the peer may hold us still.
    resumed = both.offer_again(direction=Direction.SENDRECV)
    assert version(resumed.body) == 4
    answered = resumed.accept(sdp("m=video 0 RTP/AVP 31", *AUDIO, "a=sendonly"))
    assert answered.direction is Direction.RECVONLY
    assert answered.answer(sdp(*AUDIO)).direction is Direction.SENDRECV


def test_what_we_want_may_come_as_a_whole(agreed: Negotiated) -> None:
    wanted = replace(LOCAL, direction=Direction.INACTIVE)
    pending = agreed.offer_again(wanted)
    assert pending.body == agreed.offer_again(direction=Direction.INACTIVE).body
    # Of a peer's hold a mere move says nothing: it is told again as it was.
    held = agreed.answer(sdp("m=video 0 RTP/AVP 31", *AUDIO, "a=sendonly"))
    moved = parse_sdp(held.offer_again(replace(LOCAL, port=41000)).body)
    assert moved.media[1].attributes[-1] == ("recvonly", None)


def test_a_peer_that_does_not_understand_hold_is_on_hold(agreed: Negotiated) -> None:
    hold = agreed.offer_again(direction=Direction.SENDONLY)
    held = hold.accept(sdp("m=video 0 RTP/AVP 31", *AUDIO, "a=sendrecv"))
    assert held.direction is Direction.SENDONLY


@given(ours=DIRECTIONS, theirs=DIRECTIONS)
def test_both_sides_see_the_same_direction(ours: Direction, theirs: Direction) -> None:
    called = answer(offer(PEER).body, LOCAL)
    calling = offer(PEER).accept(called.body)
    pending = called.offer_again(direction=ours)
    calling = calling.answer(pending.body, replace(PEER, direction=theirs))
    called = pending.accept(calling.body)
    assert called.direction is (ours & theirs.mirrored)
    assert calling.direction is called.direction.mirrored


def test_a_refused_offer_leaves_the_session_and_spends_its_version(agreed: Negotiated) -> None:
    hold = agreed.offer_again(direction=Direction.SENDONLY)
    after = agreed.withdrawn(hold)
    assert after.direction is Direction.SENDRECV
    assert after.offer_again().body == agreed.body
    assert version(after.offer_again(direction=Direction.INACTIVE).body) == 3
    assert agreed.withdrawn(agreed.offer_again()) == agreed


def test_we_move(agreed: Negotiated) -> None:
    moved = agreed.offer_again(replace(LOCAL, address="198.51.100.1", port=41000))
    said = parse_sdp(moved.body)
    assert (said.address, said.media[1].port, said.origin.version) == ("198.51.100.1", 41000, 2)
    assert said.origin.address == "192.0.2.1"  # o= names the session, not where the media are


def test_the_peer_moves_and_changes_codec(agreed: Negotiated) -> None:
    head = HEAD.replace("c=IN IP4 192.0.2.7", "c=IN IP4 198.51.100.7")
    moved = agreed.answer(sdp("m=video 0 RTP/AVP 31", "m=audio 6000 RTP/AVP 0", head=head))
    assert moved.remote == ("198.51.100.7", 6000)
    assert (moved.codec, moved.events) == (PCMU, None)
    assert version(moved.body) == 2


def test_the_line_in_use_goes_before_another_that_would_do_now() -> None:
    first = answer(sdp("m=audio 5000 RTP/AVP 18", "m=audio 5002 RTP/AVP 0"), LOCAL)
    again = first.answer(sdp("m=audio 5000 RTP/AVP 0", "m=audio 5002 RTP/AVP 0"))
    assert again.remote == ("192.0.2.7", 5002)
    assert [m.port for m in parse_sdp(again.body).media] == [0, 40000]


def test_lines_that_come_later_are_refused_and_stay(agreed: Negotiated) -> None:
    more = agreed.answer(sdp("m=video 0 RTP/AVP 31", *AUDIO, "m=image 5004 udptl t38"))
    pending = more.offer_again(direction=Direction.SENDONLY)
    said = [(m.kind, m.port, m.formats) for m in parse_sdp(pending.body).media]
    assert said == [("video", 0, ("31",)), ("audio", 40000, ("8", "96")), ("image", 0, ("t38",))]
    with pytest.raises(SdpError):
        pending.accept(sdp("m=video 0 RTP/AVP 31", *AUDIO))


def test_a_fax_is_refused_and_the_call_stays(agreed: Negotiated) -> None:
    with pytest.raises(SdpError) as caught:
        agreed.answer(sdp("m=video 0 RTP/AVP 31", "m=audio 0 RTP/AVP 8", "m=image 5004 udptl t38"))
    assert caught.value.status == 488


def test_an_offer_anew_names_all_codecs_under_numbers_that_keep_their_meaning() -> None:
    local = replace(LOCAL, codecs=CODECS)
    agreed = answer(
        sdp(
            "m=audio 5000 RTP/AVP 100 111 101",
            "a=rtpmap:100 opus/48000/2",
            "a=rtpmap:111 telephone-event/48000",
            "a=rtpmap:101 speex/8000",
        ),
        local,
    )
    assert (agreed.payload_type, agreed.events and agreed.events.payload_type) == (100, 111)
    [media] = parse_sdp(agreed.offer().body).media
    meanings = {n: (m.encoding, m.clock_rate) for n, m in media.rtpmaps().items()}
    assert meanings[100] == ("opus", 48000)
    assert meanings[111] == ("telephone-event", 48000)
    assert 101 not in meanings
    assert meanings[96] == ("telephone-event", 8000)
    assert media.formats == ("0", "8", "9", "100", "96", "111")


def test_a_number_of_ours_stays_where_the_peer_has_another() -> None:
    local = replace(LOCAL, codecs=(OPUS,))
    agreed = offer(local).accept(sdp("m=audio 5000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"))
    assert agreed.payload_type == 96
    assert parse_sdp(agreed.offer().body).media[0].formats == ("111", "110")


def test_other_codecs_of_ours_make_a_whole_new_offer(agreed: Negotiated) -> None:
    pending = agreed.offer_again(replace(LOCAL, codecs=(OPUS, G722, PCMA)))
    said = parse_sdp(pending.body)
    assert said.media[1].formats[1:3] == ("9", "8")
    assert said.media[1].rtpmaps()[96].encoding == "telephone-event"
    assert [m.kind for m in said.media] == ["video", "audio"]
