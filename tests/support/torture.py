"""RFCs of torture messages, as golden tests: one datagram each, and an `expected.toml` beside them.

The head of `rfc4475/expected.toml` says what its entries mean.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import reduce
from itertools import count
from pathlib import Path
from typing import Any

from ingress_sip.sdp.offer_answer import LocalMedia
from ingress_sip.sdp.offer_answer import answer as answer_to
from ingress_sip.sdp.session import SdpError, parse_sdp
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.errors import SipError
from ingress_sip.signalling.events import InviteReceived
from ingress_sip.signalling.fields import NameAddr, Via
from ingress_sip.signalling.headers import Headers
from ingress_sip.signalling.message import Message, Request
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.registrar import Registrar
from ingress_sip.signalling.routing import Hop
from ingress_sip.signalling.uri import SipUri

US = "192.0.2.1"


@dataclass(frozen=True)
class Torture:
    """One message and what is expected of it."""

    name: str
    data: bytes
    text: str
    parsed: dict[str, object]
    status: int | None
    headers: dict[str, str]
    registrar: list[str] | int | None


def torture_messages(folder: Path) -> list[Torture]:
    """All messages of a folder. Raises AssertionError where a file or its entry is missing."""
    expected = tomllib.loads((folder / "expected.toml").read_text("utf-8"))
    files = {file.stem: file.read_bytes() for file in (folder / "messages").glob("*.dat")}
    assert files.keys() == expected.keys()
    return [
        Torture(
            name,
            files[name],
            entry["text"],
            entry.get("parsed", {}),
            entry.get("answer"),
            entry.get("with", {}),
            entry.get("registrar"),
        )
        for name, entry in expected.items()
    ]


def understood(message: Message, wanted: dict[str, object]) -> dict[str, object]:
    """What `message` holds under the names of `wanted`."""
    return {name: _part(message, name) for name in wanted}


def _part(message: Message, name: str) -> object:
    kind, _, field = name.partition(".")
    if kind == "headers":
        return list(message.headers.get_all(field))
    match name:
        case "body":
            return len(message.body)
        case "via_count":
            return len(message.headers.get_list("Via"))
        case "sdp_addresses":
            session = parse_sdp(message.body)
            return [session.address_of(media) for media in session.media]
        case "vias":
            return [str(Via.parse(via)) for via in message.headers.get_list("Via")]
        case "contacts":
            return [str(NameAddr.parse(text)) for text in message.headers.get_list("Contact")]
    value: Any = reduce(getattr, name.split("."), message)
    if value is None:
        return "none"
    return value if isinstance(value, int) else str(value)


@dataclass(frozen=True)
class Answer:
    """A response, read without the parser: it mirrors what may be malformed."""

    status: int
    headers: Headers

    @classmethod
    def read(cls, data: bytes) -> Answer:
        head = data.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape")
        start, *lines = head.split("\r\n")
        version, status, _ = start.split(" ", 2)
        assert version == "SIP/2.0"
        return cls(int(status), Headers(_field(line) for line in lines))


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(": ")
    assert colon
    return name, value


def hear(data: bytes, source: Hop) -> tuple[SipCore, list[Answer]]:
    """A fresh user agent and what it answers to one datagram. INVITEs it lets in are answered."""
    tokens = count()
    core = SipCore(
        contact_for=lambda peer: SipUri.of(US),
        tokens=lambda: f"token{next(tokens)}",
        user_agent="Trunkline",
    )
    core.receive(data, source, 0.0)
    event = core.next_event()
    if isinstance(event, InviteReceived):
        local = LocalMedia(US, 40000, session_id=1, version=0)
        try:
            assert core.accept(event.dialog, answer_to(event.offer, local).body, 0.0)
        except SdpError as error:
            core.reject(event.dialog, error.status, 0.0)
    assert core.next_event() is None
    sent = core.messages_to_send()
    assert {out.destination.host for out in sent} <= {source.host}
    return core, [Answer.read(out.data) for out in sent]


def check(torture: Torture, source: Hop) -> None:
    """Raises AssertionError where the message is not understood or answered as expected."""
    message = None
    if torture.parsed:
        message = parse_datagram(torture.data)
        assert message is not None
        found = understood(message, torture.parsed)
        assert found == torture.parsed, found
        assert parse_datagram(message.encode()) == message
    core, answers = hear(torture.data, source)
    final = [answer for answer in answers if answer.status >= 200]
    statuses = [answer.status for answer in final]
    assert statuses == ([torture.status] if torture.status else []), statuses
    for answer in final:
        for name, value in torture.headers.items():
            shown = answer.headers.get(name)
            assert shown is not None, f"no {name}"
            assert value in ("*", shown), shown
        if isinstance(message, Request):
            _check_mirror(message, answer, source)
    _check_end(core)


def register(torture: Torture, source: Hop) -> list[str] | int:
    """What a registrar that has the user makes of it: where they are reached, or a status."""
    request = parse_datagram(torture.data)
    assert isinstance(request, Request)
    user = request.to.uri.user
    registrar = Registrar([user])
    try:
        registrar.register(request, user, source, 0.0)
    except SipError as error:
        assert registrar.bindings(user, 0.0) == ()
        return error.status
    return sorted(str(binding.contact) for binding in registrar.bindings(user, 0.0))


def _check_mirror(request: Request, answer: Answer, source: Hop) -> None:
    """8.2.6.2: what an answer repeats; but the To gets a tag, and the top Via its source."""
    for name in ("From", "Call-ID", "CSeq"):
        assert answer.headers.get_all(name) == request.headers.get_all(name), name
    top, *others = answer.headers.get_list("Via")
    assert Via.parse(top) == request.via.received_from(source.host, source.port)
    assert others == list(request.headers.get_list("Via")[1:])
    to = NameAddr.parse(answer.headers.get("To") or "")
    assert to.uri == request.to.uri
    assert to.tag


def _check_end(core: SipCore) -> None:
    """When all timers have passed, nothing is left."""
    for _ in range(1000):
        if (due := core.next_timer()) is None:
            break
        core.handle_timers(due)
    assert core.next_timer() is None
    assert (core.live_dialogs, core.live_transactions) == (0, 0)
