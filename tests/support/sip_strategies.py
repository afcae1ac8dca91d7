"""Strategies for SIP: URIs, fields and messages as values, and as bytes in other spellings."""

from __future__ import annotations

import re
import string

from hypothesis import strategies as st

from ingress_sip.signalling.fields import NameAddr, Via
from ingress_sip.signalling.headers import COMPACT_FORMS, Headers
from ingress_sip.signalling.message import Message, Request, Response
from ingress_sip.signalling.parameters import Parameters
from ingress_sip.signalling.uri import SipUri, TelUri

TOKEN = st.text(string.ascii_letters + string.digits + "-.!%*_+`'~", min_size=1, max_size=12)
HOST = st.from_regex(
    r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,3}|\[2001:db8::[0-9a-f]{1,4}\]", fullmatch=True
)
PORT = st.none() | st.integers(1, 65535)
# Any text that a header field can hold: what the wire could bring, line ends apart.
TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40)
VALUE = TEXT.map(lambda text: text.strip(" \t"))
PLAIN = st.text(string.ascii_letters + string.digits + "-.!*_+'~", min_size=1, max_size=10)
QUOTED = st.text(
    st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cs"]), max_size=10
).map(lambda text: f'"{text}"')
PARAMS = st.lists(st.tuples(PLAIN, st.none() | PLAIN | QUOTED), max_size=4).map(
    lambda items: Parameters(tuple(items))
)
URI_PARAMS = st.lists(st.tuples(PLAIN, st.none() | PLAIN), max_size=3).map(
    lambda items: Parameters(tuple(items))
)
USER = st.text(string.ascii_letters + string.digits + "-_.!~*'()&=+$,;?/%", min_size=1, max_size=12)
SIP_URIS = st.builds(
    SipUri,
    st.sampled_from(["sip", "sips"]),
    st.none() | USER,
    HOST,
    PORT,
    URI_PARAMS,
    st.sampled_from(["", "Subject=x&Route=%3Csip:a%3E"]),
)
TEL_URIS = st.builds(TelUri, st.from_regex(r"\+?[0-9\-.()]{1,12}", fullmatch=True), URI_PARAMS)
NAME_ADDRS = st.builds(NameAddr, SIP_URIS | TEL_URIS, st.just("") | QUOTED | PLAIN, PARAMS)
VIAS = st.builds(Via, st.sampled_from(["UDP", "TCP", "TLS"]), HOST, PORT, PARAMS)
METHOD = st.sampled_from(["INVITE", "OPTIONS", "BYE", "x-Strange.1"])


def _headers(draw: st.DrawFn, method: str) -> Headers:
    extra = draw(st.lists(st.tuples(TOKEN.map(lambda t: f"X-{t}"), VALUE), max_size=5))
    return Headers(
        [
            *(("Via", str(via)) for via in draw(st.lists(VIAS, min_size=1, max_size=3))),
            ("From", str(draw(NAME_ADDRS))),
            ("To", str(draw(NAME_ADDRS))),
            ("Call-ID", draw(TOKEN)),
            ("CSeq", f"{draw(st.integers(0, 2**31 - 1))} {method}"),
            *extra,
        ]
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    method = draw(METHOD)
    body = draw(st.binary(max_size=60))
    return Request(method, draw(SIP_URIS | TEL_URIS), headers=_headers(draw, method), body=body)


@st.composite
def responses(draw: st.DrawFn) -> Response:
    reason = draw(st.text(string.ascii_letters + " é", max_size=20))
    headers = _headers(draw, draw(METHOD))
    return Response(
        draw(st.integers(100, 699)), reason, headers=headers, body=draw(st.binary(max_size=60))
    )


_SHORT = {name: letter for letter, name in COMPACT_FORMS.items()}


@st.composite
def respelled(draw: st.DrawFn, message: Message) -> bytes:
    """The octets of `message` as another implementation might have written them.

    Names come long, compact or in odd case, with blanks around the colon; lines are folded where
    they have a blank; Vias share a line or have one each; line ends may be bare, the length left
    out.
    """
    end = draw(st.sampled_from(["\r\n", "\n"]))
    start, *_ = message.encode().decode("utf-8", "surrogateescape").split("\r\n", 1)
    lines = [start]
    vias = message.headers.get_all("Via")
    if draw(st.booleans()):
        lines += [_respell(draw, "Via", ",".join(vias), end)]
    else:
        lines += [_respell(draw, "Via", via, end) for via in vias]
    others = [item for item in message.headers if item[0] != "Via"]
    if draw(st.booleans()):
        others.append(("Content-Length", str(len(message.body))))
    lines += [_respell(draw, name, value, end) for name, value in others]
    return end.join([*lines, "", ""]).encode("utf-8", "surrogateescape") + message.body


def _respell(draw: st.DrawFn, name: str, value: str, end: str) -> str:
    names = [name, name.lower(), name.upper()]
    if name in _SHORT:
        names += [_SHORT[name], _SHORT[name].upper()]
    blanks = ["", " ", "\t", "  "]
    spelled = draw(st.sampled_from(names))
    before, after = draw(st.sampled_from(blanks)), draw(st.sampled_from([*blanks, f"{end} "]))
    if draw(st.booleans()):
        value = _fold(value, end)
    return f"{spelled}{before}:{after}{value}{draw(st.sampled_from(blanks))}"


def _fold(value: str, end: str) -> str:
    """Break the line at its single blanks: a fold reads as one blank (7.3.1)."""
    return re.sub(r"(?<![ \t]) (?![ \t])", f"{end}\t ", value)
