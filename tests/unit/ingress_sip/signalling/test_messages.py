"""Reading and writing messages: what is written reads back the same, and nothing else raises."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.fields import CSeq, NameAddr, Via, parse_tokens
from ingress_sip.signalling.headers import COMPACT_FORMS, Headers
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parameters import Parameters
from ingress_sip.signalling.parse import MAX_FIELDS, MalformedRequestError, parse_datagram
from ingress_sip.signalling.uri import OtherUri, SipUri, Uri, parse_uri
from tests.support.sip_strategies import (
    HOST,
    NAME_ADDRS,
    SIP_URIS,
    TEL_URIS,
    TEXT,
    TOKEN,
    VIAS,
    requests,
    respelled,
    responses,
)


@given(requests() | responses())
def test_what_is_written_reads_back_the_same(message: Request | Response) -> None:
    assert parse_datagram(message.encode()) == message


@given(st.data(), requests() | responses())
def test_other_spellings_mean_the_same(data: st.DataObject, message: Request | Response) -> None:
    found = parse_datagram(data.draw(respelled(message)))
    assert type(found) is type(message)
    assert found is not None
    assert found.body == message.body
    assert found.via == message.via
    assert found.headers.get_list("Via") == message.headers.get_list("Via")
    for name in {name for name, _ in message.headers} - {"Via"}:
        assert found.headers.get_all(name) == message.headers.get_all(name)


@given(
    st.data(), st.sampled_from([*COMPACT_FORMS.items()]), st.lists(TOKEN, min_size=1, max_size=3)
)
def test_every_spelling_of_a_name_finds_the_same(
    data: st.DataObject, names: tuple[str, str], values: list[str]
) -> None:
    spellings = st.sampled_from([form for name in names for form in (name, name.upper())])
    headers = Headers((data.draw(spellings), value) for value in values)
    for name in names:
        assert headers.get_all(name.swapcase()) == tuple(values)
        assert headers.get(name) == values[0]
        assert name.title() in headers


@given(SIP_URIS | TEL_URIS)
def test_uris_read_back_the_same(uri: Uri) -> None:
    assert parse_uri(str(uri)) == uri


@given(NAME_ADDRS)
def test_name_addrs_read_back_the_same(value: NameAddr) -> None:
    assert NameAddr.parse(str(value)) == value


@given(VIAS)
def test_vias_read_back_the_same(via: Via) -> None:
    assert Via.parse(str(via)) == via


@given(TEXT)
def test_field_parsers_raise_only_the_peers_error(text: str) -> None:
    for parse in (Via.parse, NameAddr.parse, CSeq.parse, parse_uri, parse_tokens, Parameters.parse):
        with suppress(SipError):
            parse(text)


@given(
    st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: b"INVITE sip:a SIP/2.0\r\n" + b)
)
def test_any_bytes_raise_only_the_peers_error(data: bytes) -> None:
    try:
        message = parse_datagram(data)
    except SipError:
        return
    assert message is None or isinstance(message, Request | Response)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10), HOST)
def test_a_user_survives_its_escapes(user: str, host: str) -> None:
    uri = parse_uri(str(SipUri.of(host, user=user)))
    assert isinstance(uri, SipUri)
    assert uri.user == user


OPTIONS = (
    b"OPTIONS sip:bot@192.0.2.1 SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\n"
    b"f: <sip:alice@192.0.2.7>;tag=a\r\n"
    b"t: sip:bot@192.0.2.1\r\n"
    b"i: c1\r\n"
    b"CSeq: 1 OPTIONS\r\n"
)


def parse_request(data: bytes) -> Request:
    message = parse_datagram(data)
    assert isinstance(message, Request)
    return message


def test_compact_names_are_the_long_ones() -> None:
    request = parse_request(OPTIONS + b"\r\n")
    assert [name for name, _ in request.headers] == ["Via", "From", "To", "Call-ID", "CSeq"]
    assert request.headers.get("i") == request.headers.get("CALL-ID") == "c1"


def test_an_empty_supported_is_fine() -> None:
    assert parse_request(OPTIONS + b"Supported:\r\n\r\n").tokens("Supported") == ()


def test_empty_list_elements_are_none() -> None:
    headers = Headers([("Route", "<sip:a>,, <sip:b,c>"), ("Route", ""), ("Route", "<sip:d>")])
    assert headers.get_list("route") == ("<sip:a>", "<sip:b,c>", "<sip:d>")


def test_folds_become_one_space() -> None:
    request = parse_request(OPTIONS + b"Subject: one\r\n   two\r\n\tthree \r\n\r\n")
    assert request.headers.get("Subject") == "one two three"


def test_bare_line_feeds_are_line_ends() -> None:
    assert parse_request(OPTIONS.replace(b"\r\n", b"\n") + b"\nbody").body == b"body"


def test_content_length_cuts_the_body() -> None:
    assert parse_request(OPTIONS + b"l: 3\r\n\r\nabcdef").body == b"abc"
    assert parse_request(OPTIONS + b"\r\nabcdef").body == b"abcdef"


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\n"])
def test_keep_alives_are_nothing(data: bytes) -> None:
    assert parse_datagram(data) is None


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"l: 99\r\n", 400),
        (b"l: -1\r\n", 400),
        (b"l: 1\r\nl: 1\r\n", 400),
        (b"Max-Forwards: many\r\n", 400),
        (b"CSeq: 1 OPTIONS\r\n", 400),
        (b"no colon\r\n", 400),
        (b"X: a\rb\r\n", 400),
        (b"X: " + b"y" * 9000 + b"\r\n", 400),
        (b"X: y\r\n" * (MAX_FIELDS + 1), 400),
    ],
)
def test_refused_fields(extra: bytes, status: int) -> None:
    with pytest.raises(SipError) as caught:
        parse_datagram(OPTIONS + extra + b"\r\n")
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"OPTIONS  sip:bot@192.0.2.1 SIP/2.0", 400),
        (b"OPTIONS sip:bot@192.0.2.1 SIP/2.0 ", 400),
        (b"OPTIONS <sip:bot@192.0.2.1> SIP/2.0", 400),
        (b"OPTIONS sip:bot@192.0.2.1 SIP/7.0", 505),
        (b"INVITE sip:bot@192.0.2.1 SIP/2.0", 400),  # the CSeq says OPTIONS
    ],
)
def test_refused_request_lines_can_be_answered(line: bytes, status: int) -> None:
    with pytest.raises(MalformedRequestError) as caught:
        parse_datagram(line + OPTIONS[OPTIONS.index(b"\r\n") :] + b"\r\n")
    assert caught.value.status == status
    assert caught.value.request_headers.get("Call-ID") == "c1"


def test_nobody_answers_a_malformed_ack_or_response() -> None:
    rest = OPTIONS[OPTIONS.index(b"\r\n") :] + b"\r\n"
    for line in (b"ACK sip:bot SIP/2.0", b"ACK", b"ACK\tsip:bot SIP/2.0", b"SIP/2.0 99999 Big"):
        with pytest.raises(SipError) as caught:
            parse_datagram(line + rest)
        assert not isinstance(caught.value, MalformedRequestError)


def test_our_values_cannot_break_out_of_their_line() -> None:
    with pytest.raises(LocalProtocolError):
        Headers([("Reason", "x\r\nVia: evil")])
    with pytest.raises(LocalProtocolError):
        Response(486, "Busy\r\nVia: evil").encode()


def test_user_parameters_and_escapes_stay_in_the_user() -> None:
    uri = parse_uri("sip:user;par=u%40example.net@example.com;lr")
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host) == ("user;par=u@example.net", "example.com")
    assert "lr" in uri.params
    assert parse_uri("tel:+49-30-(12)34").user == "+49301234"
    assert parse_uri("news:comp.dcom") == OtherUri("news", "comp.dcom")


def test_addresses() -> None:
    assert SipUri.of("2001:db8::1", 5062).address == ("2001:db8::1", 5062)
    assert str(SipUri.of("2001:db8::1", 5062)) == "sip:[2001:db8::1]:5062"
    assert SipUri("sips", None, "a.example").address == ("a.example", 5061)


@pytest.mark.parametrize(
    ("host", "read"),
    [
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        ("[2001:db8:::192.0.2.1]", "[2001:db8::192.0.2.1]"),  # RFC 5118 4.10
        ("[2001:db8:::10]", None),
        ("[2001:db8::1:::192.0.2.1]", None),
        ("[:::::]", None),
        ("[192.0.2.1]", None),
        ("2001:db8::10", None),
    ],
)
def test_ipv6_hosts(host: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(SipError):
            parse_uri(f"sip:{host}")
    else:
        assert parse_uri(f"sip:{host}:5070") == SipUri("sip", None, read, 5070)


def test_display_names() -> None:
    assert NameAddr.parse(r'"A \"B\" C" <sip:a@b>').display_name == 'A "B" C'
    assert NameAddr.parse("Jörg M. <sip:a@b>").display_name == "Jörg M."
    unbracketed = NameAddr.parse("sip:a@b;tag=1")
    assert unbracketed.tag == "1"
    assert str(unbracketed.uri) == "sip:a@b"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP 192.0.2.15"),
        ('SIP/2.0/UDP a:62;="y;Branch = z9hG4bK1;rport', "SIP/2.0/UDP a:62;branch=z9hG4bK1;rport"),
        ("SIP/2.0/UDP a;branch=z9hG4bK1\x00;rport=<", "SIP/2.0/UDP a;branch=z9hG4bK1;rport"),
        ("SIP/2.0/UDP a" + ";branch=z9hG4bK1" * 300, "SIP/2.0/UDP a;branch=z9hG4bK1"),
    ],
)  # fmt: skip
def test_what_can_be_read_of_a_malformed_via(text: str, read: str) -> None:
    with pytest.raises(SipError):
        parse_datagram(OPTIONS.replace(b"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1", text.encode()))
    assert str(Via.salvage(text)) == read
    for hopeless in ("", "SIP/2.0/UDP", "SIP/2.0/UDP ;branch=z9hG4bK1", "UDP 192.0.2.15"):
        with pytest.raises(SipError):
            Via.salvage(hopeless)


def test_a_via_says_where_it_was_received_from() -> None:
    via = Via.parse("SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKx;rport")
    noted = via.received_from("192.0.2.9", 4000)
    assert str(noted) == ("SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKx;rport=4000;received=192.0.2.9")
    plain = Via.parse("SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bK")
    assert plain.received_from("192.0.2.9", 4000) == plain
    assert plain.branch is None  # the cookie alone names nothing
