"""`trunkline chaos`: workers are killed under real calls, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import ROOT


def chaos(data: Path, *arguments: str, timeout_s: float = 120) -> dict[str, Any]:
    """Run it. The account; its status says the same."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRUNKLINE_")}
    done = subprocess.run(
        [sys.executable, "-m", "trunkline", "chaos", "--json", *arguments],
        env={**environment, "TRUNKLINE_DATA_DIR": str(data), "PYTHONPATH": str(ROOT)},
        cwd=data, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr[-3000:]
    found = dict(json.loads(done.stdout))
    assert done.returncode == (0 if found["ok"] else 1)
    return found


def assert_nothing_was_lost(found: dict[str, Any]) -> None:
    lost = (
        "words_lost", "words_doubled", "sentences_repeated", "sentences_skipped",
        "replies_missing", "calls_dropped",
    )  # fmt: skip
    assert {name: found[name] for name in lost} == dict.fromkeys(lost, 0), found["remarks"]
    assert found["take_over"]["jobs_abandoned"] == 0
    assert found["kept"]["rows_whole"] == found["calls"], found["remarks"]
    assert found["audio"]["packets_lost"] == 0
    assert found["audio"]["heard_of_recorded"] > 0.98


def test_killed_workers_lose_nothing(tmp_path: Path) -> None:
    found = chaos(tmp_path, "--calls", "2", "--every", "2.5", "--for", "12")
    assert_nothing_was_lost(found)
    assert found["turns"] >= 2
    assert found["take_over"]["strikes"] >= 5
    assert found["take_over"]["jobs_taken_over"] >= 1


@pytest.mark.deep
@pytest.mark.parametrize("signal", ["kill", "term", "stop"])
def test_four_calls_lose_nothing(tmp_path: Path, signal: str) -> None:
    """kill -9, an orderly end, and zombies."""
    found = chaos(
        tmp_path, "--calls", "4", "--every", "4", "--for", "40", "--signal", signal, timeout_s=200
    )
    assert_nothing_was_lost(found)
    assert found["take_over"]["strikes"] >= 9


@pytest.mark.deep
@pytest.mark.long
@pytest.mark.parametrize("signal", ["kill", "term", "stop"])
def test_ten_calls_for_two_minutes(tmp_path: Path, signal: str) -> None:
    """The acceptance test: kill -9, an orderly end, and zombies."""
    found = chaos(
        tmp_path, "--calls", "10", "--kill", "asr,llm,tts,recorder", "--every", "5",
        "--for", "120", "--signal", signal, timeout_s=400,
    )  # fmt: skip
    assert_nothing_was_lost(found)
    assert found["kept"]["recordings_whole"] == 10
    assert found["take_over"]["gap_ms"]["p50"] <= 1500


@pytest.mark.deep
@pytest.mark.long
def test_a_rolling_restart_under_twenty_calls_is_not_heard(tmp_path: Path) -> None:
    found = chaos(tmp_path, "--calls", "20", "--for", "40", "--rolling", timeout_s=400)
    assert_nothing_was_lost(found)
    assert found["take_over"]["strikes"] == 8
    assert found["audio"]["gaps_in_sentences"] == 0, found["remarks"]
    assert found["audio"]["pauses_between_sentences"] == 0, found["remarks"]
