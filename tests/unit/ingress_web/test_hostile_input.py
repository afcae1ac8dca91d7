"""Whatever comes, it is read or refused: nothing else is raised."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_web.carriers import twiml
from ingress_web.carriers.twilio_fields import read_dialled, read_offer, read_status
from ingress_web.forms import FormError, read_form
from ingress_web.proxies import Proxies, UrlError
from ingress_web.tokens import StreamTokens, TokenError
from tests.support.twilio import ACCOUNT, CALL, fields

_NAMES = st.sampled_from([*fields(), "DialCallStatus", "SipResponseCode", "SipHeader_X", "Other"])


@given(st.binary(max_size=300))
def test_any_body_is_a_form_or_none(body: bytes) -> None:
    with suppress(FormError):
        read_form(body)


@given(st.dictionaries(_NAMES, st.text(max_size=40)), st.text(max_size=60))
def test_any_fields_are_a_call_or_none(changes: dict[str, str], query: str) -> None:
    form = {**fields(), **changes}
    with suppress(UrlError, FormError):
        url = Proxies("https://x.example").url("http", "/twilio/voice?" + query, {}, "192.0.2.1")
        offer, _ = read_offer(form, url, "192.0.2.1")
        assert isinstance(offer.number, str)
        ET.fromstring(twiml.connect(url.base, url.base, offer.parameters, "t"))
    for read in (read_status, read_dialled):
        with suppress(FormError):
            read(form)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=40))
def test_parameters_come_out_of_the_xml_as_they_went_in(parameters: dict[str, str]) -> None:
    form = {**fields(), **{f"SipHeader_{name}": value for name, value in parameters.items()}}
    url = Proxies("https://x.example").url("http", "/twilio/voice", {}, "192.0.2.1")
    offer, _ = read_offer(form, url, "192.0.2.1")
    document = ET.fromstring(twiml.connect(url.base, url.base, offer.parameters))
    said = {one.attrib["name"]: one.attrib["value"] for one in document.iter("Parameter")}
    assert said == offer.parameters


@given(st.text(max_size=300))
def test_any_word_is_no_token(token: str) -> None:
    with pytest.raises(TokenError):
        StreamTokens("key").redeem(token, CALL, ACCOUNT)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_host_is_one_or_none(host: str, proto: str, client: str) -> None:
    proxies = Proxies(None, ("127.0.0.0/8",))
    headers = {"X-Forwarded-Host": host, "X-Forwarded-Proto": proto, "X-Forwarded-For": client}
    proxies.client(headers, "127.0.0.1")
    with suppress(UrlError):
        assert str(proxies.url("http", "/x", headers, "127.0.0.1")).endswith("/x")


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_target_makes_one_dial_or_none(target: str, caller_id: str) -> None:
    with suppress(ValueError):
        document = ET.fromstring(twiml.dial("https://x.example/", target, caller_id=caller_id))
        assert [one.tag for one in document.iter()][:2] == ["Response", "Dial"]
        assert len(list(document.iter())) == 3
