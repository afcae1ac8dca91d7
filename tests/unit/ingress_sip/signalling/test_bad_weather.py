"""Two user agents over a network that loses, doubles and reorders: every call comes to its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress_sip.signalling.events import (
    AckReceived,
    ByeAnswered,
    ByeReceived,
    CallAnswered,
    CallRefused,
    Event,
    InviteCancelled,
    InviteReceived,
)
from ingress_sip.signalling.routing import Hop, Transport
from tests.support.callers import Answerer, Caller, Party, Plan, ScriptedCaller
from tests.support.link import Link, Weather

ALICE = Hop(Transport.UDP, "192.0.2.7", 5060)
BOT = Hop(Transport.UDP, "192.0.2.1", 5060)

WEATHER = st.builds(
    Weather,
    loss=st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.6, 0.9]),
    doubled=st.sampled_from([0.0, 0.1, 0.5]),
    slowest=st.sampled_from([0.0, 0.05, 0.4, 3.0]),
)
LATER = st.none() | st.floats(0.0, 10.0)
PLANS = st.builds(
    Plan,
    answer=LATER,
    refuse=st.booleans(),
    cancel=LATER,
    reinvite=LATER,
    caller_hangs_up=st.floats(0.0, 60.0) | st.just(400.0),
    callee_hangs_up=st.floats(0.0, 60.0) | st.just(500.0),
    callee_reinvites=LATER,
    refer=LATER,
    early=st.booleans(),
    session_s=st.sampled_from([0, 90, 1800]),
)
ENDS = (ByeReceived, ByeAnswered, InviteCancelled, CallRefused)


@given(PLANS, WEATHER, st.integers(0, 2**32))
def test_every_call_to_us_comes_to_its_end(plan: Plan, weather: Weather, seed: int) -> None:
    caller, bot = ScriptedCaller(ALICE, BOT, plan), Answerer(BOT, plan)
    Link({ALICE: caller, BOT: bot}, weather, seed).run()
    assert "ended" in caller.story
    check_end(bot, plan)


@given(PLANS, WEATHER, st.integers(0, 2**32))
def test_every_call_between_two_of_us_comes_to_its_end(
    plan: Plan, weather: Weather, seed: int
) -> None:
    alice, bot = Caller(ALICE, BOT, plan), Answerer(BOT, plan)
    Link({ALICE: alice, BOT: bot}, weather, seed).run()
    check_end(bot, plan)
    check_end(alice, plan)
    kinds = [type(event) for event in alice.events]
    answered = kinds.count(CallAnswered) + kinds.count(CallRefused)
    # When every copy of the 2xx is lost, the BYE after it is the first that is heard of the answer.
    assert answered == 1 or (answered == 0 and kinds[-1] is ByeReceived)


def check_end(party: Party, plan: Plan) -> None:
    """Nothing is left, and every call was told to be over, once and at last."""
    assert (party.core.live_dialogs, party.core.live_transactions) == (0, 0)
    calls: dict[object, list[Event]] = {}
    for event in party.events:
        calls.setdefault(getattr(event, "dialog", None), []).append(event)
    for events in calls.values():
        ends = [event for event in events if isinstance(event, ENDS)]
        incoming = isinstance(events[0], InviteReceived)
        if incoming and not ends and (plan.refuse or plan.early):
            # What its user refused needs no telling; also where hanging up overtook an answer that
            # waited for a PRACK.
            continue
        if [type(event) for event in ends] == [CallRefused, ByeAnswered]:
            ends = ends[
                1:
            ]  # the CANCEL crossed the 2xx (9.1): cancelled for its user, then hung up
        assert len(ends) == 1, events
        assert events[-1] is ends[0], events


@pytest.mark.parametrize("seed", range(20))
def test_a_tenth_of_loss_costs_no_call(seed: int) -> None:
    plan = Plan(callee_hangs_up=5.0, reinvite=2.0)
    weather = Weather(loss=0.1, doubled=0.1, slowest=0.1)
    caller, bot = ScriptedCaller(ALICE, BOT, plan), Answerer(BOT, plan)
    link = Link({ALICE: caller, BOT: bot}, weather, seed)
    link.run()
    assert caller.story == ["answered", "ended"]
    told = [type(event) for event in bot.events]
    assert told[0] is InviteReceived
    assert AckReceived in told
    assert told[-1] is ByeAnswered
    assert link.carried < 60


@pytest.mark.parametrize("seed", range(20))
def test_a_long_call_is_kept_alive_through_a_tenth_of_loss(seed: int) -> None:
    plan = Plan(session_s=90, caller_hangs_up=400.0)
    alice, bot = Caller(ALICE, BOT, plan), Answerer(BOT, plan)
    Link({ALICE: alice, BOT: bot}, Weather(loss=0.1, doubled=0.1, slowest=0.1), seed).run()
    assert [type(event) for event in alice.events][-2:] == [CallAnswered, ByeAnswered]
    assert [type(event) for event in bot.events] == [InviteReceived, AckReceived, ByeReceived]


def test_fair_weather_costs_no_message_too_many() -> None:
    plan = Plan(callee_hangs_up=5.0)
    for caller in (ScriptedCaller(ALICE, BOT, plan), Caller(ALICE, BOT, plan)):
        bot = Answerer(BOT, plan)
        link = Link({ALICE: caller, BOT: bot}, Weather(), 0)
        link.run()
        assert [type(event) for event in bot.events] == [InviteReceived, AckReceived, ByeAnswered]
        assert link.carried == 7  # INVITE, 100, 180, 200, ACK, BYE, 200
