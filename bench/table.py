"""The figures as Markdown, from one run's points."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from processes import BenchError, Json

from calls.timing import STAGES

BEGIN = "<!-- bench:begin, written by bench/latency.py -->"
END = "<!-- bench:end -->"
#: Other work on the machine, in cores, above which the figures are called provisional.
QUIET_CORES = 0.1
#: What ../shared's performance.md asks for, without speculation.
_AIMS = {
    "own": "20 / 40",
    "cpu": "0.4",
    "rss": "1",
    "gaps": "0",
}


def keep(folder: Path, point: Json) -> None:
    """Add the point to the day's file."""
    folder.mkdir(exist_ok=True)
    with (folder / f"latency-{point['at'][:10]}.jsonl").open("a") as file:
        file.write(json.dumps(point) + "\n")


def line(point: Json) -> str:
    """A point in one line, while others are still to come."""
    own = _own([point])
    return (
        f"{point['n']:>3} calls: {len(own)} turns, own latency {_p(own)} ms, "
        f"{point['cpu_s_per_call_minute']:.2f} CPU-s a call-minute, "
        f"{_count([point], 'gap')} gaps, errors {_errors([point]) or 'none'}, "
        f"send lag p99 {point['send_lag_p99_ms']:.1f} ms, others {point['other_cores']:.2f} cores, "
        f"{point['log_lines']} log lines" + (" DISCARDED" if point["discarded"] else "")
    )


def write(readme: Path, points: Sequence[Json]) -> None:
    """Put the tables between the markers."""
    text = readme.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BenchError(f"{readme} has lost its markers: {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n{markdown(points)}\n{END}{after}", "utf-8")


def markdown(points: Sequence[Json]) -> str:
    """All tables, with what they were taken on.

    Raises:
        BenchError: no point is left of those that the phone was in time for.
    """
    good = [point for point in points if not point["discarded"]]
    if not good:
        raise BenchError("every point was discarded: the phones were late. Is the machine busy?")
    columns = {n: [p for p in good if p["n"] == n] for n in sorted({p["n"] for p in good})}
    return "\n\n".join(
        [
            _setting(points, good),
            _headline(columns),
            _stages(columns),
            _roles(columns),
            _bus(columns),
        ]
    )


def _setting(points: Sequence[Json], good: Sequence[Json]) -> str:
    first = good[0]
    others = max(point["other_cores"] for point in good)
    state = (
        f"**Provisional**: other work on this machine used up to {others:.2f} cores meanwhile."
        if others > QUIET_CORES
        else f"Other work on this machine used at most {others:.2f} cores meanwhile."
    )
    counts = {n: sum(p["n"] == n for p in good) for n in sorted({p["n"] for p in good})}
    repeats = ", ".join(f"{times} x {n}" for n, times in counts.items())
    return (
        f"{first['at'][:10]}, {first['machine']}; `{first['command']}`; windows of "
        f"{first['window_s']:.0f} s (repeats x calls): {repeats}"
        f"{_discards(len(points) - len(good))}. {state}"
    )


def _discards(count: int) -> str:
    return f"; {count} discarded, the phones were late" if count else ""


def _headline(columns: dict[int, list[Json]]) -> str:
    def row(name: str, aim: str, cell: Callable[[list[Json]], str]) -> list[str]:
        return [name, *(cell(points) for points in columns.values()), aim]

    return _table(
        ["", *(_calls(n) for n in columns), "aim"],
        [
            row("turns", "", lambda p: str(len(_turns(p)))),
            row(
                "voice to voice, ms, p50 / p95", "",
                lambda p: _p(turn["voice_to_voice_ms"] for turn in _turns(p)),
            ),
            row("floor: silence and providers, ms", "", lambda p: f"{_floor(p[0]):.0f}"),
            row("**own latency, ms, p50 / p95**", _AIMS["own"], lambda p: _p(_own(p))),
            row("replies with a gap", _AIMS["gaps"], lambda p: str(_count(p, "gap"))),
            row(
                "longest wait for a packet in a reply, ms", "",
                lambda p: f"{max(turn['longest_wait_ms'] for turn in _turns(p)):.0f}",
            ),
            row("cut-short replies", "0", lambda p: str(_short(p))),
            row("other errors", "none", lambda p: _errors(p) or "none"),
            row(
                "**CPU-s per call-minute, all processes**", _AIMS["cpu"],
                lambda p: _range([point["cpu_s_per_call_minute"] for point in p]),
            ),
            row(
                "the same, beyond the idle system's", "",
                lambda p: _range([_beyond_idle(point) for point in p]),
            ),
            row(
                "RSS per call, all processes, MB", _AIMS["rss"],
                lambda p: _range([point["rss_per_call_mb"] for point in p]),
            ),
            row(
                "RSS idle, MB; CPU idle, cores", "",
                lambda p: f"{median(x['rss_idle_mb'] for x in p):.0f}; "
                f"{median(x['idle_cores'] for x in p):.3f}",
            ),
            row(
                "the phones' own send lag p99, ms", "< 10",
                lambda p: f"{max(point['send_lag_p99_ms'] for point in p):.1f}",
            ),
        ],
    )  # fmt: skip


def _stages(columns: dict[int, list[Json]]) -> str:
    nominal = _nominal(next(iter(columns.values()))[0])
    rows = []
    for stage in STAGES:
        cells = [
            _p(turn["stages_ms"][stage] for turn in _turns(points) if "stages_ms" in turn)
            for points in columns.values()
        ]
        rows.append([f"`{stage}`", f"{nominal.get(stage, 0):.0f}", *cells])
    unseen = {n: [_unseen(point) for point in points] for n, points in columns.items()}
    for place, name in enumerate(("VAD hangover*", "jitter buffer, the way*")):
        rows.append(
            [
                name,
                "0",
                *(_p(turn[place] for point in p for turn in point) for p in unseen.values()),
            ]
        )
    missing = sum("stages_ms" not in turn for points in columns.values() for turn in _turns(points))
    note = "\n\n\\* Not in the log: its clock starts with the last frame the VAD calls speech."
    note += f"\n\n{missing} turns could not be found in their call's log." if missing else ""
    return (
        _table(["stage, ms, p50 / p95", "given", *(_calls(n) for n in columns)], rows) + note
    )  # fmt: skip


def _unseen(point: Json) -> list[tuple[float, float]]:
    """Of each turn, what passed before the log's clock began, ms: the VAD's hangover as measured
    alone with the same recording (hangover.py), and the rest.
    """
    unseen = []
    for turn in _turns([point]):
        if "logged_ms" in turn:
            hangover = point["hangover_ms"][turn["recording"]]
            rest = turn["voice_to_voice_ms"] - turn["logged_ms"] - hangover
            unseen.append((hangover, rest))
    return unseen


def _roles(columns: dict[int, list[Json]]) -> str:
    rows = []
    for role in next(iter(columns.values()))[0]["cpu_by_role"]:
        cells = [
            " + ".join(
                f"{median(point['cpu_by_role'][role][kind] for point in points):.2f}"
                for kind in ("user", "system")
            )
            for points in columns.values()
        ]
        rows.append([role, *cells])
    return _table(
        ["CPU-s per call-minute, user + system", *(_calls(n) for n in columns)], rows
    )  # fmt: skip


def _bus(columns: dict[int, list[Json]]) -> str:
    """The commands that the bus is given most."""

    def rate(points: list[Json], name: str) -> float:
        return median(point["bus_commands_per_s"].get(name, 0.0) for point in points)

    names = {name for p in columns.values() for point in p for name in point["bus_commands_per_s"]}
    busiest = sorted(names, key=lambda name: -max(rate(p, name) for p in columns.values()))
    rows = [[name, *(f"{rate(p, name):.1f}" for p in columns.values())] for name in busiest[:8]]
    return _table(["bus commands per second", *(_calls(n) for n in columns)], rows)


def _nominal(point: Json) -> dict[str, float]:
    """What a stage takes by configuration, ms."""
    stub = point["stub"]
    return {
        "endpoint": point["silence_ms"],
        "asr": stub["asr_ms"],
        "llm_first_token": stub["llm_ms"],
        "llm_sentence": stub["llm_first_sentence_ms"] - stub["llm_ms"],
        "tts_first_audio": stub["tts_ms"],
    }


def _floor(point: Json) -> float:
    return sum(_nominal(point).values())


def _turns(points: Iterable[Json]) -> list[Json]:
    return [turn for point in points for call in point["calls"] for turn in call["turns"]]


def _own(points: Sequence[Json]) -> list[float]:
    return [turn["voice_to_voice_ms"] - _floor(points[0]) for turn in _turns(points)]


def _count(points: Sequence[Json], what: str) -> int:
    return sum(turn[what] for turn in _turns(points))


def _short(points: Sequence[Json]) -> int:
    whole = points[0]["stub"]["reply_tone_ms"]
    return sum(turn["tone_ms"] < 0.95 * whole for turn in _turns(points))


def _beyond_idle(point: Json) -> float:
    return float(point["cpu_s_per_call_minute"] - point["idle_cores"] * 60 / point["n"])


def _errors(points: Sequence[Json]) -> str:
    errors = [error for point in points for call in point["calls"] for error in call["errors"]]
    return ", ".join(f"{errors.count(error)} x {error}" for error in sorted(set(errors)))


def _calls(n: int) -> str:
    return f"{n} call{'s' if n > 1 else ''}"


def _p(values: Iterable[float]) -> str:
    ordered = sorted(values)
    if not ordered:
        return "-"
    p50, p95 = (ordered[min(len(ordered) - 1, int(p * len(ordered)))] for p in (0.5, 0.95))
    return f"{p50:.1f} / {p95:.1f}"


def _range(values: Sequence[float]) -> str:
    middle = f"{median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
