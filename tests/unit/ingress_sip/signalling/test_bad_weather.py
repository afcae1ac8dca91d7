"""Two user agents over a network that loses, doubles and reorders: every call comes to its end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.events import (
    AckReceived,
    AckTimedOut,
    ByeAnswered,
    ByeReceived,
    InviteCancelled,
    InviteReceived,
)
from ingress_sip.signalling.routing import Hop, Transport
from tests.support.callers import Answerer, Plan, ScriptedCaller
from tests.support.link import Link, Weather

ALICE = Hop(Transport.UDP, "192.0.2.7", 5060)
BOT = Hop(Transport.UDP, "192.0.2.1", 5060)

WEATHER = st.builds(
    Weather,
    loss=st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.6, 0.9]),
    doubled=st.sampled_from([0.0, 0.1, 0.5]),
    slowest=st.sampled_from([0.0, 0.05, 0.4, 3.0]),
)
PLANS = st.builds(
    Plan,
    answer=st.none() | st.floats(0.0, 10.0),
    refuse=st.booleans(),
    cancel=st.none() | st.floats(0.0, 10.0),
    reinvite=st.none() | st.floats(0.0, 10.0),
    caller_hangs_up=st.floats(0.0, 60.0),
    callee_hangs_up=st.none() | st.floats(0.0, 60.0),
)


def play(plan: Plan, weather: Weather, seed: int) -> tuple[ScriptedCaller, Answerer, Link]:
    caller, bot = ScriptedCaller(ALICE, BOT, plan), Answerer(BOT, plan)
    link = Link({ALICE: caller, BOT: bot}, weather, seed)
    link.run()
    return caller, bot, link


@given(PLANS, WEATHER, st.integers(0, 2**32))
def test_every_call_comes_to_its_end(plan: Plan, weather: Weather, seed: int) -> None:
    caller, bot, _ = play(plan, weather, seed)
    assert "ended" in caller.story
    assert (bot.core.live_dialogs, bot.core.live_transactions) == (0, 0)
    for began, events in dialogs(bot).items():
        kinds = [type(event) for event in events]
        assert kinds.count(InviteReceived) == 1, began
        assert sum(kinds.count(kind) for kind in (ByeReceived, ByeAnswered, InviteCancelled)) <= 1
        if ended_by_an_event(plan):
            assert kinds[-1] in (ByeReceived, ByeAnswered, InviteCancelled), kinds
        for before, after in pairwise(kinds):
            assert before is not AckTimedOut or after in (ByeAnswered, ByeReceived)


def dialogs(bot: Answerer) -> dict[object, list[object]]:
    found: dict[object, list[object]] = {}
    for event in bot.events:
        found.setdefault(event.dialog, []).append(event)
    return found


def ended_by_an_event(plan: Plan) -> bool:
    """Calls that our side refuses end without one."""
    return not plan.refuse


@pytest.mark.parametrize("seed", range(20))
def test_a_tenth_of_loss_costs_no_call(seed: int) -> None:
    plan = Plan(callee_hangs_up=5.0, reinvite=2.0)
    caller, bot, link = play(plan, Weather(loss=0.1, doubled=0.1, slowest=0.1), seed)
    assert caller.story == ["answered", "ended"]
    kinds = [type(event) for event in bot.events]
    assert kinds[0] is InviteReceived
    assert AckReceived in kinds
    assert kinds[-1] is ByeAnswered
    assert link.carried < 60


def test_fair_weather_costs_no_message_too_many() -> None:
    _, bot, link = play(Plan(callee_hangs_up=5.0), Weather(), 0)
    assert [type(event) for event in bot.events] == [InviteReceived, AckReceived, ByeAnswered]
    # INVITE, 100, 180, 200, ACK, BYE, 200
    assert link.carried == 7
