"""Onset and end of turn, as a table of what the VAD says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.agent import Endpointing, Speculation
from calls.turn_taking import Onset, Pause, Resumed, Signal, TurnOver, TurnTaking

FRAME = 160
#: Onset after 3 frames of speech, the turn's end after 5 of silence, 20 at most.
HOW = Endpointing(min_speech_ms=60, silence_ms=100, max_turn_ms=1000, pad_ms=0)
#: A pause after 3 frames of silence.
GUESSING = Speculation(after_ms=60)
Signals = list[tuple[int, Signal]]


def run(pattern: str, taking: TurnTaking | None = None, first: int = 0) -> Signals:
    """Feed one frame a character, `#` for speech; gives (frame number, signal)."""
    taking = taking or TurnTaking(HOW, GUESSING)
    said = (
        (number, taking.feed(number * FRAME, char == "#"))
        for number, char in enumerate(pattern, first)
    )
    return [(number, signal) for number, signal in said if signal is not None]


@pytest.mark.parametrize(
    ("pattern", "signals"),
    [
        ("..........", []),
        ("##........##........", []),  # clicks
        ("#.#.#.#.#.#.#.#.", []),  # scattered clicks never add up
        ("###.", [(2, Onset(0))]),
        ("..###.", [(4, Onset(2 * FRAME))]),
        (".##.##..", [(5, Onset(1 * FRAME))]),  # a stop inside a word
        ("###.....", [(2, Onset(0)), (5, Pause(3 * FRAME)), (7, TurnOver(0, 3 * FRAME))]),
        # A click in the pause is no speech, and does not hold up the end by more than itself.
        (
            "###...#..",
            [(2, Onset(0)), (5, Pause(3 * FRAME)), (7, TurnOver(0, 3 * FRAME))],
        ),
        # Speech in the pause: it goes on.
        (
            "###...###...",
            [
                (2, Onset(0)),
                (5, Pause(3 * FRAME)),
                (8, Resumed(6 * FRAME)),
                (11, Pause(9 * FRAME)),
            ],
        ),
        (
            "###.....###.....",
            [
                (2, Onset(0)),
                (5, Pause(3 * FRAME)),
                (7, TurnOver(0, 3 * FRAME)),
                (10, Onset(8 * FRAME)),
                (13, Pause(11 * FRAME)),
                (15, TurnOver(8 * FRAME, 11 * FRAME)),
            ],
        ),
    ],
)
def test_patterns(pattern: str, signals: Signals) -> None:
    assert run(pattern) == signals


def test_a_turn_without_an_end_is_ended() -> None:
    assert run("#" * 60)[:3] == [
        (2, Onset(0)),
        (49, TurnOver(0, 50 * FRAME, longest=True)),
        (52, Onset(50 * FRAME)),
    ]


def test_the_end_of_the_call_ends_the_turn() -> None:
    taking = TurnTaking(HOW, GUESSING)
    run("####", taking)
    assert taking.finish() == TurnOver(0, 4 * FRAME)
    assert taking.finish() is None


def test_nobody_speaks_between_turns() -> None:
    taking = TurnTaking(HOW, GUESSING)
    assert not taking.speaking
    run("###", taking)
    assert taking.speaking
    run(".....", taking, first=3)
    assert not taking.speaking


def test_a_hole_in_the_audio_counts_as_silence() -> None:
    taking = TurnTaking(HOW, GUESSING)
    run("###", taking)
    assert taking.feed(40 * FRAME, False) == Pause(3 * FRAME)
    assert taking.feed(41 * FRAME, False) == TurnOver(0, 3 * FRAME)


@pytest.mark.parametrize("silence", [4, 12])
def test_the_words_may_shorten_and_lengthen_the_wait_of_this_pause(silence: int) -> None:
    taking = TurnTaking(HOW, GUESSING)
    assert run("###...", taking)[-1] == (5, Pause(3 * FRAME))
    taking.wait(silence * 20)
    assert run("." * 20, taking, first=6)[0] == (2 + silence, TurnOver(0, 3 * FRAME))
    # The next turn waits as configured.
    assert run("###.....", taking, first=40)[-1] == (47, TurnOver(40 * FRAME, 43 * FRAME))


patterns = st.lists(
    st.tuples(st.sampled_from("#."), st.integers(1, 12)), min_size=1, max_size=12
).map(lambda runs: "".join(char * count for char, count in runs))


@given(patterns)
def test_hearing_it_again_from_a_quiet_place_decides_the_same(
    pattern: str,
) -> None:
    """A worker that takes over starts anew where nothing was in progress: after a turn's end."""
    whole = run(pattern)
    overs = [number for number, signal in whole if isinstance(signal, TurnOver)]
    for over in overs:
        assert run(pattern[over + 1 :], first=over + 1) == [s for s in whole if s[0] > over]


@given(patterns)
def test_signals_come_in_order_and_enclose_speech(pattern: str) -> None:
    speaking = paused = False
    onset = 0
    for _, signal in run(pattern):
        match signal:
            case Onset(position):
                assert not speaking
                assert pattern[position // FRAME] == "#"
                speaking, onset = True, position
            case Pause(end):
                assert speaking
                assert not paused
                assert pattern[end // FRAME - 1] == "#"
                paused = True
            case Resumed(position):
                assert paused
                assert pattern[position // FRAME] == "#"
                paused = False
            case TurnOver(start, end):
                assert speaking
                assert start == onset
                assert pattern[end // FRAME - 1] == "#"
                speaking = paused = False
