"""Who says whether the caller's sentence is finished."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calls.agent import Agent, Endpointing
from calls.completeness import Completeness
from workers.asr.judge import SmartTurnJudge, TextJudge, judge_for
from workers.asr.smart_turn import SmartTurn, SmartTurnError, features

SECOND = b"\x10\x00" * 8000


class Session:
    """Stands in for onnxruntime's."""

    def __init__(self, probability: float) -> None:
        self.probability = probability
        self.inputs: list[Any] = []
        self.threads: set[int] = set()

    def run(self, output_names: None, inputs: dict[str, Any]) -> Any:
        self.inputs.append(inputs["input_features"])
        self.threads.add(threading.get_ident())
        if self.probability < 0:
            raise RuntimeError("no kernel")
        return [np.array([[self.probability]], np.float32)]


async def judged(probability: float, text: str, language: str = "en-US") -> Completeness:
    judge = SmartTurnJudge(SmartTurn(Session(probability)), language)
    return await judge.judge(SECOND, text, "")


async def test_a_voice_that_stays_up_is_waited_for_where_the_words_are_not_sure() -> None:
    text = "i would like to book an appointment"
    assert await judged(0.01, text) is Completeness.UNFINISHED
    assert await judged(0.4, text) is Completeness.UNSURE
    # A clause sounds complete whether or not another follows.
    assert await judged(0.99, text) is Completeness.UNSURE


async def test_the_voice_is_not_asked_where_the_words_are_sure() -> None:
    session = Session(0.01)
    judge = SmartTurnJudge(SmartTurn(session))
    assert await judge.judge(SECOND, "no thanks", "") is Completeness.COMPLETE
    assert await judge.judge(SECOND, "my number is", "") is Completeness.UNFINISHED
    assert not session.inputs


async def test_in_a_language_without_rules_the_voice_decides() -> None:
    assert await judged(0.9, "मुझे कल आना है", "hi-IN") is Completeness.COMPLETE
    assert await judged(0.3, "मुझे कल आना है", "hi-IN") is Completeness.UNSURE
    assert await judged(0.01, "मुझे कल", "hi-IN") is Completeness.UNFINISHED


async def test_a_model_that_fails_leaves_it_to_the_words() -> None:
    with pytest.raises(SmartTurnError, match="no kernel"):
        await SmartTurn(Session(-1)).probability(SECOND)
    assert await judged(-1, "i would like to book an appointment") is Completeness.UNSURE


async def test_the_model_runs_beside_the_event_loop_one_call_at_a_time() -> None:
    session = Session(0.5)
    model = SmartTurn(session)
    assert await asyncio.gather(*(model.probability(SECOND) for _ in range(3))) == [0.5] * 3
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads
    assert session.inputs[0].shape == (1, 80, 800)
    assert session.inputs[0].dtype == np.float32


def test_the_model_hears_the_last_eight_seconds_with_silence_before_them() -> None:
    rng = np.random.default_rng(1)
    speech = rng.integers(-8000, 8000, 8 * 8000).astype("<i2").tobytes()
    assert np.allclose(features(SECOND + speech), features(speech))
    short = features(speech[-16000:])
    assert short[:, 720].mean() > short[:, 600].mean()  # speech in the last second only


def test_an_agent_without_a_model_is_judged_by_its_words() -> None:
    assert judge_for(Agent(name="desk", language="de-DE")) == TextJudge("de-DE")


def test_a_model_that_is_not_there_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, why in (("missing.onnx", "no file"), ("empty.onnx", "no model")):
        endpointing = Endpointing(smart_turn=str(tmp_path / name))
        with pytest.raises(SmartTurnError, match=why):
            judge_for(Agent(name="desk", endpointing=endpointing))
