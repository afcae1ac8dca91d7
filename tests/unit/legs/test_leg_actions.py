"""What the agent wants done: after it was heard, in order, once; and what comes of it."""

from __future__ import annotations

import pytest

from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ids import ReplyId
from calls.transfer import Destination, Transfer
from legs.leg import Leg
from legs.mouth import Paced
from tests.support.facts import guessed, reply_ended, reply_started, speech, turn, withdrawn
from tests.support.leg import Call

DESK = Agent(
    name="desk",
    transfer=Transfer(destinations={"front": Destination(target="+15550111")}, failed="Gone."),
)
ONE = ReplyId("1.0")


def wants(
    action: e.ActionName, reply: str = "1.0", index: int = 0, **arguments: str
) -> e.ActionRequested:
    return e.ActionRequested(
        at=0.0, reply=ReplyId(reply), action=action, index=index, arguments=arguments
    )


TRANSFER = wants("transfer", target="+15550111", mode="attended", destination="front")
ONES = wants("send_digits", digits="1")
TWOS = wants("send_digits", index=1, digits="2")


def answering(*requests: e.Event, frames: int = 3) -> Call:
    """A call whose reply to turn 1 asks for these."""
    call = Call(DESK)
    call.happens(turn(1), reply_started("1.0"), *requests, reply_ended("1.0", 1))
    call.audio("1.0", 0, frames)
    return call


def told(call: Call) -> list[tuple[str, int, str]]:
    done = call.facts(e.ActionDone)
    return [(fact.action, fact.index, fact.outcome) for fact in done]  # type: ignore[attr-defined]


def test_a_transfer_begins_once_the_reply_was_heard_and_only_then() -> None:
    call = answering(TRANSFER)
    call.ticks(2)
    assert call.phone.transfers == []
    call.ticks(5)
    assert call.phone.transfers == [("1.0", "+15550111", "attended")]
    [step] = call.facts(e.TransferProgressed)
    assert (step.target, step.status) == ("+15550111", 100)  # type: ignore[attr-defined]


def test_a_log_that_is_read_again_has_nothing_done_again() -> None:
    call = answering(TRANSFER)
    call.ticks(5)
    call.happens(TRANSFER)
    call.leg.action_done(ONE, "transfer", ok=False, detail="486 Busy Here", status=486)
    call.happens(TRANSFER, reply_ended("1.0", 1))
    call.ticks(5)
    assert len(call.phone.transfers) == 1


def test_keys_are_sent_one_after_the_other_and_the_farewell_waits_for_them() -> None:
    call = answering(ONES, TWOS, wants("hangup"))
    call.ticks(10)
    assert call.phone.digits == [("1.0", "1")]
    call.leg.action_done(ONE, "send_digits", ok=True)
    call.ticks(3)
    assert call.phone.digits == [("1.0", "1"), ("1.0", "2")]
    assert call.phone.hung_up == 0
    call.leg.action_done(ONE, "send_digits", ok=True)
    call.ticks(3)
    assert call.phone.hung_up == 1
    done = [("send_digits", 0, "done"), ("send_digits", 1, "done"), ("hangup", 0, "done")]
    assert told(call) == done


def test_what_was_to_follow_a_transfer_that_failed_is_not_done() -> None:
    call = answering(TRANSFER, wants("hangup"))
    call.ticks(5)
    call.leg.action_done(ONE, "transfer", ok=False, status=486, detail="486 Busy Here")
    call.ticks(5)
    assert call.phone.hung_up == 0
    assert told(call) == [("transfer", 0, "failed"), ("hangup", 0, "failed")]


def test_a_transfer_that_was_talked_over_is_forgotten() -> None:
    call = answering(TRANSFER, frames=5)
    call.ticks(1)
    call.happens(speech(2), turn(2))
    call.ticks(10)
    assert call.phone.transfers == []


@pytest.mark.parametrize("right", [True, False])
def test_a_transfer_goes_with_its_guess(right: bool) -> None:
    call = Call(DESK)
    call.happens(guessed(1, 0), reply_started("1.0"), TRANSFER, reply_ended("1.0", 0))
    call.ticks(3)
    assert call.phone.transfers == []
    call.happens(*(() if right else (withdrawn(1, 0),)), turn(1))
    call.ticks(3)
    assert bool(call.phone.transfers) is right


def test_a_caller_who_says_goodbye_during_a_transfer_is_let_go() -> None:
    call = answering(TRANSFER)
    call.ticks(5)
    call.happens(turn(2), wants("hangup", reply="2.0"), reply_ended("2.0", 0))
    call.ticks(2)
    assert call.phone.hung_up == 1


def test_reports_of_what_is_not_under_way_are_passed_over() -> None:
    call = answering(TRANSFER)
    call.leg.transfer_progressed(ONE, 180, "Ringing")
    call.leg.action_done(ONE, "transfer", ok=True)
    call.ticks(5)
    call.leg.transfer_progressed(ReplyId("2.0"), 180)
    call.leg.action_done(ONE, "send_digits", ok=True)
    call.leg.action_done(ONE, "transfer", ok=True, detail="x" * 1000)
    call.leg.action_done(ONE, "transfer", ok=False)
    assert told(call) == [("transfer", 0, "done")]
    assert len(call.facts(e.TransferProgressed)) == 1
    [done] = call.facts(e.ActionDone)
    assert len(done.detail) <= 200  # type: ignore[attr-defined]


def test_a_carrier_may_say_at_once_that_it_cannot() -> None:
    call = answering(TRANSFER)

    def refuse(reply: ReplyId, *_: object) -> None:
        call.leg.action_done(reply, "transfer", ok=False, detail="not here")

    call.phone.transfer = refuse  # type: ignore[method-assign]
    call.ticks(5)
    assert told(call) == [("transfer", 0, "failed")]


def test_an_action_of_which_nobody_tells_anything_fails_in_the_end() -> None:
    call = answering(TRANSFER, wants("hangup"))
    call.ticks(5, at=1000.0)
    call.ticks(1, at=180_000.0)
    assert told(call) == []
    call.ticks(1, at=182_000.0)
    assert told(call) == [("transfer", 0, "failed"), ("hangup", 0, "failed")]


def test_the_caller_who_comes_back_is_told_so_once() -> None:
    call = answering(TRANSFER)
    call.happens(e.CallAnswered(at=0.0))
    call.ticks(5, at=2000)
    call.happens(*call.facts(e.TransferProgressed), *call.facts(e.PlaybackStarted))
    call.happens(*call.facts(e.PlaybackStopped))
    call.ticks(20, at=60_000)
    assert call.leg.asides == []  # on their way, they are not asked whether they are there
    call.leg.action_done(ONE, "transfer", ok=False, status=486, detail="486 Busy Here")
    call.happens(*call.facts(e.ActionDone))
    call.ticks(10, at=60_100)
    [due] = call.leg.asides
    assert (due.why, due.text) == ("transfer_failed", "Gone.")
    call.happens(*call.facts(e.AsideDue))
    call.ticks(20, at=60_200)
    assert len(call.leg.asides) == 1


def test_a_leg_that_follows_no_log_yet_does_nothing() -> None:
    phone = Call(DESK).phone
    leg = Leg(Call(DESK).leg.call, DESK, phone, Paced(phone), lambda: 0.0)
    leg.happened(TRANSFER, Conversation())
    leg.tick(0.0)
    assert phone.transfers == []
