"""Find how many calls one core carries. README.md explains.

    .venv/bin/python bench/ceiling.py --sut-cpus 0 --load-cpus 1

Takes points with more and more calls, each on a fresh system, until the answers suffer: more than
1 % of the replies with a gap, or an own latency whose p95 is twice what it was at first. A step for
which the phones were late is taken once more; late again, it is they that ended the climb.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

import table
from figures import count, errors, own, quantile, turns_of, v2v
from latency import checked, common, stay_off
from point import BENCH, measure
from processes import BenchError, Json, RefusedError

_MAX_GAPS: Final = 0.01
_MAX_SLOWER: Final = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--modes", default="off", help="an agent of agents.yaml, or several: each climbs alone")
    add("--calls", default="10,20,30,40,50,60", help="the steps")
    add("--duration", type=float, default=25, help="of a step's window, s")
    common(parser)
    options = checked(parser)
    stay_off(options)
    try:
        climb(options)
    except BenchError as error:
        sys.exit(f"bench: {error}")


def climb(options: argparse.Namespace) -> None:
    """Climb in every mode, and write down how far each came."""
    points: list[Json] = []
    ends: dict[str, str] = {}
    for calls in options.calls:
        options.modes = [mode for mode in options.modes if mode not in ends]
        step = _step(options, calls, ends) if options.modes else []
        points += step
        for point in step:
            first = next(each for each in points if each["mode"] == point["mode"])
            if why := _too_many(point, first):
                ends[point["mode"]] = f"{calls}: {why}"
    text = markdown(points, ends)
    print("\n" + text)
    if options.write:
        table.write(BENCH / "README.md", "ceiling", text)


def _step(options: argparse.Namespace, calls: int, ends: dict[str, str]) -> list[Json]:
    """Take the points of one step; where calls were refused, that ends the climb."""
    for again in range(2):
        step = []
        try:
            for point in measure(options, calls, 0, stages=False):
                table.keep(options.results, "ceiling", point)
                print(table.line(point), flush=True)
                step.append(point)
        except RefusedError as error:
            done = {point["mode"] for point in step}
            ends |= {mode: f"{calls}: {error}" for mode in options.modes if mode not in done}
        if again or not any(point["discarded"] for point in step):
            break
    return step


def _too_many(point: Json, first: Json) -> str:
    """Why so many calls are too many; "" when they are not."""
    if point["discarded"]:
        return f"the phones were late: send lag p99 {point['send_lag_p99_ms']:.0f} ms"
    if not (turns := turns_of([point])):
        return f"no answers: {errors([point])}"
    if (gaps := count([point], "gap")) > _MAX_GAPS * len(turns):
        return f"gaps in {gaps} of {len(turns)} replies"
    if sum(len(call["errors"]) for call in point["calls"]) > _MAX_GAPS * len(turns):
        return errors([point])
    slow, before = quantile(own([point]), 0.95), quantile(own([first]), 0.95)
    if slow > _MAX_SLOWER * before:
        return f"own latency p95 {slow:.0f} ms, was {before:.0f}"
    return ""


def markdown(points: list[Json], ends: dict[str, str]) -> str:
    """What came of each step, and where each mode's climb ended."""
    rows = [
        [
            str(point["n"]),
            point["mode"],
            table.p50_95(v2v([point])),
            table.p50_95(own([point])),
            f"{count([point], 'gap')} of {len(turns_of([point]))}",
            errors([point]) or "none",
            f"{point['sut_cores']:.2f}",
            f"{point['cpu_s_per_call_minute']:.2f}",
            f"{point['rss_per_call_mb']:.2f}",
            f"{point['send_lag_p99_ms']:.1f}",
        ]
        for point in points
    ]
    head = [
        "calls", "mode", "voice to voice, ms, p50 / p95", "own, ms, p50 / p95",
        "replies with a gap", "errors", "cores", "CPU-s per call-minute", "MB a call",
        "send lag p99, ms",
    ]  # fmt: skip
    said = []
    for mode in dict.fromkeys(point["mode"] for point in points):
        steps = [point["n"] for point in points if point["mode"] == mode]
        good = [n for n in steps if not ends.get(mode, "").startswith(f"{n}:")]
        came = f"**{good[-1]} calls**" if good else "none of the steps"
        why = ends.get(mode, "no step was too many")
        said.append(f"Mode `{mode}`: {came} (aim 100, Pipecat 1.14: 15 to 20); {why}.")
    lines = [table.setting(points), table.markdown_table(head, rows), *said]
    return "\n\n".join(lines)


if __name__ == "__main__":
    main()
