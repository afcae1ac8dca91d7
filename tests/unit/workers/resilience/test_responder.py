from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from workers.ports import Action, ProviderError, Token
from workers.resilience.breaker import FAILURES, PAUSE_S
from workers.resilience.responder import ResilientResponder

from .conftest import Thinks, down, now

YES = (Token("Yes"), Token("."), Action("hangup"))
NO = (Token("No."),)


async def ask(responder: ResilientResponder) -> tuple[Any, ...]:
    return tuple([piece async for piece in responder.reply([], confidence=None)])


async def test_who_answers_is_the_only_one_asked(line):
    first, second = Thinks(YES), Thinks(NO)
    assert await ask(ResilientResponder(line(first, second))) == YES
    assert (first.asked, second.asked, now()) == (1, 0, 0)


async def test_who_is_unavailable_is_asked_once_more_after_a_pause_and_then_the_next(line):
    first, second = Thinks([down()]), Thinks(NO)
    assert await ask(ResilientResponder(line(first, second))) == NO
    assert (first.asked, second.asked, now()) == (2, 1, 0.2)
    recovering = Thinks([down()], YES)
    assert await ask(ResilientResponder(line(recovering))) == YES


@pytest.mark.parametrize("error_type", ["refused", "protocol"])
async def test_who_refuses_is_not_asked_again(line, error_type):
    first, second = Thinks([down(error_type)]), Thinks(NO)
    assert await ask(ResilientResponder(line(first, second))) == NO
    assert (first.asked, now()) == (1, 0)


async def test_who_takes_too_long_is_hung_up_on_and_the_next_is_asked_at_once(line):
    first, second = Thinks([5.0, *YES]), Thinks(NO)
    assert await ask(ResilientResponder(line(first, second))) == NO
    assert (first.asked, first.over, now()) == (1, 1, 1.0)


async def test_who_takes_too_long_and_is_alone_is_asked_once_more(line):
    assert await ask(ResilientResponder(line(Thinks([5.0], YES)))) == YES
    with pytest.raises(ProviderError, match="raise its timeout_ms under `llm`") as caught:
        await ask(ResilientResponder(line(Thinks([5.0]))))
    assert caught.value.error_type == "timeout"


async def test_each_piece_has_the_whole_time_and_what_the_listener_takes_is_not_counted(line):
    pieces = []
    slow = Thinks([0.9, Token("a"), 0.9, Token("b"), 0.9, Token("c")])
    async for piece in ResilientResponder(line(slow)).reply([], confidence=None):
        pieces.append(piece.text)
        await asyncio.sleep(30)
    assert pieces == [*"abc"]


@pytest.mark.parametrize("broken", [[Token("We "), down()], [Token("We "), 1.5, Token("are")]])
async def test_nobody_begins_anew_what_was_half_said(line, broken):
    first, second = Thinks(broken), Thinks(NO)
    stream = ResilientResponder(line(first, second)).reply([], confidence=None)
    assert await anext(stream) == Token("We ")
    with pytest.raises(ProviderError):
        await anext(stream)
    assert (first.asked, second.asked) == (1, 0)


async def test_who_stands_in_is_told_what_was_said(line):
    second = Thinks(NO)
    responder = ResilientResponder(line(Thinks([down("refused")]), second))
    async for _ in responder.reply([], confidence=None, said=["We are open."]):
        pass
    assert second.said == ["We are open."]


async def test_an_answer_without_words_is_an_answer(line):
    second = Thinks(NO)
    assert await ask(ResilientResponder(line(Thinks([]), second))) == ()
    assert second.asked == 0


async def test_when_all_fail_the_error_has_the_word_of_each(line):
    chain = line(Thinks([ProviderError("a")]), Thinks([5.0]))
    with pytest.raises(ProviderError, match="all providers of llm failed: a; stub 1: ") as caught:
        await ask(ResilientResponder(chain))
    assert caught.value.error_type == "timeout"


async def test_the_dead_cost_no_time_once_that_is_known(line):
    dead, second = Thinks([5.0]), Thinks(NO)
    responder = ResilientResponder(line(dead, second))
    for _ in range(20):
        assert await ask(responder) == NO
    assert (dead.asked, now()) == (FAILURES, FAILURES * 1.0)


async def test_while_one_finds_out_whether_it_is_back_the_others_do_not_wait(line):
    back, second = Thinks(*[[5.0]] * FAILURES, [0.9, *YES]), Thinks(NO)
    responder = ResilientResponder(line(back, second))
    for _ in range(FAILURES):
        await ask(responder)
    await asyncio.sleep(PAUSE_S)
    answers = await asyncio.gather(*(ask(responder) for _ in range(4)))
    assert sorted(answers, key=len) == [NO, NO, NO, YES]
    assert await ask(responder) == YES


async def test_alone_and_dead_it_is_said_at_once_when_it_is_asked_again(line):
    responder = ResilientResponder(line(Thinks([5.0])))
    for _ in range(2):
        with pytest.raises(ProviderError, match="nothing came within 1000 ms"):
            await ask(responder)
    since = now()
    with pytest.raises(ProviderError, match="asked again in 5 s") as caught:
        await ask(responder)
    assert (caught.value.error_type, now()) == ("unavailable", since)


async def test_a_refusal_is_an_answer_of_who_is_there(line):
    refusing = Thinks([down("refused")])
    responder = ResilientResponder(line(refusing, Thinks(NO)))
    for _ in range(2 * FAILURES):
        await ask(responder)
    assert refusing.asked == 2 * FAILURES


async def test_closing_it_closes_the_provider_and_says_nothing_against_it(line):
    first, second = Thinks([Token("a"), 0.5, Token("b")]), Thinks(NO)
    responder = ResilientResponder(line(first, second))
    for _ in range(2 * FAILURES):
        stream = responder.reply([], confidence=None)
        assert await anext(stream) == Token("a")
        await stream.aclose()
        waiting = asyncio.ensure_future(ask(responder))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert first.asked == first.over == 4 * FAILURES
    assert second.asked == 0


async def test_who_is_cancelled_as_time_runs_out_is_cancelled(line):
    second = Thinks(NO)
    answering = asyncio.ensure_future(ask(ResilientResponder(line(Thinks([5.0]), second))))
    asyncio.get_running_loop().call_later(1.0, answering.cancel)
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert second.asked == 0


async def test_a_stream_takes_a_timer_for_each_second_of_patience_not_for_each_piece(
    line, monkeypatch
):
    set_at, loop = [], asyncio.get_running_loop()
    call_at = loop.call_at

    def counted(when: float, callback: Any, *args: Any, **context: Any) -> Any:
        if getattr(callback, "__name__", "") == "_look":
            set_at.append(loop.time())
        return call_at(when, callback, *args, **context)

    monkeypatch.setattr(loop, "call_at", counted)
    stream = Thinks([0.01, Token("a")] * 400)
    await ask(ResilientResponder(line(stream)))
    assert now() == pytest.approx(4)
    assert len(set_at) <= 5


async def test_failures_retries_and_stand_ins_are_counted(line):
    def counted() -> list[float]:
        names = ("failures", "retries", "fallbacks")
        labels = ("stub 0", "unavailable"), ("stub 0",), ("stub 1",)
        return [
            REGISTRY.get_sample_value(
                f"pipeline_provider_{name}_total",
                dict(zip(("provider", "error_type"), label, strict=False), stage="llm"),
            )
            or 0.0
            for name, label in zip(names, labels, strict=True)
        ]

    before = counted()
    await ask(ResilientResponder(line(Thinks([down()]), Thinks(YES))))
    assert [after - was for after, was in zip(counted(), before, strict=True)] == [2, 1, 1]


async def test_closing_closes_all_of_them(line):
    first, second = Thinks(YES), Thinks(NO)
    await ResilientResponder(line(first, second)).close()
    assert first.closed
    assert second.closed
