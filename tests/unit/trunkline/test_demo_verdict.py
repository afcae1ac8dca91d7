"""The demo fails for each reason that it claims to check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.frames import Samples, to_pcm
from media.wav import StereoWriter, write_mono
from trunkline.demo import CALLERS, Demo, Line, load_script
from trunkline.errors import UserError
from trunkline.settings import load_settings

LINES = (Line(Path("a.wav"), "yes please", "booked"), Line(Path("b.wav"), "goodbye", "Goodbye"))


def speech(seed: int) -> Samples:
    """Two seconds that resemble nothing else."""
    return (np.random.default_rng(seed).standard_normal(16_000) * 3000).astype(np.int16)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(load_settings(data_dir=tmp_path), LINES, lambda _: None)


def a_call(tmp_path: Path, *, agent: Samples, heard: Samples) -> dict[str, Any]:
    with (tmp_path / "call.wav").open("wb") as file, StereoWriter(file) as recording:
        recording.write(np.zeros_like(agent), agent)
    with (tmp_path / "caller-heard.wav").open("wb") as file:
        write_mono(file, to_pcm(heard))
    turn = {"voice_to_voice_ms": 640.0, "stages_ms": {"endpoint": 600.0}}
    return {
        "id": "20260101t000000-abcdef01",
        "recording_file": str(tmp_path / "call.wav"),
        "turns": [
            {"number": 0, "caller_text": "", "agent_text": "Good day.", **turn},
            {"number": 1, "caller_text": "yes please", "agent_text": "It is booked.", **turn},
            {"number": 2, "caller_text": "Goodbye.", "agent_text": "Goodbye!", **turn},
        ],
    }


def test_a_good_call_is_good(demo: Demo, tmp_path: Path) -> None:
    verdict = demo._check(a_call(tmp_path, agent=speech(1), heard=speech(1)))
    assert verdict.wrong == ()
    assert verdict.arrived == 1.0
    report = verdict.report
    assert report["ok"]
    assert [turn["heard"] for turn in report["turns"]] == ["yes please", "Goodbye."]
    assert list(report) == ["ok", "call_id", "turns", "recording", "caller_heard"]
    assert set(report["turns"][0]) == {
        "said", "heard", "answer", "voice_to_voice_ms", "stages_ms"
    }  # fmt: skip


def test_a_word_misheard_fails(demo: Demo, tmp_path: Path) -> None:
    call = a_call(tmp_path, agent=speech(1), heard=speech(1))
    call["turns"][1]["caller_text"] = "yes peas"
    verdict = demo._check(call)
    assert not verdict.report["ok"]
    assert verdict.wrong == ("'yes please' was heard as 'yes peas'",)


def test_an_answer_that_the_script_does_not_expect_fails(demo: Demo, tmp_path: Path) -> None:
    call = a_call(tmp_path, agent=speech(1), heard=speech(1))
    call["turns"][1]["agent_text"] = "Could you say that again?"
    verdict = demo._check(call)
    assert not verdict.report["ok"]
    assert "was answered 'Could you say that again?'" in verdict.wrong[0]


def test_a_turn_that_is_missing_or_too_many_fails(demo: Demo, tmp_path: Path) -> None:
    call = a_call(tmp_path, agent=speech(1), heard=speech(1))
    extra = {**call, "turns": [*call["turns"], {**call["turns"][2], "number": 3}]}
    assert demo._check(extra).wrong == ("2 turns were said, 3 heard",)
    assert not demo._check({**call, "turns": call["turns"][:2]}).report["ok"]


def test_loud_noise_in_the_callers_ear_is_not_the_agents_voice(demo: Demo, tmp_path: Path) -> None:
    verdict = demo._check(a_call(tmp_path, agent=speech(1), heard=speech(2)))
    assert not verdict.report["ok"]
    assert verdict.arrived < 0.5


def test_half_of_the_voice_is_not_enough(demo: Demo, tmp_path: Path) -> None:
    verdict = demo._check(a_call(tmp_path, agent=speech(1), heard=speech(1)[:8000]))
    assert "of the agent's speech arrived" in verdict.wrong[0]


def test_no_recording_is_no_proof(demo: Demo, tmp_path: Path) -> None:
    call = {**a_call(tmp_path, agent=speech(1), heard=speech(1)), "recording_file": None}
    assert not demo._check(call).report["ok"]


def test_every_shipped_script_can_be_played() -> None:
    assert len(load_script("book-tuesday")) >= 3
    for caller in ("book-jones", "refill-insulin"):
        assert all(
            line.wav.parent == CALLERS and line.wav.is_file() for line in load_script(caller)
        )
    with pytest.raises(UserError, match="no caller 'nobody'; there are: book-tuesday"):
        load_script("nobody")
