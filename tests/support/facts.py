"""Facts for tests: events without the fields that do not matter, and strategies of them."""

from __future__ import annotations

import dataclasses
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from calls import events as e
from calls.agent import Agent
from calls.ending import Ending
from calls.ids import CallId, ReplyId

CALL = CallId("20260102t030405-abcdef0123")
AGENT = Agent(name="desk")

KINDS: tuple[type[e.Event], ...] = get_args(e.AnyEvent)


def started(call: CallId = CALL, agent: Agent = AGENT, at: float = 1000.0) -> e.CallStarted:
    return e.CallStarted(
        at=at,
        call=call,
        agent=agent,
        carrier="sip",
        caller="alice",
        called="100",
        carrier_call="abc@phone",
        codec="PCMU",
        remote="127.0.0.1:5060",
    )


def turn(number: int, text: str = "hello", at: float = 2000.0, **fields: Any) -> e.TurnEnded:
    defaults: dict[str, Any] = {
        "confidence": 0.9,
        "speech_start": 0,
        "speech_end": 8000,
        "speech_ended_at": at - 700,
        "decided_at": at - 100,
    }
    return e.TurnEnded(at=at, turn=number, text=text, **{**defaults, **fields})


def speech(number: int, position: int = 0, at: float = 1500.0) -> e.SpeechStarted:
    return e.SpeechStarted(at=at, turn=number, position=position)


def guessed(number: int, revision: int = 0, text: str = "hello", at: float = 1900.0) -> e.Event:
    return e.TurnGuessed(
        at=at, turn=number, revision=revision, text=text, confidence=0.9, speech_end=8000
    )


def withdrawn(number: int, revision: int = 0, at: float = 1950.0) -> e.Event:
    return e.GuessWithdrawn(at=at, turn=number, revision=revision)


def aside(
    reply: str, why: e.AsideReason = "filler", text: str = "One moment.", at: float = 4000.0
) -> e.Event:
    return e.AsideDue(at=at, reply=ReplyId(reply), why=why, text=text)


def reply_started(reply: str, at: float = 2010.0) -> e.ReplyStarted:
    return e.ReplyStarted(at=at, reply=ReplyId(reply))


def sentence(reply: str, index: int, text: str, at: float = 2100.0) -> e.SentenceReady:
    return e.SentenceReady(
        at=at, reply=ReplyId(reply), index=index, text=text, first_token_at=at - 50
    )


def reply_ended(reply: str, sentences: int, why: Any = "complete") -> e.ReplyEnded:
    return e.ReplyEnded(at=2200.0, reply=ReplyId(reply), sentences=sentences, why=why)


def synthesis_started(reply: str, index: int, at: float = 2150.0) -> e.SynthesisStarted:
    return e.SynthesisStarted(at=at, reply=ReplyId(reply), index=index, taken_at=at - 20)


def synthesis_ended(
    reply: str, index: int, samples: int, why: Any = "complete"
) -> e.SynthesisEnded:
    return e.SynthesisEnded(at=2300.0, reply=ReplyId(reply), index=index, samples=samples, why=why)


def playing(
    reply: str, index: int, offset: int = 0, position: int = 0, at: float = 2180.0
) -> e.PlaybackStarted:
    return e.PlaybackStarted(
        at=at, reply=ReplyId(reply), index=index, offset=offset, position=position
    )


def stopped(
    reply: str, index: int, offset: int, position: int = 0, why: Any = "finished"
) -> e.PlaybackStopped:
    return e.PlaybackStopped(
        at=2500.0, reply=ReplyId(reply), index=index, offset=offset, position=position, why=why
    )


def ended(position: int = 80_000, why: Ending = Ending.CALLER_HUNG_UP) -> e.CallEnded:
    return e.CallEnded(at=9000.0, why=why, position=position)


_TIMES = st.floats(0, 1e13, allow_nan=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "call": st.just(CALL),
    "agent": st.sampled_from([AGENT, Agent(name="monologue", barge_in=False)]),
    "reply": st.sampled_from(["0.0", "1.0", "1.1", "2.0", "10.0", "1.a0", "2.a1"]).map(ReplyId),
    "turn": st.integers(0, 3),
    "revision": st.integers(0, 1),
    "index": st.integers(0, 2),
    "text": st.sampled_from(["", "one", "one two three", "Yes, of course."]) | _TEXT,
}


@cache
def events(kind: type[e.Event] | None = None) -> st.SearchStrategy[e.Event]:
    """Events of a kind, or of any: valid each, in no sensible order."""
    if kind is None:
        return st.one_of([events(each) for each in KINDS])
    hints = get_type_hints(kind)
    fields = {
        field.name: _BY_NAME[field.name] if field.name in _BY_NAME else _values(hints[field.name])
        for field in dataclasses.fields(kind)
        if field.name != "kind"
    }
    return st.builds(kind, **fields)


def _values(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return st.one_of([_values(each) for each in get_args(hint)])
    simple: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(0, 1_000_000),
        float: _TIMES,
        str: _TEXT,
        bool: st.booleans(),
        type(None): st.none(),
        dict[str, str]: st.dictionaries(_TEXT, _TEXT, max_size=2),
    }
    return simple[hint] if hint in simple else st.sampled_from(list(hint))
