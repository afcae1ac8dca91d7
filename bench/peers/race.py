"""The race: Pipecat and Trunkline, by the same caller, with the same providers, on the same core.

    make bench-peers                    # sets up the peer, takes all points, writes README.md
    make bench-peers ARGS=--quick       # a few, and writes nothing

The caller, the providers and the peer's bot are those of `--peers` (../shared/bench_peers), as they
are: whoever wrote them wrote them for both. What is here runs them: one fresh system and fresh
providers a point, the products in turn, and every process accounted for. README.md says what is
fair.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import table
from processes import ROOT, BenchError, Json, lines, pinned, running, stub

BENCH: Final = ROOT / "bench"
#: A caller later than this tells nothing of whom it called.
MAX_SEND_LAG_MS: Final = 10.0
_STUB: Final = "http://127.0.0.1:9100"
_PEER_PORT: Final = 9200
_WEB_PORT: Final = 9300
_ENDPOINT_MS: Final = 200
_NAMES: Final = {"pipecat": "Pipecat 1.14", "off": "ours, off", "on": "ours, on"}
_STAGES: Final = {
    "speech_end_to_asr_req": "last speech frame sent to ASR asked",
    "asr_resp_to_llm_req": "ASR answered to LLM asked",
    "llm_sentence1_to_tts_req": "first sentence to TTS asked",
    "tts_first_to_caller": "TTS's first byte to the caller",
}


class Plan(NamedTuple):
    """A point: so many calls to a product, and whether they speak over its replies."""

    product: str
    calls: int
    barge: bool = False


class System(NamedTuple):
    """What is measured: where it is called, and its first process."""

    url: str
    pid: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--peers", type=Path, default=ROOT / "../shared/bench_peers", help="the harness's folder")
    add("--venv", type=Path, default=ROOT / "var/bench-peers", help="the peer's packages")
    add("--products", default=",".join(_NAMES), help="in the order of each round")
    add("--repeats", type=int, default=3, help="rounds at 1 and at 10 calls")
    add("--ladder", default="20,30,40,60,80", help="steps for the calls that one core carries")
    add("--duration", type=float, default=25, help="of a point's window, s")
    add("--sut-cpus", default="0", help="where the system measured runs")
    add("--load-cpus", default="1", help="where the caller and the providers run")
    add("--results", type=Path, default=BENCH / "results")
    add("--quick", action="store_true", help="one round of 12 s windows; nothing is written")
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.ladder, options.duration = 1, "20", 12.0
    if not (options.venv / "bin" / "python").exists():
        sys.exit(f"bench: no {options.venv}: run `make bench-peers`, which sets it up")
    try:
        points = _race(options)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    text = _markdown(points, options)
    print(text)
    if not options.quick:
        table.write(BENCH / "README.md", "peers", text)


def _race(options: argparse.Namespace) -> list[Json]:
    products = options.products.split(",")
    points: list[Json] = []

    def take(plan: Plan) -> Json:
        point = _point(options, plan)
        points.append(point)
        if not options.quick:
            table.keep(options.results, "peers", point)
        print(_said(point), flush=True)
        return point

    for _ in range(options.repeats):
        for calls in (1, 10):
            for product in products:
                take(Plan(product, calls))
    for _ in range(max(1, options.repeats - 1)):
        for product in products:
            if product != "off":
                take(Plan(product, 10, barge=True))
    climbing = set(products)
    for calls in map(int, options.ladder.split(",")):
        for product in [each for each in products if each in climbing]:
            if not _carries(points, take(Plan(product, calls))):
                climbing.discard(product)
    return points


def _carries(points: Sequence[Json], point: Json) -> bool:
    """Does the core carry so many calls? The first doubled p95, gap or error says no."""
    alone = [
        each["overhead_ms"]["p95"] for each in points
        if (each["product"], each["n"], each["barging"]) == (point["product"], 10, False)
    ]  # fmt: skip
    # A p95 below nothing cannot be doubled: 40 ms are what an own latency may come to.
    most = 2 * max(statistics.median(alone), 40.0)
    broken = point["errors"] or point["audio"]["replies_with_gap_over_20ms"]
    return not broken and float(point["overhead_ms"].get("p95", 1e9)) <= most


# -- a point


def _point(options: argparse.Namespace, plan: Plan) -> Json:
    """Take it, and once more if the caller was late."""
    for last in (False, True):
        point = _measured(options, plan)
        lag = point["self"]["send_lag_ms"].get("p99", 0.0)
        point["discarded"] = lag > MAX_SEND_LAG_MS
        if last or not point["discarded"]:
            return point
    raise AssertionError


def _measured(options: argparse.Namespace, plan: Plan) -> Json:
    peers: Path = options.peers
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="trunkline-race-") as name:
        folder = Path(name)
        python = str(options.venv / "bin" / "python")
        script = peers / "stub_providers.py"
        with (
            stub(python, script, _STUB, cpus=options.load_cpus, log=folder / "stub.log"),
            _system(options, plan, folder) as system,
        ):
            found = _called(options, plan, system, folder)
    return found | {
        "at": time.strftime("%Y-%m-%d"),
        "product": plan.product,
        "n": plan.calls,
        "barging": plan.barge,
        "load_average": load,
        "python": platform.python_version(),
    }  # fmt: skip


@contextmanager
def _system(options: argparse.Namespace, plan: Plan, folder: Path) -> Iterator[System]:
    if plan.product == "pipecat":
        bot = [str(options.venv / "bin" / "python"), str(options.peers / "pipecat_bot.py")]
        log = folder / "pipecat.log"
        with running(
            [*bot, "--port", str(_PEER_PORT)], cpus=options.sut_cpus, env=_clean(), log=log
        ) as process:
            _wait_for_port(_PEER_PORT, process, log)
            yield System(f"ws://127.0.0.1:{_PEER_PORT}/ws", process.pid)
        return
    agents = yaml.safe_load((BENCH / "peers" / "agents.yaml").read_text())
    (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": [agents[plan.product]]}))
    env = _clean() | {
        "TRUNKLINE_DATA_DIR": str(folder / "data"),
        "TRUNKLINE_AGENTS": str(folder / "agents.yaml"),
        "TRUNKLINE_SIP_LISTEN": "udp:127.0.0.1:0",
        "TRUNKLINE_HTTP_LISTEN": "127.0.0.1:0",
        "TRUNKLINE_WEB_LISTEN": f"127.0.0.1:{_WEB_PORT}",
        "TRUNKLINE_TWILIO_UNSIGNED": "true",
        "TRUNKLINE_LOG_LEVEL": "warning",
        **{f"TRUNKLINE_{pool}_CAPACITY": "500" for pool in ("ASR", "LLM", "TTS")},
    }
    command = [sys.executable, "-m", "trunkline", "up", "--json"]
    log = folder / "trunkline.log"
    with running(command, cpus=options.sut_cpus, env=env, log=log) as process:
        for line in lines(process, patience_s=90):
            if line is not None:
                yield System(f"{line['web'].replace('http', 'ws')}/twilio/media", process.pid)
                return
        raise BenchError(f"trunkline did not start: {log.read_text()[-1000:]}")


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        if any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port
            for each in psutil.net_connections("tcp4")
        ):
            time.sleep(1.0)
            return
        time.sleep(0.1)
    raise BenchError(f"the peer did not start: {log.read_text()[-1000:]}")


def _called(options: argparse.Namespace, plan: Plan, system: System, folder: Path) -> Json:
    """Have the caller call, and account for the CPU of each process meanwhile."""
    command = [
        str(options.venv / "bin" / "python"), str(options.peers / "twilio_caller.py"),
        "--url", system.url, "--stub", _STUB, "--name", plan.product,
        "--calls", str(plan.calls), "--duration", str(options.duration),
        "--endpoint-ms", str(_ENDPOINT_MS), "--watch", str(system.pid),
        "--wav", str(options.venv / "caller.wav"), *(["--barge"] if plan.barge else []),
    ]  # fmt: skip
    before = _cpu_by_role(system.pid)
    began = time.monotonic()
    ended = subprocess.run(
        pinned(command, options.load_cpus),
        cwd=folder,
        capture_output=True,
        timeout=300,
        check=False,
    )
    lasted = time.monotonic() - began
    after = _cpu_by_role(system.pid)
    if ended.returncode:
        raise BenchError(f"the caller failed: {ended.stderr.decode()[-1000:]}")
    found: Json = json.loads(ended.stdout.splitlines()[-1])
    found["cores_by_role"] = {
        role: round((after[role] - before.get(role, 0.0)) / lasted, 4) for role in after
    }
    return found


def _cpu_by_role(pid: int) -> dict[str, float]:
    """CPU-s so far of a system's processes, by role; a process that is no role is "the rest"."""
    used: dict[str, float] = {}
    top = psutil.Process(pid)
    for process in [top, *top.children(recursive=True)]:
        try:
            times, command = process.cpu_times(), process.cmdline()
        except psutil.NoSuchProcess:
            continue
        role = "the rest"
        if "trunkline" in command and "-m" in command:
            role = command[command.index("trunkline") + 1]
        elif any("server" in word for word in command[:1]):
            role = "bus"
        used[role] = used.get(role, 0.0) + times.user + times.system
    return used


# -- what came of it


def _said(point: Json) -> str:
    def three(name: str) -> str:
        values = point.get(name, {})
        return " / ".join(str(values.get(each, "-")) for each in ("p50", "p95", "p99"))

    return (
        f"{point['n']:>3} calls, {_NAMES[point['product']]}: {point['turns']} turns, "
        f"voice to voice {three('v2v_ms')}, own {three('overhead_ms')} ms, "
        f"{point['sut']['cpu_s_per_call_min']} CPU-s a call-minute, {point['sut']['cores']} cores, "
        f"gaps {point['audio']['replies_with_gap_over_20ms']}/{point['audio']['replies']}, "
        f"barge-in {point.get('barge', {}).get('react_ms', '-')}, "
        f"errors {point['errors'] or 'none'}, "
        f"send lag p99 {point['self']['send_lag_ms'].get('p99')} ms"
        + (" DISCARDED" if point["discarded"] else "")
    )


def _of(points: Sequence[Json], product: str, calls: int, *, barge: bool = False) -> list[Json]:
    return [
        each for each in points
        if (each["product"], each["n"], bool(each["barging"])) == (product, calls, barge)
        and not each["discarded"]
    ]  # fmt: skip


def _median(points: Sequence[Json], *path: str) -> str:
    """The median over repeats, with the least and the greatest behind it."""
    values = []
    for point in points:
        value: object = point
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            values.append(float(value))
    if not values:
        return "–"
    middle = statistics.median(values)
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{middle:.4g}{spread}"


def _markdown(points: Sequence[Json], options: argparse.Namespace) -> str:
    products = options.products.split(",")
    columns = [(calls, product) for calls in (1, 10) for product in products]
    columns = [each for each in columns if _of(points, each[1], each[0])]
    head = ["", *(f"{calls} call{'s' * (calls > 1)}, {_NAMES[name]}" for calls, name in columns)]

    def row(title: str, *path: str) -> list[str]:
        return [title, *(_median(_of(points, name, calls), *path) for calls, name in columns)]

    rows = [
        ["turns", *(str(sum(p["turns"] for p in _of(points, n, c))) for c, n in columns)],
        row("**voice to voice, ms**, p50", "v2v_ms", "p50"),
        row("p95", "v2v_ms", "p95"),
        row("p99", "v2v_ms", "p99"),
        row("**own latency, ms**: beyond 380, p50", "overhead_ms", "p50"),
        row("p95", "overhead_ms", "p95"),
        row("p99", "overhead_ms", "p99"),
        *(row(f"{says}, p50", "breakdown_ms", stage, "p50") for stage, says in _STAGES.items()),
        row("CPU-s per call-minute, all processes", "sut", "cpu_s_per_call_min"),
        row("MB a call, all processes", "sut", "rss_mb_per_call"),
        row("MB idle", "sut", "rss_idle_mb"),
        ["replies with a gap over 20 ms", *(_gaps(_of(points, n, c)) for c, n in columns)],
        ["errors", *(_errors(_of(points, n, c)) for c, n in columns)],
        row("the caller's own send lag, p99, ms", "self", "send_lag_ms", "p99"),
    ]  # fmt: skip
    loads = [point["load_average"] for point in points]
    setting = (
        f"{points[0]['at']}, Python {points[0]['python']}, {os.cpu_count()} CPUs; the system on "
        f"core {options.sut_cpus}, caller and providers on {options.load_cpus}; windows of "
        f"{options.duration:g} s, the products in turn, {options.repeats} rounds: medians, and the "
        f"least and greatest; load average before a point {min(loads):.1f} to {max(loads):.1f}."
    )
    parts = [setting, table.markdown_table(head, rows), *_barges(points, products)]
    return "\n\n".join([*parts, *_ladder(points, products), *_roles(points)])


def _gaps(points: Sequence[Json]) -> str:
    gaps = sum(point["audio"]["replies_with_gap_over_20ms"] for point in points)
    return f"{gaps} of {sum(point['audio']['replies'] for point in points)}"


def _errors(points: Sequence[Json]) -> str:
    found: dict[str, int] = {}
    for point in points:
        for name, count in point["errors"].items():
            found[name] = found.get(name, 0) + count
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "none"


def _barges(points: Sequence[Json], products: Sequence[str]) -> list[str]:
    names = [name for name in products if _of(points, name, 10, barge=True)]
    if not names:
        return []
    head = ["barge-in, 10 calls", *(_NAMES[name] for name in names)]
    rows = [
        [f"first speech frame to `clear`, ms, {quantile}",
         *(_median(_of(points, n, 10, barge=True), "barge", "react_ms", quantile) for n in names)]
        for quantile in ("p50", "p95")
    ]  # fmt: skip
    rows.append(
        ["errors", *(_errors(_of(points, name, 10, barge=True)) for name in names)]
    )  # fmt: skip
    return [table.markdown_table(head, rows)]


def _ladder(points: Sequence[Json], products: Sequence[str]) -> list[str]:
    steps = sorted({point["n"] for point in points if point["n"] >= 10})
    if steps == [10]:
        return []
    head = ["calls on one core", *(_NAMES[name] for name in products)]
    rows = []
    for calls in steps:
        cells = []
        for name in products:
            own = _of(points, name, calls)
            cells.append(
                f"{_median(own, 'overhead_ms', 'p50')} / {_median(own, 'overhead_ms', 'p95')}, "
                f"{_gaps(own)} gaps, {_median(own, 'sut', 'cores')} cores"
                if own else "–"
            )  # fmt: skip
        rows.append([str(calls), *cells])
    carried = ", ".join(f"{_NAMES[name]} **{_most(points, name)}**" for name in products)
    return [
        "Own latency p50 / p95 in ms, replies with a gap, cores used:",
        table.markdown_table(head, rows),
        f"Carried without a gap, an error or an own p95 twice that at 10 calls: {carried}.",
    ]


def _most(points: Sequence[Json], name: str) -> int:
    good = 0
    for calls in sorted({point["n"] for point in points if point["n"] >= 10}):
        taken = _of(points, name, calls)
        if not taken or not all(_carries(points, point) for point in taken):
            break
        good = calls
    return good


def _roles(points: Sequence[Json]) -> list[str]:
    """Where our CPU goes, by process: cores, of 10 calls and of the most."""
    ours = [point for point in points if point["product"] == "off" and not point["barging"]]
    if not ours:
        return []
    most = max(point["n"] for point in ours)
    shown = [_of(points, "off", 10)[-1:], _of(points, "off", most)[-1:]]
    columns = [each[0] for each in shown if each]
    roles = sorted({role for point in columns for role in point["cores_by_role"]})
    head = ["our processes, cores", *(f"{point['n']} calls" for point in columns)]
    rows = [
        [role, *(f"{point['cores_by_role'].get(role, 0.0):.3f}" for point in columns)]
        for role in roles
    ]
    return [table.markdown_table(head, rows)]


if __name__ == "__main__":
    main()
