"""Onset and end of turn, as a table of what the VAD says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.agent import Endpointing
from calls.turn_taking import Onset, TurnOver, TurnTaking

FRAME = 160
#: Onset after 3 frames of speech, the turn's end after 5 of silence, 20 at most.
HOW = Endpointing(min_speech_ms=60, silence_ms=100, max_turn_ms=1000, pad_ms=0)
Signals = list[tuple[int, Onset | TurnOver]]


def run(pattern: str, taking: TurnTaking | None = None, first: int = 0) -> Signals:
    """Feed one frame a character, `#` for speech; gives (frame number, signal)."""
    taking = taking or TurnTaking(HOW)
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
        ("###.....", [(2, Onset(0)), (7, TurnOver(0, 3 * FRAME))]),
        ("###....#.....", [(2, Onset(0)), (12, TurnOver(0, 8 * FRAME))]),  # a short pause
        (
            "###.....###.....",
            [
                (2, Onset(0)),
                (7, TurnOver(0, 3 * FRAME)),
                (10, Onset(8 * FRAME)),
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
        (49, TurnOver(0, 50 * FRAME)),
        (52, Onset(50 * FRAME)),
    ]


def test_the_end_of_the_call_ends_the_turn() -> None:
    taking = TurnTaking(HOW)
    run("####", taking)
    assert taking.finish() == TurnOver(0, 4 * FRAME)
    assert taking.finish() is None


def test_nobody_speaks_between_turns() -> None:
    taking = TurnTaking(HOW)
    assert not taking.speaking
    run("###", taking)
    assert taking.speaking
    run(".....", taking, first=3)
    assert not taking.speaking


def test_a_hole_in_the_audio_counts_as_silence() -> None:
    taking = TurnTaking(HOW)
    run("###", taking)
    assert taking.feed(40 * FRAME, False) == TurnOver(0, 3 * FRAME)


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
def test_onsets_and_ends_alternate_and_enclose_speech(pattern: str) -> None:
    signals = [signal for _, signal in run(pattern)]
    for index, signal in enumerate(signals):
        if index % 2 == 0:
            assert isinstance(signal, Onset)
            assert pattern[signal.position // FRAME] == "#"
        else:
            onset = signals[index - 1]
            assert isinstance(signal, TurnOver)
            assert isinstance(onset, Onset)
            assert signal.start == onset.position
            assert pattern[signal.end // FRAME - 1] == "#"
