from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ports import Partial, ProviderError
from workers.resilience.loading import Breakers
from workers.resilience.transcriber import BYTES_PER_MS, ResilientTranscriber

from .conftest import Hears, Line, VirtualTime, down, now

SAID = b"i would like to book an appointment"


def made(line: Line, *stubs: Hears, longest_ms: int = 60_000) -> ResilientTranscriber:
    return ResilientTranscriber(line(*stubs, stage="asr"), longest_ms)


async def hear(transcriber: ResilientTranscriber, pcm: bytes = SAID) -> str:
    utterance = transcriber.listen()
    for at in range(0, len(pcm), 10):
        await utterance.write(pcm[at : at + 10])
    return (await utterance.finish()).text


async def test_partials_are_passed_on(line):
    utterance = made(line, Hears()).listen()
    assert await utterance.write(b"book") == Partial("4 bytes")


@pytest.mark.parametrize("failing", [[down()], [down("refused")], [9.0]], ids=str)
async def test_an_utterance_that_was_not_understood_is_replayed_to_the_next(line, failing):
    first, second = Hears(failing), Hears()
    assert await hear(made(line, first, second)) == SAID.decode()
    assert all(utterance.cancelled for utterance in first.utterances)
    assert [utterance.pcm for utterance in second.utterances] == [SAID]
    assert now() in (0, 0.2, 1)


async def test_who_stops_listening_in_the_middle_is_replaced_there(line):
    first, second = Hears(write=["", "", down("refused")]), Hears()
    assert await hear(made(line, first, second)) == SAID.decode()
    assert [utterance.pcm for utterance in second.utterances] == [SAID]


async def test_who_takes_no_more_audio_is_replaced(line):
    first, second = Hears(write=["", 9.0]), Hears()
    assert await hear(made(line, first, second)) == SAID.decode()
    assert now() == 1


async def test_who_failed_at_the_guess_is_not_asked_for_the_words(line):
    first, second = Hears([9.0]), Hears()
    utterance = made(line, first, second).listen()
    await utterance.write(SAID)
    assert (await utterance.guess()).text == SAID.decode()
    await utterance.write(b" please")
    assert (await utterance.finish()).text == SAID.decode() + " please"
    assert (first.asked, second.asked, now()) == (1, 2, 1)


async def test_audio_goes_on_while_a_guess_is_made_and_is_no_part_of_it(line):
    first = Hears([0.5])
    utterance = made(line, first).listen()
    await utterance.write(b"book")
    guessing = asyncio.ensure_future(utterance.guess())
    await asyncio.sleep(0.1)
    await utterance.write(b" it")
    assert now() == 0.1
    assert (await guessing).text == "book"
    assert (await utterance.finish()).text == "book it"


async def test_a_guess_that_fails_meanwhile_is_made_of_the_same_audio_by_the_next(line):
    first, second = Hears([0.5, down("refused")]), Hears()
    utterance = made(line, first, second).listen()
    await utterance.write(b"book")
    guessing = asyncio.ensure_future(utterance.guess())
    await asyncio.sleep(0.1)
    await utterance.write(b" it")
    assert (await guessing).text == "book"
    assert (await utterance.finish()).text == "book it"
    assert len(first.utterances) == len(second.utterances) == 1


async def test_a_guess_that_was_cancelled_does_no_harm(line):
    first, second = Hears([0.9], []), Hears()
    utterance = made(line, first, second).listen()
    await utterance.write(SAID)
    guessing = asyncio.ensure_future(utterance.guess())
    await asyncio.sleep(0.1)
    guessing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await guessing
    assert (await utterance.finish()).text == SAID.decode()
    assert [heard.pcm for heard in first.utterances] == [SAID]
    assert not second.utterances


async def test_who_was_cancelled_while_taking_audio_hears_it_once(line):
    first = Hears(write=["", 0.5])
    utterance = made(line, first).listen()
    await utterance.write(b"book")
    writing = asyncio.ensure_future(utterance.write(b" it"))
    await asyncio.sleep(0.1)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await utterance.finish()).text == "book it"


async def test_a_long_replay_comes_in_pieces_that_each_have_the_whole_time(line):
    first, second = Hears([down("refused")]), Hears(write=[0.9, 0.9, 0.9])
    pcm = b"x" * (2500 * BYTES_PER_MS)
    assert await hear(made(line, first, second), pcm) == pcm.decode()


async def test_the_newest_audio_is_kept_up_to_the_bound(line):
    utterance = made(line, Hears([down("refused")]), Hears(), longest_ms=1).listen()
    for _ in range(3):
        await utterance.write(b"0123456789")
    assert (await utterance.finish()).text == "4567890123456789"


async def test_that_nobody_could_hear_it_is_an_error_for_whoever_asks(line):
    utterance = made(line, Hears([down("refused")]), Hears([down("refused")])).listen()
    await utterance.write(SAID)
    for ask in (utterance.guess, utterance.finish):
        with pytest.raises(ProviderError, match="refused"):
            await ask()
    await utterance.cancel()


async def test_cancelling_is_quiet_and_ends_the_providers_utterance(line):
    first = Hears([9.0])
    utterance = made(line, first).listen()
    await utterance.cancel()
    utterance = made(line, first).listen()
    await utterance.write(SAID)
    guessing = asyncio.ensure_future(utterance.guess())
    await asyncio.sleep(0)
    await utterance.cancel()
    await utterance.cancel()
    with pytest.raises(ProviderError):
        await guessing
    assert [heard.cancelled for heard in first.utterances] == [True]


troubles = st.sampled_from(["", "", "", 0.3, 5.0, down("refused"), down()])
ways = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@given(writes=st.lists(troubles), answers=st.lists(troubles, min_size=1), way=ways)
def test_whatever_fails_and_whenever_who_has_the_words_heard_all_audio_once(writes, answers, way):
    """The last in line never fails; guesses are made at any time, and audio goes on meanwhile."""

    async def call() -> None:
        unsure = Hears(*([step] for step in answers), write=writes)
        transcriber = made(Line(Breakers(now)), unsure, Hears())
        utterance, said, guesses = transcriber.listen(), b"", []
        for count, guess in way:
            pcm = b"%d" % len(said) * count
            said += pcm
            await utterance.write(pcm)
            if guess:
                guesses.append((said, asyncio.ensure_future(utterance.guess())))
                await asyncio.sleep(0)
        for so_far, guessing in guesses:
            assert (await guessing).text.startswith(so_far.decode())
        assert (await utterance.finish()).text == said.decode()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(call())
