"""A byte stream is cut into the same messages however it was split, and nothing else is raised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.parse import MAX_MESSAGE, MalformedRequestError, parse_datagram
from ingress_sip.signalling.stream import MAX_HEAD, KeepAlive, StreamReader

PING, PONG = KeepAlive.PING, KeepAlive.PONG
FIELDS = (
    "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKa",
    "From: <sip:a@example.com>;tag=1",
    "To: <sip:b@example.com>",
    "Call-ID: 1",
    "CSeq: 1 OPTIONS",
)
Cut = list[bytes | KeepAlive]


def message(
    *fields: str,
    start: str = "OPTIONS sip:b@example.com SIP/2.0",
    body: bytes = b"",
    end: str = "\r\n",
) -> bytes:
    return (end.join((start, *FIELDS, *fields)) + 2 * end).encode() + body


def cut(pieces: Iterable[bytes]) -> tuple[Cut, SipError | None]:
    """What comes out of a stream that arrives in these pieces, and what ends it."""
    reader = StreamReader()
    out: Cut = []
    for piece in pieces:
        try:
            for item in reader.feed(piece):
                out.append(item)
        except SipError as error:
            return out, error
    return out, None


def split(data: bytes, at: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


WHOLE = [
    message("Content-Length: 0"),
    message("l:5", body=b"a\r\n\r\n"),
    message("CONTENT-length \t:\t 3 ", body=b"SIP"),
    message("Content-Length:\r\n 2", body=b"\r\n"),
    message("Subject: x\r\n l: 7", "L: 1", body=b"x"),
    message("Content-Length: 4", body=b"\0\xff\n\n", end="\n"),
    message("Content-Length: 0", start="SIP/2.0 200 OK"),
]


def test_what_is_whole_comes_out_and_the_parser_takes_it() -> None:
    out, error = cut([b"".join(WHOLE)])
    assert out == WHOLE
    assert error is None
    assert all(parse_datagram(data) is not None for data in WHOLE)


def test_octet_by_octet() -> None:
    stream = b"".join(WHOLE)
    assert cut(stream[i : i + 1] for i in range(len(stream))) == (WHOLE, None)


PIECES = st.lists(
    st.sampled_from([*WHOLE, b"\r\n", b"\r\n\r\n", b"\n"]) | st.binary(max_size=30), max_size=8
).map(b"".join)


@given(PIECES, st.lists(st.integers(0, 5_000), max_size=12))
def test_any_split_of_anything_is_cut_the_same(stream: bytes, at: list[int]) -> None:
    whole, error = cut([stream])
    parts, same = cut(split(stream, at))
    assert parts == whole
    assert repr(same) == repr(error)


@given(st.binary(max_size=400))
def test_any_octets_raise_only_the_peers_error(garbage: bytes) -> None:
    cut([garbage])
    cut([b"OPTIONS sip:b SIP/2.0\r\n" + garbage, garbage])
    cut([message("l: 3") + garbage, garbage])


def test_keep_alives_are_told_apart_from_the_blank_lines_of_one() -> None:
    assert cut([b"\r\n"])[0] == [PONG]
    assert cut([b"\r\n\r\n"])[0] == [PONG, PING]
    assert cut([b"\r", b"\n\r", b"\n"])[0] == [PONG, PING]
    between = cut([WHOLE[0] + b"\r\n" + WHOLE[1] + b"\r\n"])[0]
    assert between == [WHOLE[0], PONG, WHOLE[1], PONG]


def test_whether_a_message_has_begun() -> None:
    reader = StreamReader()
    assert list(reader.feed(b"\r\n")) == [PONG]
    assert not reader.is_mid_message
    assert not list(reader.feed(WHOLE[0][:-1]))
    assert reader.is_mid_message
    assert list(reader.feed(b"\n")) == [WHOLE[0]]
    assert not reader.is_mid_message


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ((), 400, "Missing Content-Length"),
        (("Content-Length: 0", "l: 0"), 400, "Repeated Content-Length"),
        (("Content-Length: -1",), 400, "Bad Content-Length"),
        (("Content-Length: 5 5",), 400, "Bad Content-Length"),
        (("Content-Length: ٣",), 400, "Bad Content-Length"),
        (("Content-Length: 99999999999999999999999",), 400, "Bad Content-Length"),
        ((f"Content-Length: {MAX_MESSAGE}",), 513, "Message Too Large"),
    ],
)
def test_a_request_that_cannot_be_cut_is_answered_and_ends_the_stream(
    fields: tuple[str, ...], status: int, reason: str
) -> None:
    out, error = cut([WHOLE[0] + message(*fields) + WHOLE[0]])
    assert out == [WHOLE[0]]
    assert isinstance(error, MalformedRequestError)
    assert (error.status, error.reason) == (status, reason)
    assert error.request_headers.get("Call-ID") == "1"


@pytest.mark.parametrize("start", ["SIP/2.0 200 OK", "ACK sip:b@example.com SIP/2.0"])
def test_a_response_or_an_ack_that_cannot_be_cut_has_no_answer(start: str) -> None:
    data = message(start=start).replace(b"1 OPTIONS", b"1 ACK" if "ACK" in start else b"1 BYE")
    _, error = cut([data])
    assert error is not None
    assert not isinstance(error, MalformedRequestError)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",  # a TLS hello
        b"GET / HTTP/1.1\r\n",
        b"x" * 100,
        b" OPTIONS sip:b SIP/2.0\r\n",
        b"OPTIONS " + b"x" * 9_000,
    ],
)
def test_what_is_no_sip_is_known_by_its_first_line(data: bytes) -> None:
    assert repr(cut([data])[1]) == repr(SipError(400, "Not SIP"))


def test_a_head_without_end_is_not_waited_for() -> None:
    endless = b"OPTIONS sip:b SIP/2.0\r\n" + b"X: y\r\n" * (MAX_HEAD // 6)
    _, error = cut(split(endless, range(0, len(endless), 1_000)))
    assert error is not None
    assert error.status == 513


def test_the_largest_message_is_taken_and_none_that_is_larger() -> None:
    head = len(message("Content-Length: 65000"))
    largest = message(f"Content-Length: {MAX_MESSAGE - head}", body=b"x" * (MAX_MESSAGE - head))
    assert len(largest) == MAX_MESSAGE
    assert cut(split(largest, range(0, MAX_MESSAGE, 1_460)))[0] == [largest]
    _, error = cut([message(f"Content-Length: {MAX_MESSAGE - head + 1}")])
    assert error is not None
    assert error.status == 513


def test_a_stream_that_is_over_stays_over() -> None:
    reader = StreamReader()
    for data in (b"\x16", WHOLE[0]):
        with pytest.raises(SipError, match="Not SIP"):
            list(reader.feed(data))
    assert not reader.is_mid_message
