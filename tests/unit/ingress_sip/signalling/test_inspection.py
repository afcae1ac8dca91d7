"""What a UAS refuses before anything else, and how responses are built."""

from __future__ import annotations

import pytest

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.inspection import inspect, sdp_of
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.replies import build_response
from ingress_sip.signalling.uri import parse_uri

ALLOW = ("INVITE", "ACK", "OPTIONS")


def a_request(
    *headers: tuple[str, str], method: str = "INVITE", uri: str = "sip:a@b", body: bytes = b""
) -> Request:
    return Request(method, parse_uri(uri), headers=Headers(headers), body=body)


@pytest.mark.parametrize(
    "request_",
    [
        a_request(),
        a_request(uri="tel:+123"),
        a_request(uri="sips:a@b"),
        a_request(("Require", "known")),
        a_request(("Require", "unknown"), method="ACK"),
        a_request(body=b"sdp without a type"),
        a_request(("Content-Type", "Application/SDP; charset=x"), body=b"x"),
        a_request(("Content-Encoding", "identity"), body=b"x"),
        a_request(("Content-Type", "text/html"), method="OPTIONS", body=b"x"),
        a_request(("Content-Type", "text/html")),
        a_request(("Accept", "text/html"), ("Accept", "Application/SDP;level=1")),
        a_request(("Accept", "text/html, */*;q=0.1")),
        a_request(("Accept", "")),
        a_request(("Accept", "text/html"), method="OPTIONS"),
        a_request(
            ("Content-Type", "text/html"),
            ("Content-Disposition", "render; handling = optional"),
            body=b"x",
        ),
    ],
)
def test_taken(request_: Request) -> None:
    inspect(request_, ALLOW, ("known",))


@pytest.mark.parametrize(
    ("request_", "status", "header"),
    [
        (a_request(method="MESSAGE"), 405, ("Allow", "INVITE, ACK, OPTIONS")),
        (a_request(method="invite"), 501, ("Allow", "INVITE, ACK, OPTIONS")),
        (a_request(uri="https://b"), 416, None),
        (a_request(("Require", "known, x"), ("Require", "y")), 420, ("Unsupported", "x, y")),
        (a_request(("c", "text/html"), body=b"x"), 415, ("Accept", "application/sdp")),
        (a_request(("e", "gzip"), body=b"x"), 415, ("Accept-Encoding", "identity")),
        (a_request(("Require", "a b")), 400, None),
        (
            a_request(("Accept", "text/html")),
            406,
            ("Warning", '399 trunkline "Answers are application/sdp"'),
        ),
    ],
)
def test_refused(request_: Request, status: int, header: tuple[str, str] | None) -> None:
    with pytest.raises(SipError) as caught:
        inspect(request_, ALLOW, ("known",))
    assert caught.value.status == status
    assert caught.value.headers == ((header,) if header else ())


def test_only_sdp_is_an_offer() -> None:
    assert sdp_of(a_request(body=b"x")) == b"x"
    assert sdp_of(a_request(("c", "text/html"), body=b"x")) == b""


def test_a_timestamp_comes_back_in_the_100_only() -> None:
    request = a_request(("Timestamp", "54.3"))
    assert build_response(request, 100).headers.get("Timestamp") == "54.3"
    assert build_response(request, 180).headers.get("Timestamp") is None


def test_a_tag_is_added_only_where_there_is_none() -> None:
    for to, answered in (("<sip:a@b>", "<sip:a@b>;tag=t"), ("<sip:a@b>;tag=x", "<sip:a@b>;tag=x")):
        response = build_response(a_request(("To", to)), 200, to_tag="t")
        assert response.headers.get("To") == answered
