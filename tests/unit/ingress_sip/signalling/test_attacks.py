"""The core as a hostile peer sees it: what cannot be forged, guessed, taken over or blown up."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from typing import Any, TypeGuard

import pytest

from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import AckReceived, Event, InviteReceived
from ingress_sip.signalling.message import Request, Response
from ingress_sip.signalling.parse import parse_datagram
from ingress_sip.signalling.policy import Anybody
from ingress_sip.signalling.presence import MOST_OPEN, Presence, source_of
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.transaction import MOST_REPEATS, Outgoing
from ingress_sip.signalling.uri import SipUri
from tests.fuzz.sequences import PEER, SDP, new_core, request

EVE = Hop(Transport.UDP, "203.0.113.66", 5060)
VICTIM = "198.51.100.1"
DIALOG = DialogId("call-1@192.0.2.7", "token1", "alice")


def statuses(core: SipCore) -> list[str]:
    return [out.data.split(b" ")[1].decode() for out in core.messages_to_send()]


def events(core: SipCore) -> list[Event]:
    found = []
    while (event := core.next_event()) is not None:
        found.append(event)
    return found


def called(core: SipCore, invite: bytes | None = None) -> None:
    """A call is answered; what was said of it is forgotten."""
    core.receive(invite or request("INVITE"), PEER, 0.0)
    assert core.accept(DIALOG, SDP, 0.0)
    statuses(core), events(core)


def established(core: SipCore, invite: bytes | None = None) -> None:
    called(core, invite)
    core.receive(request("ACK", 1, "token1", "z9hG4bK-a"), PEER, 0.0)
    assert [type(event) for event in events(core)] == [AckReceived]


def all_that_is_sent(core: SipCore) -> list[Outgoing]:
    """What is sent from now until all timers have passed."""
    sent = core.messages_to_send()
    while (due := core.next_timer()) is not None:
        core.handle_timers(due)
        sent += core.messages_to_send()
    return sent


# Header injection


BREAKS = ("\r", "\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\0", "\r\n ")
ECHOED = {
    "Via": "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK-1{}x",
    "From": '"a{}b" <sip:alice@192.0.2.7>;tag=alice{}x',
    "To": '"a{}b" <sip:bot@192.0.2.1>',
    "Call-ID": "call-1{}x",
    "Timestamp": "1{}x",
    "Record-Route": "<sip:a;lr>{}x",
    "Require": "{}x",
    "Reason": "{}x",
}


@pytest.mark.parametrize("mark", BREAKS, ids=repr)
@pytest.mark.parametrize("name", ECHOED)
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE"])
def test_nothing_that_comes_back_begins_a_line(method: str, name: str, mark: str) -> None:
    value = ECHOED[name].replace("{}", f"{mark}Injected: yes")
    text = request(method).decode()
    line = f"{name}: {value}\r\n"
    known = re.compile(rf"^{name}: .*?\r\n", re.M)
    text = (
        known.sub(lambda _: line, text)
        if known.search(text)
        else text.replace("\r\n", "\r\n" + line, 1)
    )
    core = new_core()
    core.receive(text.encode(), PEER, 0.0)
    for event in events(core):
        if isinstance(event, InviteReceived):
            core.accept(event.dialog, SDP, 0.0)
    for out in all_that_is_sent(core):
        head = out.data.partition(b"\r\n\r\n")[0]
        # However a receiver takes a line end, there is no field of that name, unless folded in.
        for line_end in (b"\r\n", b"\r", b"\n"):
            assert not any(piece.startswith(b"Injected") for piece in head.split(line_end))


# Dialogs and transactions of others


@pytest.mark.parametrize("method", ["BYE", "INVITE", "OPTIONS"])
@pytest.mark.parametrize(
    ("to_tag", "from_tag", "call"),
    [
        ("token2", "alice", "call-1@192.0.2.7"),
        ("TOKEN1", "alice", "call-1@192.0.2.7"),
        ("token1", "eve", "call-1@192.0.2.7"),
        ("token1", "", "call-1@192.0.2.7"),
        ("token1", "alice", "call-2"),
        ("alice", "token1", "call-1@192.0.2.7"),
    ],
)
def test_a_dialog_is_entered_by_its_three_names_only(
    method: str, to_tag: str, from_tag: str, call: str
) -> None:
    core = new_core()
    established(core)
    core.receive(request(method, 2, to_tag, "z9hG4bK-e", from_tag=from_tag, call=call), EVE, 0.1)
    assert statuses(core) == ["481"]
    assert events(core) == []
    assert core.live_dialogs == 1


def test_tags_and_branches_come_from_the_token_source_alone() -> None:
    core = new_core()
    established(core)
    core.hang_up(DIALOG, 0.1)
    [out] = core.messages_to_send()
    bye = parse_datagram(out.data)
    assert isinstance(bye, Request)
    assert bye.from_.tag == "token1"
    assert bye.via.branch == "z9hG4bKtoken2"


@pytest.mark.parametrize(
    "fields",
    [
        {"branch": "z9hG4bK-9"},
        {"call": "call-2"},
        {"cseq": 2},
        {"branch": "Z9hG4bK-1"},
    ],
)
def test_nobody_cancels_a_call_whose_invite_they_did_not_see(fields: dict[str, Any]) -> None:
    core = new_core()
    core.receive(request("INVITE"), PEER, 0.0)
    statuses(core), events(core)
    core.receive(request("CANCEL", **{"branch": "z9hG4bK-1", **fields}), EVE, 0.1)
    assert statuses(core) == ["481"]
    assert events(core) == []


def test_a_copied_invite_from_elsewhere_is_answered_to_the_caller_and_begins_nothing() -> None:
    core = new_core()
    core.receive(request("INVITE"), PEER, 0.0)
    core.messages_to_send(), events(core)
    core.receive(request("INVITE"), EVE, 0.1)  # same branch: a repetition
    core.receive(request("INVITE", branch="z9hG4bK-2"), EVE, 0.1)  # another: merged
    sent = core.messages_to_send()
    assert [(out.data[8:11], out.destination.host) for out in sent] == [
        (b"100", PEER.host),
        (b"482", EVE.host),
    ]
    assert events(core) == []
    assert core.live_dialogs == 1


def test_a_forged_answer_to_our_bye_needs_its_branch() -> None:
    core = new_core()
    established(core)
    core.hang_up(DIALOG, 0.1)
    [out] = core.messages_to_send()
    answer = out.data.replace(b"BYE sip:alice@192.0.2.7 SIP/2.0", b"SIP/2.0 200 OK")
    core.receive(answer.replace(b"z9hG4bKtoken2", b"z9hG4bKtoken3"), EVE, 0.2)
    assert core.live_dialogs == 1
    core.receive(answer, PEER, 0.2)
    assert core.live_dialogs == 0


# Numbers


@pytest.mark.parametrize("number", ["0", "2147483647"])
def test_the_ends_of_cseq_are_numbers_like_others(number: str) -> None:
    core = new_core()
    core.receive(request("INVITE", int(number)), PEER, 0.0)
    assert statuses(core) == ["100"]
    core.receive(request("BYE", 2**31 - 1, "token1", "z9hG4bK-b"), PEER, 0.1)
    assert "481" not in statuses(core)


@pytest.mark.parametrize("number", [2**31, 2**32, 2**64, 10**30])
def test_no_number_wraps_around(number: int) -> None:
    core = new_core()
    core.receive(request("INVITE", number), PEER, 0.0)
    assert statuses(core) == ["400"]
    assert core.live_dialogs == 0


def test_a_leap_of_cseq_harms_only_whoever_leaps() -> None:
    core = new_core()
    established(core)
    core.receive(request("INVITE", 2**31 - 1, "token1", "z9hG4bK-2"), PEER, 0.1)
    core.hang_up(DIALOG, 0.2)
    assert all_that_is_sent(core)
    assert (core.live_dialogs, core.live_transactions) == (0, 0)


# Reflection and amplification


def spoofed(begin: bytes, act: Callable[[SipCore], object] = lambda _: None) -> tuple[int, float]:
    """How many datagrams one datagram causes, and how many bytes for each of its own."""
    core = new_core()
    core.receive(begin, PEER, 0.0)
    act(core)
    sent = all_that_is_sent(core)
    assert {out.destination.host for out in sent} <= {PEER.host}
    return len(sent), sum(len(out.data) for out in sent) / len(begin)


SHORTEST = (
    b"%s sip:a SIP/2.0\r\nv:SIP/2.0/UDP a\r\nf:sip:a@a\r\nt:sip:a\r\ni:a\r\nCSeq:1 %s\r\n\r\n"
)


@pytest.mark.parametrize("method", [b"OPTIONS", b"REGISTER", b"BYE", b"CANCEL", b"SUBSCRIBE", b"x"])
def test_what_begins_nothing_is_answered_once_and_briefly(method: bytes) -> None:
    datagrams, factor = spoofed(SHORTEST % (method, method))
    assert datagrams == 1
    assert factor < 6


@pytest.mark.parametrize(
    "data",
    [b"X\r\nv:SIP/2.0/UDP a\r\n\r\n", SHORTEST % (b"INVITE", b"BYE"), b"v:SIP/2.0/UDP a;;\r\n"],
)
def test_what_is_malformed_is_answered_once_and_briefly(data: bytes) -> None:
    datagrams, factor = spoofed(data)
    assert datagrams <= 1
    assert factor < 5


def test_an_ack_that_is_for_nothing_is_for_nobody() -> None:
    assert spoofed(request("ACK", 1, "token1")) == (0, 0.0)


def test_an_invite_from_nobody_has_a_bounded_echo() -> None:
    """RFC 3261 wants final answers resent for 32 s, and a BYE after a 2xx that no ACK comes for."""

    def accept(core: SipCore) -> None:
        core.accept(DialogId("a", "token1", ""), SDP, 0.0)

    def reject(core: SipCore) -> None:
        core.reject(DialogId("a", "token1", ""), 486, 0.0)

    datagrams, factor = spoofed(SHORTEST % (b"INVITE", b"INVITE"), reject)
    assert datagrams <= 12
    assert factor < 25
    datagrams, factor = spoofed(SHORTEST % (b"INVITE", b"INVITE"), accept)
    assert datagrams <= 23
    assert factor < 100


def flood(core: SipCore, source: Hop, times: int, first: int = 0) -> int:
    """INVITEs that are all accepted at once; how many octets they were."""
    size = 0
    for number in range(first, first + times):
        invite = request("INVITE", call=str(number), branch=f"z9hG4bK{number}")
        size += len(invite)
        core.receive(invite, source, number / 1000)
        for event in events(core):
            if isinstance(event, InviteReceived):
                core.accept(event.dialog, SDP, number / 1000)
    return size


def test_whoever_never_showed_to_be_there_gets_no_flood() -> None:
    """Of many INVITEs in its name five are taken, each of the others is answered once."""
    core = new_core()
    received = flood(core, EVE, 1000)
    sent = all_that_is_sent(core)
    assert {out.destination.host for out in sent} == {EVE.host}
    assert len(sent) == MOST_OPEN * 23 + 1000 - MOST_OPEN
    assert sum(len(out.data) for out in sent) < 1.5 * received
    assert (core.live_dialogs, core.live_transactions) == (0, 0)
    sent = afresh(core, 100.0)
    assert len(sent) == MOST_OPEN * 23
    assert sum(len(out.data) for out in sent) < 50_000


def afresh(core: SipCore, now: float) -> list[Outgoing]:
    """What five more INVITEs bring, once those before are gone: nothing is counted for ever."""
    for number in range(2000, 2000 + MOST_OPEN):
        core.receive(request("INVITE", call=str(number), branch=f"z9hG4bK{number}"), EVE, now)
        for event in events(core):
            if isinstance(event, InviteReceived):
                core.accept(event.dialog, SDP, now)
    return all_that_is_sent(core)


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("status", [200, 503, 486])
def test_whoever_acknowledged_with_our_tag_may_call_as_it_likes(status: int, forged: bool) -> None:
    core = new_core()
    if status == 486:
        core.receive(request("INVITE"), EVE, 0.0)
        core.reject(DIALOG, 486, 0.0)
        events(core)
    else:
        flood(core, EVE, MOST_OPEN + 1)
    answers = [parse_datagram(data) for data in out_of(core)]
    answer = next(one for one in answers if isinstance(one, Response) and one.status == status)
    tag = "made-up" if forged else answer.to.tag
    branch = f"{answer.via.branch}{'-a' if status == 200 else ''}"
    core.receive(request("ACK", 1, tag, branch, call=answer.call_id), EVE, 0.1)
    out_of(core)
    flood(core, EVE, 50, 100)
    taken = {one.call_id for one in map(parse_datagram, out_of(core)) if is_success(one)}
    assert len(taken) < MOST_OPEN if forged else len(taken) == 50


def out_of(core: SipCore) -> list[bytes]:
    return [out.data for out in core.messages_to_send()]


def is_success(message: object) -> TypeGuard[Response]:
    return isinstance(message, Response) and message.status == 200


def test_whoever_is_trusted_or_connected_may_call_as_it_likes() -> None:
    class Trusting(Anybody):
        def trusts(self, source: Hop, admitted: object) -> bool:
            return source.host == EVE.host and admitted == "screened"

        def screen(self, invite: Request, source: Hop, now: float) -> object:
            return "screened"

    core = new_core()
    flood(core, EVE._replace(transport=Transport.TCP), 50)
    assert core.live_dialogs == 50
    core = SipCore(
        contact_for=lambda peer: SipUri.of("192.0.2.1"),
        tokens=map(str, count()).__next__,
        user_agent="x",
        policy=Trusting(),
    )
    flood(core, EVE, 50)
    flood(core, PEER, 50, 50)
    assert core.live_dialogs == 50 + MOST_OPEN


def test_the_sources_that_showed_to_be_there_are_forgotten_in_turn() -> None:
    presence = Presence(most_sources=2)
    for host in ("a", "b", "a", "c"):
        presence.show(host)
    for host in ("a", "b", "c"):
        for _ in range(MOST_OPEN):
            presence.begun(host, 1)
    may = [presence.may_begin(host, 1) for host in ("a", "b", "c", "d")]
    assert may == [True, False, True, True]


def test_whoever_has_a_network_is_one_source() -> None:
    presence = Presence()
    for number in range(MOST_OPEN):
        presence.begun(f"2001:db8::{number}", 1)
    assert not presence.may_begin("2001:db8::ffff", 1)
    assert presence.may_begin("2001:db8:0:1::1", 1)
    presence.ended("2001:db8::7", 1)
    assert presence.may_begin("2001:db8::ffff", 1)
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"


ROUTE = f"Record-Route: <sip:{'x' * 1200}@198.51.100.9;lr>"


@pytest.mark.parametrize("routes", [1, 2, 4, 8])
def test_what_large_invites_have_us_send_is_bounded_too(routes: int) -> None:
    """The routes go into each 2xx and each BYE, and each short repetition brings them in a 180."""
    core = new_core()
    sent: list[Outgoing] = []
    for number in range(MOST_OPEN):
        one = {"branch": f"z9hG4bK{number}", "call": str(number)}
        core.receive(request("INVITE", **one, extras=(ROUTE,) * routes), EVE, 0.0)
        sent += core.messages_to_send()
        for event in events(core):
            assert isinstance(event, InviteReceived)
            core.ring(event.dialog, 0.0)
            for _ in range(100):
                core.receive(request("INVITE", **one, body=b""), EVE, 0.1)
            core.accept(event.dialog, SDP, 0.2)
    sent += all_that_is_sent(core)
    assert {out.destination.host for out in sent} == {EVE.host}
    assert sum(len(out.data) for out in sent) < 350_000


@pytest.mark.parametrize("method", ["INVITE", "BYE"])
def test_a_request_is_answered_so_often_only(method: str) -> None:
    core = new_core()
    if method == "INVITE":
        core.receive(request("INVITE"), PEER, 0.0)
        core.reject(DIALOG, 486, 0.0)
        again = request("INVITE")
    else:
        established(core)
        again = request("BYE", 2, "token1", "z9hG4bK-b")
        core.receive(again, PEER, 0.1)
    core.messages_to_send()
    for _ in range(100):
        core.receive(again, PEER, 0.2)
    assert len(core.messages_to_send()) == MOST_REPEATS


def test_an_ack_that_anybody_could_have_sent_says_so() -> None:
    for tag, is_proven in (("token1", True), ("made-up", False), ("", False)):
        core = new_core()
        called(core)
        core.receive(request("ACK", 1, tag, "z9hG4bK-a"), PEER, 0.0)
        assert events(core) == [AckReceived(DIALOG, b"", is_proven)]


def test_an_ack_with_a_tag_of_its_own_leads_us_to_nobody_else() -> None:
    """Whoever forges an INVITE can forge its ACK, but for our tag; pyVoIP makes one up."""
    core = new_core()
    called(core, request("INVITE", extras=(f"Contact: <sip:x@{VICTIM}:53>",)))
    core.receive(request("ACK", 1, "made-up", "z9hG4bK-a"), PEER, 0.0)
    core.hang_up(DIALOG, 0.1)
    assert {out.destination.host for out in all_that_is_sent(core)} == {PEER.host}


def test_a_cancel_from_another_host_cancels_nothing() -> None:
    core = new_core()
    core.receive(request("INVITE"), PEER, 0.0)
    statuses(core), events(core)
    core.receive(request("CANCEL"), EVE, 0.1)
    assert (statuses(core), events(core)) == (["481"], [])
    core.receive(request("CANCEL"), PEER._replace(port=40_000), 0.1)
    assert statuses(core) == ["487", "200"]


def test_a_call_that_nobody_acknowledged_reaches_nobody_but_its_source() -> None:
    core = new_core()
    contact = f"Contact: <sip:x@{VICTIM}:53>"
    called(core, request("INVITE", extras=(contact,)))
    assert {out.destination.host for out in all_that_is_sent(core)} == {PEER.host}


@pytest.mark.parametrize(
    "target", ["127.0.0.1:6379", "127.0.0.1:6379;transport=tcp", "[::1]:6379", "255.255.255.255"]
)
def test_no_peer_sends_us_to_our_own_ports(target: str) -> None:
    core = new_core()
    established(core, request("INVITE", extras=(f"Contact: <sip:x@{target}>",)))
    core.hang_up(DIALOG, 1.0)
    [out, *_] = core.messages_to_send()
    assert out.destination.host == PEER.host


# Fields that cannot be read, where nothing is made of them at first


@pytest.mark.parametrize("field", ["Allow: a b", "Supported: a b", "Record-Route: x", "Contact: <"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_unreadable_field_leaves_nothing_behind(method: str, field: str) -> None:
    core = new_core()
    core.receive(request("INVITE", extras=(field,)), PEER, 0.0)
    if events(core):
        core.reject(DIALOG, 486, 0.0)
    all_that_is_sent(core)
    assert (core.live_dialogs, core.live_transactions) == (0, 0)
    core = new_core()
    established(core)
    core.receive(request(method, 2, "token1", "z9hG4bK-2", extras=(field,)), PEER, 0.0)
    core.accept(DIALOG, SDP, 0.0)
    core.hang_up(DIALOG, 0.1)
    all_that_is_sent(core)
    assert (core.live_dialogs, core.live_transactions) == (0, 0)


@pytest.mark.parametrize("field", ["Allow: a b", "Require: a b", "Record-Route: x", "Contact: <"])
def test_an_unreadable_field_of_an_answer_does_no_harm(field: str) -> None:
    core = new_core()
    established(core)
    core.messages_to_send()
    assert core.reoffer(DIALOG, SDP, 0.1)
    [out] = core.messages_to_send()
    answer = out.data.replace(b"INVITE sip:alice@192.0.2.7 SIP/2.0", b"SIP/2.0 200 OK", 1)
    head, _, body = answer.partition(b"\r\n\r\n")
    core.receive(head + f"\r\n{field}\r\n\r\n".encode() + body, PEER, 0.2)
    core.hang_up(DIALOG, 0.3)
    all_that_is_sent(core)
    assert (core.live_dialogs, core.live_transactions) == (0, 0)


# Memory


def test_half_open_calls_are_limited() -> None:
    core = SipCore(
        contact_for=lambda peer: SipUri.of("192.0.2.1"),
        tokens=map(str, count()).__next__,
        user_agent="x",
        max_transactions=100,
    )
    for number in range(1000):
        crowd = EVE._replace(host=f"203.0.113.{number % 250}")
        core.receive(request("INVITE", call=str(number), branch=f"z9hG4bK{number}"), crowd, 0.0)
    assert core.live_transactions == 100
    assert core.live_dialogs == 100
    assert statuses(core).count("503") == 900


def test_a_flood_within_a_call_is_limited_too() -> None:
    core = SipCore(
        contact_for=lambda peer: SipUri.of("192.0.2.1"),
        tokens=(f"token{number}" for number in count()).__next__,
        user_agent="x",
        max_transactions=100,
    )
    established(core)
    for number in range(1000):
        core.receive(request("INFO", 2 + number, "token1", f"z9hG4bK-{number}"), PEER, 0.0)
    assert core.live_transactions <= 100
    assert statuses(core).count("503") > 800
    # What lets go of more than it takes is never refused, however often it comes.
    core.hang_up(DIALOG, 0.1)
    for number in range(1000):
        core.receive(request("BYE", 2000 + number, "token1", f"z9hG4bK+{number}"), PEER, 0.2)
    assert set(statuses(core)) <= {"200", "sip:alice@192.0.2.7"}
    assert core.live_transactions <= 102


@pytest.mark.parametrize("method", ["UPDATE", "NOTIFY", "REFER", "INVITE"])
def test_nothing_within_a_call_gets_by_the_limit(method: str) -> None:
    core = SipCore(
        contact_for=lambda peer: SipUri.of("192.0.2.1"),
        tokens=(f"token{number}" for number in count()).__next__,
        user_agent="x",
        max_transactions=1,
    )
    established(core)
    core.receive(request(method, 2, "token1", "z9hG4bK-2"), PEER, 0.1)
    [out] = core.messages_to_send()
    assert out.data.startswith(b"SIP/2.0 503 ")
    assert b"Retry-After: " in out.data


PADDING = [("x", ""), ("y", "x")] * 12  # names are held as well as values


@pytest.mark.parametrize("body", [b"x" * 20_000, b""])
def test_what_is_held_is_small(body: bytes) -> None:
    core = new_core()
    padding = () if body else tuple(f"{name * 1000}: {value * 1000}" for name, value in PADDING)
    invite = request("INVITE", extras=padding)
    head = invite.partition(b"\r\n\r\n")[0]
    length = re.compile(rb"Content-Length: \d+")
    assert length.search(head) or body == b""
    head = length.sub(b"Content-Length: %d" % len(body), head)
    core.receive(head + b"\r\n\r\n" + body, PEER, 0.0)
    assert statuses(core) == ["513"]
    assert core.live_transactions == 0


def test_many_vias_are_sent_back_or_refused() -> None:
    core = new_core()
    via = "Via: SIP/2.0/UDP a;branch=z9hG4bK-x"
    core.receive(request("OPTIONS", extras=(via,) * 100), PEER, 0.0)
    core.receive(request("OPTIONS", extras=(via,) * 400), PEER, 0.0)  # not even read
    core.receive(request("OPTIONS", extras=(via + ", SIP/2.0/UDP b" * 300,)), PEER, 0.0)
    assert statuses(core) == ["200", "400"]
