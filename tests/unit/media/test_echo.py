from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.echo import EchoGate
from media.frames import SILENCE, to_pcm, to_samples
from media.level import SILENT, level_dbov
from media.wav import read_mono

ROOT = Path(__file__).parents[3]


def speech(file: str, seconds: int, dbov: float) -> NDArray[np.float64]:
    with (ROOT / file).open("rb") as wav:
        wave = to_samples(read_mono(wav)).astype(float)
    wave *= 32768 * 10 ** (dbov / 20) / np.sqrt(np.mean(wave**2))
    return np.resize(wave, seconds * 8000)


def agent(seconds: int) -> NDArray[np.float64]:
    return speech("tests/golden/audio/speech.wav", seconds, -20)


def caller(dbov: float) -> NDArray[np.float64]:
    return speech("trunkline/callers/awb-when-do-you-open.wav", 1, dbov)


def echo(of: NDArray[np.float64], db: float, delay_ms: int = 110) -> NDArray[np.float64]:
    late = np.concatenate([np.zeros(8 * delay_ms), of])[: of.size]
    return late * 10 ** (db / 20)


def gated(gate: EchoGate, played: NDArray[np.float64], line: NDArray[np.float64]) -> list[bool]:
    """The frames that somebody could hear, and that may be the caller's."""
    noise = np.random.default_rng(2).normal(0, 10, line.size)
    pairs = zip(played.reshape(-1, 160), (line + noise).reshape(-1, 160), strict=True)
    told = []
    for said, heard in pairs:
        pcm = to_pcm(heard)
        may_be = gate.may_be_caller(pcm, level_dbov(to_pcm(said)))
        told.append(may_be and level_dbov(pcm) < 60)
    return told


@pytest.mark.parametrize("db", [-15, -20, -30])
@pytest.mark.parametrize("delay_ms", [20, 250])
def test_an_echo_is_not_the_caller(db: int, delay_ms: int) -> None:
    played = agent(20)
    told = gated(EchoGate(), played, echo(played, db, delay_ms))
    assert np.mean(told) < 0.01


def test_a_caller_over_the_echo_is_heard_at_once() -> None:
    played = agent(10)
    line = echo(played, -20)
    line[8 * 8000 : 9 * 8000] += caller(-24)
    told = gated(EchoGate(), played, line)
    assert not any(told[:400])
    assert sum(told[400:425]) >= 6
    assert np.mean(told[400:450]) > 0.4


def test_where_there_is_no_echo_a_caller_10_db_softer_is_heard() -> None:
    played = agent(6)
    line = np.zeros(played.size)
    line[4 * 8000 : 5 * 8000] += caller(-30)
    gate = EchoGate()
    told = gated(gate, played, line)
    assert np.mean(told[200:250]) > 0.7
    assert gate.coupling < -25


def test_an_echo_that_grew_is_learnt_before_long() -> None:
    played = agent(30)
    line = np.concatenate([echo(played, -40)[: 10 * 8000], echo(played, -5)[10 * 8000 :]])
    told = gated(EchoGate(), played, line)
    assert sum(told[500:600]) > 30
    assert sum(told[1000:]) < 10


def test_a_caller_who_speaks_with_the_agent_is_no_echo() -> None:
    played = agent(20)
    line = np.zeros(played.size)
    line[4 * 8000 : 16 * 8000] = np.tile(caller(-20), 12)
    gate = EchoGate()
    told = gated(gate, played, line)
    assert np.mean(told[200:800]) > 0.6
    assert gate.coupling < -10


def test_all_may_be_the_caller_once_the_echo_must_be_over() -> None:
    gate = EchoGate()
    for _ in range(50):
        gate.may_be_caller(SILENCE, 20)
    loud = to_pcm(np.full(160, 100))
    told = [gate.may_be_caller(loud, SILENT) for _ in range(20)]
    assert told.index(True) == 15
    assert all(told[15:])
