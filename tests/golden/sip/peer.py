"""The other side of a transcript: what its `>>` lines stand for.

`>> 180 Ringing to INVITE` answers the newest INVITE that the core sent; `>> BYE` is a request in
the call at hand (the first INVITE begins one). Words after that change it:

    tag=carol    the other side's tag: another phone, or another call. It stays so for what follows.
    cseq=7       the number of the request
    sdp          with a session description
    to-tag=none  without the To tag that would be there

Lines below it are header fields, each in place of one of that name, and after an empty line a body.
"""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.inspection import SDP
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri, parse_uri

Items = list[tuple[str, str]]


class Status(NamedTuple):
    code: int
    reason: str


DESCRIPTION = b"""v=0\r
o=peer 1 1 IN IP4 192.0.2.7\r
s=-\r
c=IN IP4 192.0.2.7\r
t=0 0\r
m=audio 49170 RTP/AVP 0\r
"""
_OURS = NameAddr.parse("<sip:bot@192.0.2.1>")
_THEIRS = NameAddr.parse("Alice <sip:alice@192.0.2.7>")


class Peer:
    """Writes what the other side says, by what the core sent it."""

    def __init__(self) -> None:
        self._branches = count(1)
        self._asked: dict[str, Request] = {}  # by the core, by method
        self._cseq = self._invite_cseq = 0
        self._invite_branch = ""
        self._invite_to = _OURS
        self._call_id = "call-1@192.0.2.7"
        self._ours, self._theirs = _OURS, _THEIRS
        self._tag = "alice"

    def hear(self, data: bytes) -> None:
        """Take note of what the core sent."""
        try:
            message = parse_datagram(data)
        except SipError:
            return  # it mirrors what was malformed
        if isinstance(message, Request):
            self._asked[message.method] = message
            if message.to.tag is None and message.method == "INVITE":
                self._call_id, self._cseq = message.call_id, 0
                self._ours, self._theirs, self._tag = message.from_, message.to, "bob"
        elif isinstance(message, Response) and message.cseq.method == "INVITE":
            self._ours = message.to if 100 < message.status < 300 else self._ours

    def say(self, block: str, hop: Hop) -> bytes:
        """The datagram that a `>>` block stands for, sent from `hop`."""
        first, *rest = [line.removeprefix(">>").removeprefix(" ") for line in block.split("\n")]
        words = first.split()
        options = {name: value for name, _, value in (word.partition("=") for word in words)}
        self._tag = options.get("tag", self._tag)
        end = rest.index("") if "" in rest else len(rest)
        fields: Items = []
        for line in rest[:end]:
            name, _, value = line.partition(":")
            fields.append((name, value.strip()))
        body = "\r\n".join([*rest[end + 1 :], ""]).encode() if end < len(rest) else b""
        if "sdp" in options:
            body = DESCRIPTION
            fields.append(("Content-Type", SDP))
        if words[0].isdigit():
            plain = [word for word in words[1:] if "=" not in word and word != "sdp"]
            at = plain.index("to")
            reason, method = " ".join(plain[:at]), plain[at + 1]
            return self._response(Status(int(words[0]), reason), method, hop, fields, body)
        return self._request(words[0], options, hop, fields, body)

    def _response(self, status: Status, method: str, hop: Hop, fields: Items, body: bytes) -> bytes:
        asked = self._asked[method]
        to = asked.to if asked.to.tag or status.code == 100 else asked.to.tagged(self._tag)
        plain = [
            *(("Via", via) for via in asked.headers.get_all("Via")),
            ("From", str(asked.from_)), ("To", str(to)), ("Call-ID", asked.call_id),
            ("CSeq", str(asked.cseq)),
        ]  # fmt: skip
        if method == "INVITE" and 100 < status.code < 300:
            plain.append(("Contact", f"<{_contact(hop, self._tag)}>"))
        headers = _merged(plain, fields)
        return Response(status.code, status.reason, headers=headers, body=body).encode()

    def _request(
        self, method: str, options: dict[str, str], hop: Hop, fields: Items, body: bytes
    ) -> bytes:
        if "cseq" in options:
            self._cseq = int(options["cseq"])
        elif method not in ("ACK", "CANCEL"):
            self._cseq += 1
        cseq = self._cseq
        branch = f"z9hG4bK-{next(self._branches)}"
        to = self._ours
        if method == "INVITE":
            self._invite_cseq = cseq
            self._invite_branch = branch
            self._invite_to = to
        elif method in ("ACK", "CANCEL"):
            cseq = int(options.get("cseq", self._invite_cseq))
        if method == "CANCEL":
            branch, to = self._invite_branch, self._invite_to
        if options.get("to-tag") == "none":
            to = NameAddr(to.uri)
        plain = [
            ("Via", f"SIP/2.0/{hop.transport.upper()} {hop.host}:{hop.port};branch={branch};rport"),
            ("Max-Forwards", "70"), ("From", str(self._theirs.tagged(self._tag))),
            ("To", str(to)), ("Call-ID", self._call_id), ("CSeq", f"{cseq} {method}"),
        ]  # fmt: skip
        if method in ("INVITE", "UPDATE", "REFER", "NOTIFY"):
            plain.append(("Contact", f"<{_contact(hop, self._tag)}>"))
        uri = parse_uri("sip:bot@192.0.2.1:5060")
        return Request(method, uri, headers=_merged(plain, fields), body=body).encode()


def _contact(hop: Hop, user: str) -> SipUri:
    tail = "" if hop.transport == "udp" else f";transport={hop.transport}"
    uri = parse_uri(f"sip:{user}@{hop.host}:{hop.port}{tail}")
    assert isinstance(uri, SipUri)
    return uri


def _merged(plain: Items, fields: Items) -> Headers:
    given = {name.lower() for name, _ in fields}
    return Headers([*(item for item in plain if item[0].lower() not in given), *fields])
