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
Spy = subprocess.Popen[bytes]


def run(options: argparse.Namespace) -> None:
    """Take the last point with py-spy beside it, and print each role's top functions."""
    with tempfile.TemporaryDirectory(prefix="trunkline-profile-") as folder:
        spies: dict[str, Spy] = {}

        def opened(sut: Trunkline) -> None:
            for role in ROLES:
                spies[role] = spy(
                    options.stub_python, sut.pids[role], options.duration, Path(folder, role)
                )

        options.modes = options.modes[-1:]
        (point,) = measure(options, options.calls[-1], 0, stages=False, opened=opened)
        for role, started in spies.items():
            wait(started)
            used = point["cpu_by_role"][role]
            print(
                f"\n## {role}: {used['user']:.2f} s user and {used['system']:.2f} s system "
                f"per call-minute, at {point['n']} calls, mode {point['mode']}"
            )
            print(summary(Path(folder, role).read_text()))


def spy(python: str | Path, pid: int, window_s: float, output: Path) -> Spy:
    """Have py-spy, which is beside `python`, look at a process until 2 s before the window ends.

    Raises:
        BenchError: it is not installed.
    """
    program = Path(python).with_name("py-spy")
    if not program.exists():
        raise BenchError(f"{program}: no such file; install the dependency group bench there")
    return subprocess.Popen(
        [
            str(program), "record", "--nonblocking", "--gil", "--format", "raw",
            "--rate", str(_RATE_HZ), "--duration", str(int(window_s) - 2),
            "--output", str(output), "--pid", str(pid),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait(spy: Spy) -> None:
    """Wait until it has written what it saw.

    Raises:
        BenchError: it failed.
    """
    _, said = spy.communicate(timeout=30)
    if spy.returncode:
        raise BenchError(f"py-spy: {said.decode()[-500:]}")


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
