"""Two cores, and a network that loses, doubles and reorders: every call ends on both sides."""

from __future__ import annotations

import heapq
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from ingress_sip.signalling.asking import Ask
from ingress_sip.signalling.core import SipCore
from ingress_sip.signalling.dialog import DialogId
from ingress_sip.signalling.events import (
    AckTimedOut,
    AskAnswered,
    ByeAnswered,
    ByeReceived,
    CallRefused,
    InviteCancelled,
    ReferReceived,
    ReinviteReceived,
    SessionLost,
)
from ingress_sip.signalling.fields import NameAddr
from ingress_sip.signalling.routing import Hop, Transport
from ingress_sip.signalling.session_timer import TimerPolicy
from ingress_sip.signalling.uri import SipUri

SDP = b"v=0\r\n"
THEM = NameAddr.parse("<sip:them@192.0.2.9>")
HOPS = {name: Hop(Transport.UDP, f"192.0.2.{name}", 5060) for name in (1, 2)}
OVER = (AckTimedOut, ByeAnswered, ByeReceived, CallRefused, InviteCancelled, SessionLost)

#: What becomes of each datagram: how many copies arrive, after how many s.
FATES = st.lists(
    st.lists(st.sampled_from([0.01, 0.02, 0.02, 0.3, 2.0]), max_size=2), min_size=20, max_size=120
)
#: What the user of either core does to its call, and when, s.
ACTS = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),
        st.sampled_from(["ring", "early", "accept", "hold", "refer", "info", "hang_up"]),
        st.floats(0, 60),
    ),
    max_size=8,
)


class Network:
    def __init__(self, fates: list[list[float]]) -> None:
        self.fates = iter(fates)
        self.order = count()
        self.air: list[tuple[float, int, int, bytes]] = []
        self.cores = {name: self.core(name) for name in HOPS}
        self.now = 0.0
        self.calls: dict[int, set[DialogId]] = {name: set() for name in HOPS}  # all there ever were
        self.over: dict[int, set[DialogId]] = {name: set() for name in HOPS}

    def core(self, name: int) -> SipCore:
        tokens = count()
        return SipCore(
            contact_for=lambda _: SipUri.of(HOPS[name].host, 5060),
            tokens=lambda: f"c{name}t{next(tokens)}",
            user_agent="Trunkline",
            timers=TimerPolicy(expires=100),
        )

    def run(self, until: float) -> None:
        """Carry datagrams and wake the cores until then."""
        while True:
            self.settle()
            dues = [due for core in self.cores.values() if (due := core.next_timer()) is not None]
            now = min([*dues, *(due for due, *_ in self.air[:1])], default=until)
            if now > until:
                return
            self.now = max(self.now, now)
            while self.air and self.air[0][0] <= self.now:
                _, _, to, data = heapq.heappop(self.air)
                self.cores[to].receive(data, HOPS[3 - to], self.now)
                self.settle()
            for core in self.cores.values():
                core.handle_timers(self.now)
            if not dues and not self.air:
                self.settle()
                if not self.air and all(c.next_timer() is None for c in self.cores.values()):
                    return

    def settle(self) -> None:
        for name, core in self.cores.items():
            while (event := core.next_event()) is not None:
                assert not isinstance(event, AskAnswered)
                self.calls[name].add(event.dialog)
                if isinstance(event, OVER):
                    self.over[name].add(event.dialog)
                if isinstance(event, ReinviteReceived):
                    core.accept(event.dialog, SDP, self.now)
                elif isinstance(event, ReferReceived):
                    core.answer_refer(event.dialog, 202, self.now)
                    core.notify(event.dialog, 200, "OK", self.now)
            for out in core.messages_to_send():
                for delay in next(self.fates, [0.01]):
                    entry = (self.now + delay, next(self.order), 3 - name, out.data)
                    heapq.heappush(self.air, entry)

    def act(self, name: int, act: str) -> None:
        core, now = self.cores[name], self.now
        for call in self.calls[name]:
            match act:
                case "ring":
                    core.ring(call, now)
                case "early":
                    core.ring(call, now, 183, SDP)
                case "accept":
                    core.accept(call, SDP, now)
                case "hold":
                    core.reoffer(call, SDP, now)
                case "refer":
                    core.refer(call, THEM, now)
                case "info":
                    core.info(call, "application/dtmf", b"5", now)
                case "hang_up":
                    if core.hang_up(call, now) and not core.live_dialogs:
                        self.over[name].add(call)  # refused: no event follows


@settings(max_examples=50)
@given(FATES, ACTS)
def test_every_call_ends_on_both_sides(
    fates: list[list[float]], acts: list[tuple[int, str, float]]
) -> None:
    network = Network(fates)
    ask = Ask("INVITE", SipUri.of(HOPS[2].host), THEM, THEM, (HOPS[2],), body=SDP)
    network.calls[1].add(network.cores[1].call(ask, 0.0))
    for name, act, at in [(2, "accept", 1.0), *sorted(acts, key=lambda each: each[2])]:
        network.run(at)
        network.now = max(network.now, at)
        network.act(name, act)
    network.run(100.0)
    network.now = max(network.now, 100.0)
    network.act(1, "hang_up")
    network.run(2000.0)
    for name, core in network.cores.items():
        assert (core.live_dialogs, core.live_transactions, core.next_timer()) == (0, 0, None)
        assert network.calls[name] == network.over[name]


def test_nothing_is_lost_without_loss() -> None:
    network = Network([])
    ask = Ask("INVITE", SipUri.of(HOPS[2].host), THEM, THEM, (HOPS[2],), body=SDP)
    network.calls[1].add(network.cores[1].call(ask, 0.0))
    network.run(0.5)
    assert network.calls[2]
    for name, act in [(2, "accept"), (1, "hold"), (2, "hold"), (1, "refer"), (2, "hang_up")]:
        network.act(name, act)
        network.run(network.now + 0.5)
    assert network.calls == network.over
