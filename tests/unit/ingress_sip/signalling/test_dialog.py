"""Routes, order and addresses of dialogs."""

from __future__ import annotations

import pytest

from ingress_sip.signalling.dialog import Dialog, DialogId
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import Via
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.routing import Hop, Transport, request_destination, response_destination
from ingress_sip.signalling.uri import SipUri, parse_uri

SOURCE = Hop(Transport.UDP, "192.0.2.7", 5060, flow=3)
OTHER = Hop(Transport.UDP, "192.0.2.8", 1)
CONTACT = "<sip:alice@192.0.2.7:5070>"


def an_invite(*extra: tuple[str, str], cseq: int = 5, contact: str = CONTACT) -> Request:
    headers = [
        ("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1"),
        ("From", "<sip:alice@example.com>;tag=a"),
        ("To", "<sip:bot@example.com>"),
        ("Call-ID", "c"),
        ("CSeq", f"{cseq} INVITE"),
        *([("Contact", contact)] if contact else []),
        *extra,
    ]
    return Request("INVITE", parse_uri("sip:bot@example.com"), headers=Headers(headers))


def a_dialog(*extra: tuple[str, str]) -> Dialog:
    dialog = Dialog.from_invite(an_invite(*extra), SOURCE, "b", SipUri.of("192.0.2.1", 5062))
    assert dialog.next_hop == SOURCE  # until the peer has had our answer
    dialog.vouched = True
    return dialog


def test_a_request_of_ours() -> None:
    dialog = a_dialog()
    assert dialog.id == DialogId("c", "b", "a")
    bye = dialog.request("BYE", "z9hG4bK2", (("Reason", "x"),))
    assert bye.encode().decode().split("\r\n") == [
        "BYE sip:alice@192.0.2.7:5070 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK2;rport",
        "Max-Forwards: 70",
        "From: <sip:bot@example.com>;tag=b",
        "To: <sip:alice@example.com>;tag=a",
        "Call-ID: c",
        "CSeq: 1 BYE",
        "Reason: x",
        "Content-Length: 0",
        "",
        "",
    ]
    assert dialog.next_hop == SOURCE._replace(port=5070)
    assert dialog.request("BYE", "z9hG4bK3").cseq.number == 2


def test_loose_routes_leave_the_request_uri_alone() -> None:
    dialog = a_dialog(("Record-Route", "<sip:192.0.2.20;lr>, <sip:192.0.2.30;lr>"))
    bye = dialog.request("BYE", "z9hG4bK2")
    assert str(bye.uri) == "sip:alice@192.0.2.7:5070"
    assert bye.headers.get_list("Route") == ("<sip:192.0.2.20;lr>", "<sip:192.0.2.30;lr>")
    assert dialog.next_hop == SOURCE._replace(host="192.0.2.20")


def test_a_strict_router_takes_the_request_uri() -> None:
    dialog = a_dialog(("Record-Route", "<sip:192.0.2.20>"), ("Record-Route", "<sip:192.0.2.30;lr>"))
    bye = dialog.request("BYE", "z9hG4bK2")
    assert str(bye.uri) == "sip:192.0.2.20"
    assert bye.headers.get_list("Route") == ("<sip:192.0.2.30;lr>", "<sip:alice@192.0.2.7:5070>")
    assert dialog.next_hop == SOURCE._replace(host="192.0.2.20")


def test_an_rfc_2543_peer_is_reached_at_its_from() -> None:
    dialog = Dialog.from_invite(an_invite(contact=""), SOURCE, "b", SipUri.of("192.0.2.1"))
    assert str(dialog.remote_target) == "sip:alice@example.com"


@pytest.mark.parametrize("contact", ["<tel:+123>", "<nonsense>", "<sip:a@b"])
def test_a_contact_that_cannot_be_reached_is_refused(contact: str) -> None:
    with pytest.raises(SipError) as caught:
        Dialog.from_invite(an_invite(contact=contact), SOURCE, "b", SipUri.of("192.0.2.1"))
    assert caught.value.status == 400


def test_lower_numbers_are_out_of_order() -> None:
    dialog = a_dialog()
    dialog.receive(an_invite(cseq=7), OTHER)
    assert dialog.source == OTHER
    with pytest.raises(SipError) as caught:
        dialog.receive(an_invite(cseq=6), SOURCE)
    assert caught.value.status == 500
    assert (dialog.source, dialog.remote_cseq) == (OTHER, 7)


@pytest.mark.parametrize(
    ("uri", "source", "destination"),
    [
        ("sip:a@192.0.2.9", "8.8.8.8", ("8.8.8.8", 999)),  # documentation addresses are private
        ("sip:a@9.9.9.9:5080", "8.8.8.8", ("9.9.9.9", 5080)),
        ("sip:a@10.0.0.1", "10.0.0.2", ("10.0.0.1", 5060)),
        ("sip:a@10.0.0.1", "8.8.8.8", ("8.8.8.8", 999)),
        ("sip:a@[2001:db8::1]:5080", "2001:db8::2", ("2001:db8::1", 5080)),
        ("sips:a@10.0.0.1", "10.0.0.2", ("10.0.0.1", 5061)),
        ("sip:a@phone.example.com", "10.0.0.2", ("10.0.0.2", 999)),
        ("sip:a@0.0.0.0", "10.0.0.2", ("10.0.0.2", 999)),
        ("sip:a@224.0.1.75", "10.0.0.2", ("10.0.0.2", 999)),
        ("tel:+123", "10.0.0.2", ("10.0.0.2", 999)),
    ],
)
def test_where_requests_go(uri: str, source: str, destination: tuple[str, int]) -> None:
    last = Hop(Transport.UDP, source, 999)
    hop = request_destination(parse_uri(uri), last)
    assert (hop.host, hop.port) == destination
    assert hop.transport is (Transport.TLS if uri.startswith("sips") else Transport.UDP)


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        # RFC 5923: the connection that is there, whatever port the peer dialled from.
        ("sip:a@10.0.0.1:5070;transport=tcp", Hop(Transport.TCP, "10.0.0.1", 5070, 7)),
        ("sip:a@10.0.0.2:5070;transport=tcp", Hop(Transport.TCP, "10.0.0.2", 5070)),
        ("sip:a@10.0.0.1:5061;transport=tls", Hop(Transport.TLS, "10.0.0.1", 5061)),
        ("sip:a@10.0.0.1", Hop(Transport.UDP, "10.0.0.1", 5060)),
        ("sip:a@10.0.0.1;transport=sctp", Hop(Transport.UDP, "10.0.0.1", 5060)),
        ("sip:a@phone.example.com", Hop(Transport.TCP, "10.0.0.1", 40000, 7)),
    ],
)
def test_a_connection_is_used_again(uri: str, hop: Hop) -> None:
    assert request_destination(parse_uri(uri), Hop(Transport.TCP, "10.0.0.1", 40000, 7)) == hop


@pytest.mark.parametrize(
    ("via", "destination"),
    [
        ("SIP/2.0/UDP 10.0.0.5:5070;rport", ("192.0.2.7", 999)),
        ("SIP/2.0/UDP 10.0.0.5:5070", ("192.0.2.7", 5070)),
        ("SIP/2.0/UDP 10.0.0.5;maddr=203.0.113.1", ("192.0.2.7", 5060)),
    ],
)
def test_where_responses_go(via: str, destination: tuple[str, int]) -> None:
    source = Hop(Transport.UDP, "192.0.2.7", 999, 3)
    hop = response_destination(Via.parse(via), source)
    assert hop == source._replace(host=destination[0], port=destination[1])


def test_a_response_takes_the_connection_or_the_port_in_the_via() -> None:
    """18.2.2: where the connection is gone by then, a new one to the sent-by port."""
    source = Hop(Transport.TCP, "192.0.2.7", 40000, 3)
    via = Via.parse("SIP/2.0/TCP 10.0.0.5:5070;rport")
    assert response_destination(via, source) == Hop(Transport.TCP, "192.0.2.7", 5070, 3)
