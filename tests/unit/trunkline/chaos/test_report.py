"""The account: figures over all calls, and the word on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline.chaos.report import as_text, report, spread
from trunkline.chaos.run import Plan, run_chaos
from trunkline.chaos.sound import Sound
from trunkline.chaos.takeover import Blow, held_by
from trunkline.chaos.verdict import Verdict
from trunkline.errors import UserError
from trunkline.settings import load_settings

MACHINE = {"cores": 2.0, "ours": 0.8, "others": 0.1}


def test_percentiles_are_of_values_that_occurred() -> None:
    assert spread([]) is None
    assert spread([5.0]) == {"p50": 5.0, "p99": 5.0, "max": 5.0}
    assert spread([float(n) for n in range(200, 0, -1)]) == {"p50": 100, "p99": 198, "max": 200}


def test_a_run_without_loss_is_ok() -> None:
    blows = [
        Blow("asr", 7, "kill", 1.0, held=2, gaps_ms=[900.0, 1100.0]),
        Blow("llm", 8, "kill", 2.0),
    ]
    found = report([Verdict("a", "id")], [Sound(arrived=1.0)], blows, [1.0], MACHINE)
    assert found["ok"]
    assert found["take_over"]["jobs_taken_over"] == 2
    assert found["take_over"]["by_role"]["asr"]["gap_ms"]["max"] == 1100
    assert found["take_over"]["by_role"]["llm"]["gap_ms"] is None
    assert json.loads(json.dumps(found)) == found
    assert as_text(found).endswith("Nothing was lost.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"words_lost": ("yes",)},
        {"words_added": ("yes",)},
        {"sentences_repeated": ["Yes."]},
        {"sentences_skipped": ["Yes."]},
        {"replies_missing": [1]},
        {"dropped": "it ended: bus_lost"},
    ],
)
def test_a_run_with_any_loss_is_not(wrong: dict[str, object]) -> None:
    verdict = Verdict("a", "id", remarks=["why"], **wrong)  # type: ignore[arg-type]
    found = report([Verdict("b", "id2"), verdict], [Sound(), Sound()], [], [1.0], MACHINE)
    assert not found["ok"]
    assert "a id: why" in found["remarks"]
    assert as_text(found).endswith("Something was LOST.")


def test_a_busy_machine_is_named() -> None:
    found = report([Verdict("a", "id")], [Sound()], [], [1.0, 80.0], MACHINE)
    assert "too busy" in as_text(found)


def test_a_process_is_known_by_its_pid_in_its_name() -> None:
    holders = {b"1": "host-a-17-abcdef", b"2": None, b"3": "host-a-117-abcdef", b"4": "thief"}
    assert held_by(17, holders) == [b"1"]


def test_only_workers_are_hit(tmp_path: Path) -> None:
    plan = Plan(1, ("asr", "sip"), every_s=1.0, for_s=1.0)
    with pytest.raises(UserError, match="there are asr, llm, tts, recorder"):
        run_chaos(load_settings(data_dir=tmp_path / "none"), plan, as_json=False)
    assert not (tmp_path / "none").exists()
