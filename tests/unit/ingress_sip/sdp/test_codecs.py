"""Payload type numbers of our own: preferred ones, and what happens when they are taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.sdp.codecs import CODECS, OPUS, PCMU, EventType, Formats, offered_formats
from ingress_sip.sdp.session import Media


def line(maps: dict[int, str]) -> Media:
    return Media(
        "audio",
        5000,
        "RTP/AVP",
        tuple(str(number) for number in maps),
        attributes=tuple(("rtpmap", f"{number} {said}") for number, said in maps.items()),
    )


def test_a_taken_number_gives_way_to_the_first_free_one() -> None:
    said = line({111: "speex/8000", 96: "speex/16000", 97: "speex/32000"})
    assert offered_formats((OPUS,), [said]) == Formats(((98, OPUS),), (EventType(110, 48000),))


def test_what_is_meant_for_events_is_not_given_to_a_codec() -> None:
    said = line({number: f"speex/{number}" for number in (*range(96, 110), 111)})
    assert offered_formats((OPUS,), [said]) == Formats(((112, OPUS),), (EventType(110, 48000),))


def test_what_was_said_first_counts() -> None:
    ours, theirs = line({100: "opus/48000/2"}), line({96: "opus/48000/2"})
    assert offered_formats((OPUS,), [ours, theirs]).codecs == ((100, OPUS),)


@given(st.dictionaries(st.integers(0, 127), st.sampled_from(["PCMU/8000", "x/1", "opus/48000/2"])))
def test_numbers_keep_their_meaning_and_are_one_each(maps: dict[int, str]) -> None:
    said = line(maps)
    formats = offered_formats(CODECS, [said])
    free = set(range(96, 128)) - maps.keys()
    if len(free) < 8:
        return
    assert len(set(formats.numbers())) == len(formats.numbers())
    for number, codec in formats.codecs:
        assert maps.get(number, codec.name).partition("/")[0] == codec.name
    assert all(event.payload_type not in maps for event in formats.events)


def test_a_line_reads_as_it_was_written() -> None:
    formats = offered_formats((PCMU, OPUS))
    media = Media("audio", 9, "RTP/AVP", formats.numbers(), None, tuple(formats.attributes()))
    assert Formats.of(media, CODECS) == formats
