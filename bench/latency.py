"""Measure what a caller waits for, stage by stage, and what a call costs. README.md explains.

    .venv/bin/python bench/latency.py --sut-cpus 0 --load-cpus 1
    .venv/bin/python bench/latency.py --modes on,off     # speculation; without the barge-ins

Every point becomes a line of JSON in bench/results/, and the tables in bench/README.md are written
anew. With --profile it says instead where the CPU time of the last point goes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import profiling
import table
from point import BENCH, measure
from processes import ROOT, BenchError

RECORDINGS = (
    "awb-i-would-like-to-book-an-appointment.wav",
    "rms-what-are-your-opening-hours.wav",
    "slt-i-need-to-change-my-appointment.wav",
)


def main() -> None:
    options = parse()
    stay_off(options)
    try:
        if options.profile:
            profiling.run(options)
        else:
            run(options)
    except BenchError as error:
        sys.exit(f"bench: {error}")


def run(options: argparse.Namespace) -> None:
    """Take every point as often as asked, in turn, so that a slow minute hits them alike."""
    points = []
    for repeat in range(options.repeats):
        for calls in options.calls:
            for point in measure(options, calls, repeat):
                table.keep(options.results, "latency", point)
                print(table.line(point), flush=True)
                points.append(point)
    tables = table.markdown(points)
    print("\n" + tables)
    if options.write:
        table.write(BENCH / "README.md", "bench", tables)


def stay_off(options: argparse.Namespace) -> None:
    """Leave the CPUs of what is measured alone; so do those started without CPUs of their own."""
    if options.load_cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in options.load_cpus.split(",")})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--modes", default="off,on,barge,barge-200", help="agents of agents.yaml")
    add("--calls", default="1,10", help="the points, like 1,10")
    add("--duration", type=float, default=40, help="of a point's window, s")
    add("--repeats", type=int, default=3, help="of all points, in turn")
    common(parser)
    add("--profile", action="store_true", help="profile the last point with py-spy instead")
    return checked(parser)


def common(parser: argparse.ArgumentParser) -> None:
    """The options of everything that takes points."""
    add = parser.add_argument
    add("--sut-cpus", default="", help="CPUs for Trunkline, like 0 or 0,1 (taskset)")
    add("--load-cpus", default="", help="CPUs for the phones and the stub")
    add("--stub", type=Path, default=ROOT / "../shared/bench_peers/stub_providers.py")
    add("--stub-python", default=sys.executable,
        help="a Python with the packages of the dependency group bench")  # fmt: skip
    add("--stub-port", type=int, default=9100)
    add("--wav", type=Path, nargs="+", help="what the callers say, in turn",
        default=[ROOT / "trunkline/callers" / name for name in RECORDINGS])  # fmt: skip
    add("--results", type=Path, default=BENCH / "results")
    add("--no-write", dest="write", action="store_false", help="leave README.md as it is")


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line, with its lists and paths as such."""
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    options.calls = [int(each) for each in options.calls.split(",")]
    if not options.stub.exists():
        parser.error(f"{options.stub}: no such file; name the stub with --stub")
    # Every process runs from the repository's root, wherever this one was started.
    options.stub = options.stub.resolve()
    options.wav = [file.resolve() for file in options.wav]
    return options


if __name__ == "__main__":
    main()
