"""What a log becomes when it is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from calls import events as e
from calls.agent import Agent
from calls.conversation import Conversation
from calls.ending import Ending
from calls.ids import CallId, ReplyId
from calls.timing import STAGES
from calls.turns import Run
from storage.record import CallRecord, EventRecord, worth_keeping
from tests.support.facts import (
    aside,
    ended,
    guessed,
    playing,
    reply_started,
    sentence,
    started,
    stopped,
    synthesis_ended,
    synthesis_started,
    turn,
    withdrawn,
)

T0 = 1_790_000_000_000.0


def _log() -> list[e.Event]:
    """A greeting; a question that is answered; the caller speaks over that answer, and hangs up
    in the middle of a third turn."""
    return [
        e.CallStarted(
            at=T0,
            call=CallId("20260921t131320-0badcafe"),
            agent=Agent(name="clinic", greeting="Hello."),
            carrier="sip",
            caller="+15550100",
            called="+15550199",
            carrier_call="a84b4c76e66710",
            codec="PCMU",
            remote="192.0.2.7:5060",
        ),
        e.CallAnswered(at=T0 + 100),
        e.SentenceReady(
            at=T0 + 110, reply=ReplyId("0.0"), index=0, text="Hello.", first_token_at=T0 + 105
        ),
        e.SynthesisEnded(at=T0 + 200, reply=ReplyId("0.0"), index=0, samples=8000, why="complete"),
        e.PlaybackStarted(at=T0 + 210, reply=ReplyId("0.0"), index=0, offset=0, position=800),
        e.PlaybackStopped(
            at=T0 + 1210, reply=ReplyId("0.0"), index=0, offset=8000, position=8800, why="finished"
        ),
        e.SpeechStarted(at=T0 + 2000, turn=1, position=16_000),
        e.TranscriptPartial(at=T0 + 2500, turn=1, position=20_000, text="when do"),
        e.TurnEnded(
            at=T0 + 3650,
            turn=1,
            text="when do you open",
            confidence=0.9,
            speech_start=16_000,
            speech_end=24_000,
            speech_ended_at=T0 + 3000,
            decided_at=T0 + 3600,
        ),
        e.ReplyStarted(at=T0 + 3660, reply=ReplyId("1.0")),
        e.SentenceReady(
            at=T0 + 3700,
            reply=ReplyId("1.0"),
            index=0,
            text="We open at eight",
            first_token_at=T0 + 3680,
        ),
        e.ReplyEnded(at=T0 + 3701, reply=ReplyId("1.0"), sentences=1, why="complete"),
        e.SynthesisStarted(at=T0 + 3750, reply=ReplyId("1.0"), index=0, taken_at=T0 + 3710),
        e.SynthesisEnded(
            at=T0 + 3800, reply=ReplyId("1.0"), index=0, samples=16_000, why="complete"
        ),
        e.PlaybackStarted(at=T0 + 3800, reply=ReplyId("1.0"), index=0, offset=0, position=30_400),
        e.PlaybackStopped(
            at=T0 + 4800, reply=ReplyId("1.0"), index=0, offset=8000, position=38_400, why="paused"
        ),
        e.TurnEnded(
            at=T0 + 6000,
            turn=2,
            text="wait",
            confidence=None,
            speech_start=38_000,
            speech_end=40_000,
            speech_ended_at=T0 + 5000,
            decided_at=T0 + 5600,
        ),
        e.TranscriptPartial(at=T0 + 7000, turn=3, position=56_000, text="i meant"),
        e.StageFailed(at=T0 + 7100, stage="llm", error_type="Timeout", message="no answer"),
        e.MediaQuality(
            at=T0 + 8000, packets=400, lost=2, late=1, concealed=3, jitter_ms=4.5, mos=4.1
        ),
        e.CallEnded(at=T0 + 8100, why=Ending.CALLER_HUNG_UP, position=64_000),
    ]


def _record(log: list[e.Event]) -> CallRecord:
    return CallRecord.of(Conversation.of(log), log, None)


def test_a_call_is_summed_up() -> None:
    call = _record(_log())
    assert call.id == "20260921t131320-0badcafe"
    assert call.started_at == datetime.fromtimestamp(T0 / 1000, UTC)
    assert call.ending == "caller_hung_up"
    assert call.duration_ms == 8000  # from answer, not from ringing
    assert call.turn_count == 2
    assert call.failure_count == 1
    assert call.mos == 4.1
    assert call.agent["greeting"] == "Hello."


def test_a_turn_adds_up_from_the_last_spoken_sample() -> None:
    turn = _record(_log()).turns[1]
    assert tuple(turn.stages_ms) == STAGES
    assert turn.voice_to_voice_ms == 800.0 == sum(turn.stages_ms.values())
    assert turn.started_at == datetime.fromtimestamp((T0 + 2000) / 1000, UTC)
    assert turn.ended_at == datetime.fromtimestamp((T0 + 3600) / 1000, UTC)


def test_an_interrupted_reply_keeps_both_what_was_said_and_what_was_heard() -> None:
    turn = _record(_log()).turns[1]
    assert turn.interrupted
    assert turn.agent_text == "We open at eight"
    assert turn.heard_text == "We open"
    (sentence,) = turn.sentences
    assert sentence.runs == (Run(0, 8000, 30_400),)
    assert (sentence.heard_samples, sentence.samples) == (8000, 16_000)


def test_the_greeting_is_a_turn_without_a_callers_side() -> None:
    greeting = _record(_log()).turns[0]
    assert (greeting.number, greeting.caller_text) == (0, "")
    assert greeting.heard_text == "Hello."
    assert not greeting.interrupted
    assert greeting.voice_to_voice_ms is None


def test_words_spoken_as_the_caller_hung_up_are_kept() -> None:
    last = _record(_log()).turns[-1]
    assert (last.number, last.caller_text, last.ended_at) == (3, "i meant", None)


def test_a_dropped_cough_is_no_turn() -> None:
    log = _log()
    log.insert(-1, e.SpeechDropped(at=T0, turn=3, position=55_000, why="no_words"))
    assert [turn.number for turn in _record(log).turns] == [0, 1, 2]


def test_a_live_call_has_a_record_too() -> None:
    call = _record(_log()[:9])
    assert (call.ended_at, call.ending, call.duration_ms) == (None, None, None)
    assert [turn.number for turn in call.turns] == [0, 1]


def test_a_call_that_was_never_answered_lasted_nothing() -> None:
    log = [_log()[0], e.CallEnded(at=T0 + 9000, why=Ending.CANCELLED, position=0)]
    assert _record(log).duration_ms == 0


def test_all_but_partials_are_kept_and_keep_their_place() -> None:
    log = _log()
    kept = _record(log).events
    assert [event.seq for event in kept] == [
        seq for seq, event in enumerate(log) if worth_keeping(event)
    ]
    assert "transcript.partial" not in {event.kind for event in kept}
    assert len(kept) == len(log) - 2


def test_an_events_payload_is_plain_json() -> None:
    ended = EventRecord.of(3, e.CallEnded(at=T0, why=Ending.SHUTDOWN, position=5))
    assert ended.payload == {"why": "shutdown", "position": 5}
    started = EventRecord.of(0, _log()[0])
    assert started.payload["agent"]["name"] == "clinic"


def test_a_log_without_a_start_is_no_call() -> None:
    log = _log()[1:]
    with pytest.raises(ValueError, match=r"call\.started"):
        _record(log)


def test_what_ended_a_turn_is_kept_and_what_was_guessed_of_it() -> None:
    kept = _record(
        [
            started(),
            guessed(1, 0, "two", at=1000.0),
            withdrawn(1, 0),
            guessed(1, 1, "two for eight", at=2000.0),
            synthesis_started("1.1", 0, at=2150.0),
            turn(1, "two for eight", revision=1, rule="complete", decided_at=2200.0, at=2201.0),
        ]
    ).turns[0]
    assert (kept.rule, kept.guesses, kept.guesses_withdrawn) == ("complete", 2, 1)
    assert (kept.hidden_ms, kept.ready_early_ms) == (150.0, 50.0)


def test_a_live_call_shows_what_the_caller_is_taken_to_have_said() -> None:
    log = [started(), guessed(1, 0, "good morning")]
    (live,) = _record(log).turns
    assert (live.caller_text, live.ended_at, live.guesses_withdrawn) == ("good morning", None, 0)
    (gone_on,) = _record([*log, withdrawn(1, 0)]).turns
    assert gone_on.guesses_withdrawn == 1


def test_a_reply_prepared_to_words_that_were_none_makes_no_turn() -> None:
    log = [
        started(),
        guessed(1, 0),
        reply_started("1.0"),
        sentence("1.0", 0, "Pardon?"),
        withdrawn(1, 0),
        e.SpeechDropped(at=3000.0, turn=1, position=0, why="noise", text="the"),
    ]
    call = _record(log)
    assert call.turns == ()
    dropped = call.events[-1]
    assert (dropped.kind, dropped.payload["why"], dropped.payload["text"]) == (
        "speech.dropped", "noise", "the",
    )  # fmt: skip


def test_asides_are_kept_with_their_turn_in_the_order_they_fell_due() -> None:
    log = [
        started(),
        turn(1),
        *(aside(f"1.a{number}", "reprompt", f"Number {number}?") for number in range(11)),
        synthesis_ended("1.a0", 0, 8000),
        playing("1.a0", 0, position=800),
        stopped("1.a0", 0, 8000, 8800),
        ended(),
    ]
    (kept,) = _record(log).turns
    assert [each.number for each in kept.asides] == list(range(11))
    first, second = kept.asides[:2]
    assert (first.why, first.heard_text, first.runs) == (
        "reprompt", "Number 0?", (Run(0, 8000, 800),),
    )  # fmt: skip
    assert (second.heard_text, second.samples, second.runs) == ("", None, ())
    assert (kept.agent_text, kept.sentences) == ("", ())


def test_an_aside_to_a_caller_who_never_spoke_is_kept_too() -> None:
    call = _record([started(), aside("0.a0", "reprompt", "Are you there?")])
    assert [each.text for each in call.turns[0].asides] == ["Are you there?"]


def _action(action: e.ActionName, at: float, reply: str = "1.0", **arguments: str) -> e.Event:
    return e.ActionRequested(at=at, reply=ReplyId(reply), action=action, arguments=arguments)


def test_actions_are_kept_with_their_outcome_and_steps() -> None:
    reply = ReplyId("1.0")
    log = [
        replace(started(), direction="outbound", trunk="carrier"),
        turn(1),
        _action("transfer", 3000.0, target="100", mode="blind"),
        _action("hangup", 3000.5),
        e.TransferProgressed(at=3100.0, reply=reply, target="100", status=100, text="Trying"),
        e.TransferProgressed(at=4000.0, reply=reply, target="100", status=486, text="Busy Here"),
        e.ActionDone(
            at=4000.0, reply=reply, action="transfer", outcome="failed", detail="x", status=486
        ),
    ]
    record = CallRecord.of(Conversation.of(log), log, None)
    assert (record.direction, record.trunk) == ("outbound", "carrier")
    transfer, hangup = record.actions
    assert (transfer.number, transfer.turn, transfer.outcome) == (0, 1, "failed")
    assert (transfer.status, transfer.detail) == (486, "x")
    assert transfer.steps == ((100.0, 100, "Trying"), (1000.0, 486, "Busy Here"))
    assert (hangup.number, hangup.outcome, hangup.steps) == (1, None, ())


def test_what_the_answer_to_a_wrong_guess_asked_for_is_not_kept() -> None:
    log = [
        started(),
        guessed(1, 0),
        reply_started("1.0"),
        _action("hangup", 2000.0),
        withdrawn(1, 0),
        turn(1, revision=1),
    ]
    assert CallRecord.of(Conversation.of(log), log, None).actions == ()


def test_the_codec_that_was_spoken_last_is_kept() -> None:
    quality = e.MediaQuality(
        at=5000.0, packets=1, lost=0, late=0, concealed=0, jitter_ms=1.0, mos=4.0, codec="G722",
        sent=50, peer_lost=2, peer_jitter_ms=1.5,
    )  # fmt: skip
    log = [started(), quality]
    record = CallRecord.of(Conversation.of(log), log, None)
    assert record.codec == "G722"
    assert record.quality is not None
    kept = (record.quality.sent, record.quality.peer_lost, record.quality.peer_jitter_ms)
    assert kept == (50, 2, 1.5)
    old = [started(), replace(quality, codec="")]
    assert CallRecord.of(Conversation.of(old), old, None).codec == "PCMU"
