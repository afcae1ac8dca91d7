"""What transcripts cannot show: limits, memory, our own mistakes, and hostile bytes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.core import Anybody, SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.errors import LocalProtocolError, SipError
from ingress_sip.signalling.events import AckReceived, Event, InviteReceived, ReinviteReceived
from ingress_sip.signalling.invite_client import InviteClient
from ingress_sip.signalling.invite_server import InviteServer
from ingress_sip.signalling.message import Request
from ingress_sip.signalling.non_invite_client import NonInviteClient
from ingress_sip.signalling.non_invite_server import NonInviteServer
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.transaction import State, Table
from ingress_sip.signalling.uri import SipUri

PEER = Hop(Transport.UDP, "192.0.2.7", 5060)
TRANSCRIPTS = Path(__file__).parents[3] / "golden" / "sip"
SDP = b"v=0\r\n"


def new_core(**options: int) -> SipCore:
    numbers = count()
    return SipCore(
        contact_for=lambda peer: SipUri.of("192.0.2.1"),
        tokens=lambda: f"token{next(numbers)}",
        user_agent="Trunkline",
        **options,
    )


def invite(number: int = 1, **fields: str) -> bytes:
    return request("INVITE", f"z9hG4bK{number}", f"call{number}", **fields)


def request(method: str, branch: str, call_id: str, to_tag: str = "", cseq: int = 1) -> bytes:
    tag = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} sip:bot@192.0.2.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch={branch}\r\n"
        f"From: <sip:alice@192.0.2.7>;tag=alice\r\nTo: <sip:bot@192.0.2.1>{tag}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        f"Contact: <sip:alice@192.0.2.7>\r\n\r\n"
    ).encode()


def statuses(core: SipCore) -> list[str]:
    return [out.data.split(b" ")[1].decode() for out in core.messages_to_send()]


def called(core: SipCore, number: int = 1) -> DialogId:
    core.receive(invite(number), PEER, 0.0)
    event = core.next_event()
    assert isinstance(event, InviteReceived)
    return event.dialog


def run_out(core: SipCore) -> float:
    """Let every timer fire; returns when the last one did."""
    now = 0.0
    while (due := core.next_timer()) is not None:
        now = due
        core.handle_timers(now)
    return now


def test_past_the_limit_new_calls_get_503_and_old_ones_go_on() -> None:
    core = new_core(max_transactions=2)
    dialog = called(core)
    called(core, 2)
    core.messages_to_send()
    core.receive(invite(3), PEER, 0.0)
    [refusal] = core.messages_to_send()
    assert refusal.data.startswith(b"SIP/2.0 503 ")
    assert b"\r\nRetry-After: " in refusal.data
    assert core.accept(dialog, SDP, 0.0)
    bye = request("BYE", "z9hG4bKbye", "call1", dialog.local_tag, cseq=2)
    core.receive(bye, PEER, 0.0)
    assert statuses(core) == ["200", "200"]


def test_a_flood_that_begins_nothing_costs_no_memory() -> None:
    core = new_core()
    for number in range(100):
        branch = f"z9hG4bK{number}"
        for method in ("OPTIONS", "REGISTER", "BYE", "CANCEL", "ACK"):
            core.receive(request(method, branch, f"call{number}"), PEER, 0.0)
    assert len(core.messages_to_send()) == 400
    assert (core.live_transactions, core.live_dialogs, core.next_timer()) == (0, 0, None)


def test_everything_ends() -> None:
    core = new_core()
    accepted, rejected, _never = (called(core, number) for number in (1, 2, 3))
    core.accept(accepted, SDP, 0.0)
    core.reject(rejected, 486, 0.0)
    assert core.live_dialogs == 2
    assert run_out(core) == 180.0 + 32.0  # the one that nobody answered, and its unacknowledged 487
    assert (core.live_transactions, core.live_dialogs) == (0, 0)


def test_no_expires_makes_us_wait_longer_than_a_proxy_would() -> None:
    core = new_core()
    core.receive(invite().replace(b"\r\nTo:", b"\r\nExpires: 9999\r\nTo:"), PEER, 0.0)
    assert core.next_timer() == 180.0


def test_an_expires_that_only_looks_like_a_number_is_none() -> None:
    core = new_core()  # found by fuzzing: a superscript two is a digit to str.isdigit, not to int
    core.receive(invite().replace(b"\r\nTo:", "\r\nExpires: \u00b2\r\nTo:".encode()), PEER, 0.0)
    assert core.next_timer() == 180.0


def test_what_is_screened_out_leaves_no_trace_and_is_answered_once() -> None:
    class Nobody(Anybody):
        def screen(self, invite: Request, source: Hop, now: float) -> object:
            raise SipError(404, "Not Found")

    core = SipCore(
        contact_for=lambda _: SipUri.of("192.0.2.1"),
        tokens=lambda: "token",
        user_agent="Trunkline",
        policy=Nobody(),
    )
    core.receive(invite(), PEER, 0.0)
    [refusal] = core.messages_to_send()
    assert refusal.data.startswith(b"SIP/2.0 404 ")
    assert (core.live_transactions, core.live_dialogs, core.next_timer()) == (0, 0, None)
    assert core.next_event() is None
    core.receive(invite(), PEER, 0.5)  # 8.2.7: the same again, the same answer
    assert core.messages_to_send() == [refusal]


def test_two_calls_never_wait_for_one_ack() -> None:
    core = new_core()  # found by reading: one Call-ID, From tag and CSeq in two dialogs
    first = called(core)
    core.accept(first, SDP, 0.0)
    core.receive(request("ACK", "z9hG4bKa", "call1", first.local_tag), PEER, 0.0)
    again = request("INVITE", "z9hG4bKre", "call1", first.local_tag, cseq=2)
    core.receive(again + SDP, PEER, 0.0)
    core.messages_to_send()
    other = request("INVITE", "z9hG4bKother", "call1", cseq=2)
    core.receive(other, PEER, 0.0)
    assert statuses(core) == ["482"]
    core.accept(first, SDP, 0.0)
    same = request("INVITE", "z9hG4bKsame", "call1", first.local_tag, cseq=2)
    core.receive(same, PEER, 0.0)
    assert statuses(core) == ["200", "500"]


def test_a_storm_of_reinvites_without_acks_is_told_to_wait() -> None:
    core = new_core()
    core.receive(invite() + SDP, PEER, 0.0)
    event = core.next_event()
    assert isinstance(event, InviteReceived)
    core.accept(event.dialog, SDP, 0.0)
    for cseq in range(2, 12):
        again = request("INVITE", f"z9hG4bK{cseq}", "call1", event.dialog.local_tag, cseq)
        core.receive(again + SDP, PEER, 0.0)
        core.accept(event.dialog, SDP, 0.0)
    sent = statuses(core)
    assert (sent.count("200"), sent.count("500")) == (4, 7)


def test_actions_on_what_is_over_say_so() -> None:
    core = new_core()
    dialog = called(core)
    assert core.reject(dialog, 486, 0.0)
    assert not core.accept(dialog, SDP, 0.0)
    assert not core.ring(dialog, 0.0)
    assert not core.reject(dialog, 486, 0.0)
    assert not core.hang_up(dialog, 0.0)


def test_our_own_mistakes_are_told_apart() -> None:
    core = new_core()
    dialog = called(core)
    with pytest.raises(LocalProtocolError):
        core.ring(dialog, 0.0, status=200)
    with pytest.raises(LocalProtocolError):
        core.reject(dialog, 200, 0.0)
    with pytest.raises(LocalProtocolError):
        core.accept(dialog, b"", 0.0)
    assert core.accept(dialog, SDP, 0.0)


def test_hanging_up_before_the_answer_refuses_the_call() -> None:
    core = new_core()
    dialog = called(core)
    assert core.hang_up(dialog, 0.0)
    assert statuses(core) == ["100", "480"]
    assert core.live_dialogs == 0


def test_only_an_answer_that_we_wait_for_comes_with_the_ack() -> None:
    for offer, answer in ((b"v=0\r\n", b""), (b"", b"v=0\r\n")):
        core = new_core()
        core.receive(invite() + offer, PEER, 0.0)
        event = core.next_event()
        assert isinstance(event, InviteReceived)
        core.accept(event.dialog, SDP, 0.0)
        ack = request("ACK", "z9hG4bKa", "call1", event.dialog.local_tag)
        core.receive(ack + b"v=0\r\n", PEER, 0.0)
        assert core.next_event() == AckReceived(event.dialog, answer)


def test_an_offer_of_ours_never_goes_by_what_may_be_lost() -> None:
    core = new_core()  # 13.2.1: the INVITE brought none, and the 183 is not acknowledged
    dialog = called(core)
    assert core.ring(dialog, 0.0, 183, SDP)
    *_, progress = core.messages_to_send()
    assert progress.data.startswith(b"SIP/2.0 183 ")
    assert progress.data.endswith(b"Content-Length: 0\r\n\r\n")


def test_a_second_reinvite_before_the_first_is_answered_is_told_to_wait() -> None:
    core = new_core()
    dialog = called(core)
    core.accept(dialog, SDP, 0.0)
    core.receive(request("ACK", "z9hG4bKa", "call1", dialog.local_tag), PEER, 0.0)
    for cseq in (2, 3):
        again = request("INVITE", f"z9hG4bK{cseq}", "call1", dialog.local_tag, cseq)
        core.receive(again, PEER, 0.0)
    *_, refusal = core.messages_to_send()
    assert refusal.data.startswith(b"SIP/2.0 500 ")
    assert b"\r\nRetry-After: " in refusal.data


def test_an_answer_never_goes_to_a_third_party() -> None:
    core = new_core()
    aimed = invite().replace(b"192.0.2.7:5060;", b"203.0.113.9:5099;maddr=203.0.113.9;", 1)
    core.receive(aimed, PEER, 0.0)
    assert {out.destination.host for out in core.messages_to_send()} == {PEER.host}


@pytest.mark.parametrize(
    "table", [t.table for t in (InviteServer, NonInviteServer, InviteClient, NonInviteClient)]
)
def test_tables_lead_from_everywhere_to_the_end(table: Table) -> None:
    reached = {state for state, _ in table}
    ends = {State.TERMINATED}
    while True:
        more = {state for (state, _), (to, _) in table.items() if to in ends} | ends
        if more == ends:
            break
        ends = more
    assert reached <= ends


def conversation(name: str) -> list[bytes]:
    """The datagrams that a golden transcript gives to the core."""
    blocks = (TRANSCRIPTS / f"{name}.txt").read_text(encoding="utf-8").split("\n\n")
    lines = [[line[2:] for line in b.split("\n")] for b in blocks if b.startswith("> ")]
    return ["\r\n".join([*block, "", ""]).encode() for block in lines if block != ["again"]]


CONVERSATIONS = [
    said for path in sorted(TRANSCRIPTS.glob("*.txt")) if (said := conversation(path.stem))
]
EDITS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 6)), max_size=4)


@given(
    st.sampled_from(CONVERSATIONS),
    st.lists(st.tuples(EDITS, st.floats(0, 40)), min_size=8, max_size=8),
    st.lists(
        st.sampled_from(["ring", "accept", "reject", "hang_up", "nothing"]), min_size=8, max_size=8
    ),
)
def test_no_mutation_of_a_conversation_breaks_the_core(
    datagrams: list[bytes],
    changes: list[tuple[list[tuple[float, bytes, int]], float]],
    actions: list[str],
) -> None:
    core, now, answered = new_core(), 0.0, set[DialogId]()
    for data, (edits, pause), action in zip(datagrams, changes, actions, strict=False):
        core.receive(mutate(data, edits), PEER, now)
        while (event := core.next_event()) is not None:
            act(core, event, action, now, answered)
        now += pause
        core.handle_timers(now)
    run_out(core)
    assert core.live_transactions == 0
    for out in core.messages_to_send():
        assert (
            out.destination.host in (PEER.host, "192.0.2.20", "10.0.0.5") or b"BYE" in out.data[:4]
        )


def mutate(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    for place, insert, cut in edits:
        at = int(place * len(data))
        data = data[:at] + insert + data[at + cut :]
    return data


def act(core: SipCore, event: Event, action: str, now: float, answered: set[DialogId]) -> None:
    dialog = event.dialog
    if isinstance(event, InviteReceived | ReinviteReceived):
        if action == "ring":
            core.ring(dialog, now)
        elif action == "reject":
            core.reject(dialog, 486, now)
        elif action != "nothing" and core.accept(dialog, SDP, now):
            answered.add(dialog)
    if action == "hang_up" and dialog in answered:
        core.hang_up(dialog, now)


@given(st.binary(max_size=400))
def test_noise_is_neither_answered_nor_raised(data: bytes) -> None:
    core = new_core()
    core.receive(data, PEER, 0.0)
    assert core.messages_to_send() == []
    assert core.next_event() is None
