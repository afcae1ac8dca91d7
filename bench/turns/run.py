"""Turn-taking on labelled telephone cases: the product's own code in virtual time. bench/TURNS.md.

.venv/bin/python bench/turns/run.py                       # the defaults
.venv/bin/python bench/turns/run.py --sweep               # the trade-off of wait against cut-offs
.venv/bin/python bench/turns/run.py --set silence_ms=800 vad=webrtc --failures --only hesitation
.venv/bin/python bench/turns/run.py --smart-turn MODEL.onnx --sweep
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import structlog
import virtual
from cases import Case, all_cases
from scene import Scene, scene
from score import HEAD, Score, row, score
from simulation import Simulation

from calls.agent import Agent, Endpointing, Interruption, Speculation
from workers.asr.judge import Judge, SmartTurnJudge, TextJudge
from workers.asr.smart_turn import SmartTurn

#: What the model takes on the machine that TURNS.md names.
_MODEL_S: Final = 0.08

Settings = dict[str, Any]


class _Model:
    """Smart Turn in virtual time: the same utterance is heard once, and takes what it takes."""

    def __init__(self, path: str) -> None:
        self._model = SmartTurn.load(path)
        self._known: dict[bytes, float] = {}

    async def probability(self, pcm: bytes) -> float:
        key = hashlib.sha1(pcm, usedforsecurity=False).digest()
        if key not in self._known:
            self._known[key] = self._model._probability(pcm)
        await asyncio.sleep(_MODEL_S)
        return self._known[key]


_model = cache(_Model)
_scene = cache(scene)


def agent_of(settings: Settings) -> Agent:
    """An agent with these endpointing settings; `after_ms`, `speculate`, `echo` go elsewhere."""
    left = dict(settings)
    speculation = Speculation(
        enabled=left.pop("speculate", True),
        **({"after_ms": left.pop("after_ms")} if "after_ms" in left else {}),
    )
    interruption = Interruption(echo=left.pop("echo", True))
    return Agent(
        name="bench",
        endpointing=Endpointing(**left),
        speculation=speculation,
        interruption=interruption,
    )


def judge_of(agent: Agent) -> Judge:
    path = agent.endpointing.smart_turn
    return SmartTurnJudge(_model(path)) if path else TextJudge()


def play(case: Case, settings: Settings, scratch: Path, *, punctuated: bool = False) -> Score:
    agent = agent_of(settings)
    made: Scene = _scene(case, scratch)
    if punctuated:
        made = replace(made, punctuated=True)

    async def simulate() -> Score:
        return score(await Simulation(made, agent, judge_of(agent)).play())

    return virtual.run(simulate())


def play_all(
    settings: Settings, cases: list[Case], scratch: Path, *, punctuated: bool = False
) -> list[Score]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    return [play(case, settings, scratch, punctuated=punctuated) for case in cases]


def sweep(smart_turn: str | None) -> Iterator[tuple[str, Settings]]:
    """The points of the trade-off; each differs from the defaults in what its name says."""
    points: list[Settings] = [{}]
    points += [{"silence_ms": ms} for ms in (400, 500, 600, 700, 800, 1000, 1200)]
    points += [{"semantic": False, "silence_ms": ms} for ms in (300, 600, 800, 1000, 1200)]
    points += [{"complete_ms": ms} for ms in (160, 200, 300, 400)]
    points += [{"unfinished_ms": ms} for ms in (800, 1200, 2000)]
    points += [{"after_ms": ms} for ms in (40, 60, 120)]
    points += [{"speculate": False}]
    points += [{"vad": vad} for vad in ("webrtc", "energy")]
    points += [{"min_speech_ms": ms} for ms in (80, 160, 200)]
    if smart_turn is not None:
        points += [{"smart_turn": smart_turn, "silence_ms": ms} for ms in (600, 700, 800)]
    for point in points:
        told = (f"{key} {Path(str(value)).name}" for key, value in point.items())
        yield ", ".join(told) or "defaults", point


def _value(text: str) -> Any:
    if text in {"True", "False"}:
        return text == "True"
    return int(text) if text.isdigit() else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--smart-turn", metavar="FILE")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases whose kind or name has it"
    )
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--punctuated", action="store_true", help="a transcriber like Whisper")
    parser.add_argument("--points", default="", metavar="TEXT", help="points whose name has it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "turns")
    asked = parser.parse_args()
    cases = [case for case in all_cases() if asked.only in f"{case.kind} {case.name}"]
    common = {key: _value(value) for key, _, value in (each.partition("=") for each in asked.set)}
    points = list(sweep(asked.smart_turn)) if asked.sweep else [("as set", {})]
    points = [(name, {**common, **point}) for name, point in points if asked.points in name]
    if asked.smart_turn and not asked.sweep:
        points = [(name, {**point, "smart_turn": asked.smart_turn}) for name, point in points]
    work = partial(play_all, cases=cases, scratch=asked.scratch, punctuated=asked.punctuated)
    print(f"{len(cases)} cases\n\n{HEAD}", flush=True)
    with ProcessPoolExecutor(asked.jobs) as pool:
        results = (
            map(work, [point for _, point in points])
            if asked.jobs == 1
            else pool.map(work, [point for _, point in points])
        )
        for (name, _), scores in zip(points, results, strict=True):
            print(row(name, scores), flush=True)
            if asked.failures:
                print(*(f"  - {each.said}" for each in scores if each.failed), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
