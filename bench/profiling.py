"""Where the CPU time goes: py-spy on the ingress and on the workers, at the last point and mode.

Only samples that hold the interpreter's lock are counted, without stopping the process: sleeping
in the kernel is no sample, and what libuv does with the lock let go (polling) is none either. Read
it for order; the split into user and system time beside it is exact.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from point import measure
from processes import BenchError, Trunkline

ROLES = ("sip", "asr", "llm", "tts")
_RATE_HZ = 250
_TOP = 25


def run(options: argparse.Namespace) -> None:
    """Take the last point with py-spy beside it, and print each role's top functions."""
    pyspy = Path(options.stub_python).with_name("py-spy")
    if not pyspy.exists():
        raise BenchError(f"{pyspy}: no such file; install the dependency group bench there")
    with tempfile.TemporaryDirectory(prefix="trunkline-profile-") as folder:
        spies: dict[str, subprocess.Popen[bytes]] = {}

        def opened(sut: Trunkline) -> None:
            for role in ROLES:
                spies[role] = subprocess.Popen(
                    [
                        str(pyspy), "record", "--nonblocking", "--gil", "--format", "raw",
                        "--rate", str(_RATE_HZ), "--duration", str(int(options.duration) - 2),
                        "--output", str(Path(folder, role)), "--pid", str(sut.pids[role]),
                    ],
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                )  # fmt: skip

        options.modes = options.modes[-1:]
        (point,) = measure(options, options.calls[-1], 0, stages=False, opened=opened)
        for role, spy in spies.items():
            _, said = spy.communicate(timeout=30)
            if spy.returncode:
                raise BenchError(f"py-spy: {said.decode()[-500:]}")
            used = point["cpu_by_role"][role]
            print(
                f"\n## {role}: {used['user']:.2f} s user and {used['system']:.2f} s system "
                f"per call-minute, at {point['n']} calls, mode {point['mode']}"
            )
            print(summary(Path(folder, role).read_text()))


def summary(raw: str) -> str:
    """The functions with the largest shares, by their own time and by all they call.

    `raw` is py-spy's raw format: a line is "frame;frame;... count", a frame "name (file:line)".
    """
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        # What every sample of the event loop shares says nothing.
        for frame in set(frames[_loop_depth(frames) :]):
            whole[frame] += int(count)
    samples = sum(own.values())
    parts = [f"{samples} samples"]
    for title, counts in (("own time", own), ("with all it calls", whole)):
        parts.append(f"\n{title}:")
        parts += [f"  {n / samples:6.1%}  {name}" for name, n in counts.most_common(_TOP)]
    return "\n".join(parts)


def _loop_depth(frames: list[str]) -> int:
    """How many frames there are down to the one that runs the event loop, with it."""
    loop = [place for place, frame in enumerate(frames) if frame.startswith("Runner.run ")]
    return loop[-1] + 1 if loop else 0


def _short(frame: str) -> str:
    """A frame without its line's number, and with the last two parts of its path."""
    name, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({'/'.join(file.split('/')[-2:])})"
