"""The figures as Markdown, from one run's points."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from figures import (
    beyond,
    beyond_idle,
    count,
    errors,
    floor,
    in_turn,
    nominal,
    own,
    quantile,
    reactions,
    short,
    turns_of,
    unseen,
    v2v,
    withdrawn,
)
from processes import BenchError, Json

from calls.timing import STAGES

#: Other work on the machine, in cores, above which the figures are called provisional.
QUIET_CORES = 0.1
#: What ../shared's performance.md asks for, and what Pipecat 1.14 had at 10 calls (Silero VAD,
#: 200 ms; ../shared/bench_peers/results_pipecat.jsonl).
_AIMS = {
    "v2v": ("260 / 300 (on)", "523 / 547"),
    "own": ("20 / 40", "143 / 167"),
    "cpu": ("0.4", "1.6 to 2.25"),
    "rss": ("1", "12"),
    "gaps": ("0", "0"),
    "barge": ("230 / 260, 200 ms start", "382 / 604"),
}
_PEER_NOTE = (
    "\n\n\\* At 10 calls; it has no speculation. Another hour, the same stub, one pinned core."
)
Column = tuple[int, str]
"""Calls, and the mode."""
Columns = dict[Column, list[Json]]


def keep(folder: Path, kind: str, point: Json) -> None:
    """Add the point to the day's file."""
    folder.mkdir(exist_ok=True)
    with (folder / f"{kind}-{point['at'][:10]}.jsonl").open("a") as file:
        file.write(json.dumps(point) + "\n")


def line(point: Json) -> str:
    """A point in one line, while others are still to come."""
    return (
        f"{point['n']:>3} calls, {point['mode']}: {len(turns_of([point]))} turns, "
        f"voice to voice {p50_95(v2v([point]))}, own {p50_95(own([point]))}"
        + (f", barge-in {p50_95(reactions([point]))}" if reactions([point]) else "")
        + f" ms, {point['cpu_s_per_call_minute']:.2f} CPU-s a call-minute, "
        f"{point['sut_cores']:.2f} cores, "
        f"{count([point], 'gap')} gaps, errors {errors([point]) or 'none'}, "
        f"send lag p99 {point['send_lag_p99_ms']:.1f} ms, others {point['other_cores']:.2f} cores, "
        f"{point['log_lines']} log lines" + (" DISCARDED" if point["discarded"] else "")
    )


def write(readme: Path, name: str, text: str) -> None:
    """Put the tables between the markers of that name.

    Raises:
        BenchError: the markers are not there.
    """
    page = readme.read_text("utf-8")
    between = re.compile(rf"(<!-- {name}:begin.*?-->\n).*(<!-- {name}:end -->)", re.DOTALL)
    page, found = between.subn(lambda markers: f"{markers[1]}{text}\n{markers[2]}", page)
    if not found:
        raise BenchError(f"{readme} has lost its markers: {name}:begin and {name}:end")
    readme.write_text(page, "utf-8")


def markdown(points: Sequence[Json]) -> str:
    """All tables, with what they were taken on.

    Raises:
        BenchError: no point is left of those that the phone was in time for.
    """
    good = kept(points)
    names = dict.fromkeys((p["n"], p["mode"]) for p in sorted(good, key=lambda p: p["n"]))
    columns = {name: [p for p in good if (p["n"], p["mode"]) == name] for name in names}
    plain = {name: p for name, p in columns.items() if not reactions(p)}
    barges = {name: p for name, p in columns.items() if reactions(p)}
    tables = [setting(points)]
    if plain:
        tables += [_headline(plain), _stages(plain), _roles(plain), _bus(plain)]
    if barges:
        tables.insert(2 if plain else 1, _barges(barges))
    return "\n\n".join(tables)


def kept(points: Sequence[Json]) -> list[Json]:
    """Those that the phone was in time for. Raises BenchError when none was."""
    good = [point for point in points if not point["discarded"]]
    if not good:
        raise BenchError("every point was discarded: the phones were late. Is the machine busy?")
    return good


def setting(points: Sequence[Json]) -> str:
    """What the points were taken on."""
    good = kept(points)
    first = good[0]
    others = max(point["other_cores"] for point in good)
    state = (
        f"**Provisional**: other work on this machine used up to {others:.2f} cores meanwhile."
        if others > QUIET_CORES
        else f"Other work on this machine used at most {others:.2f} cores meanwhile."
    )
    repeats = max(point["repeat"] for point in good) + 1
    return (
        f"{first['at'][:10]}, {first['machine']}; `{first['command']}`; "
        f"{repeats} window{'s' if repeats > 1 else ''} of {first['window_s']:.0f} s each"
        f"{_discards(len(points) - len(good))}; VAD {first['vad']}. {state}"
    )


def _discards(count: int) -> str:
    return f"; {count} discarded, the phones were late" if count else ""


def _headline(columns: Columns) -> str:
    def row(name: str, aim: str, cell: Callable[[list[Json]], str]) -> list[str]:
        return [name, *(cell(points) for points in columns.values()), *_AIMS.get(aim, (aim, ""))]

    return markdown_table(
        ["speculation", *map(_name, columns), "aim", "Pipecat 1.14*"],
        [
            row("turns", "", lambda p: str(len(turns_of(p)))),
            row("**voice to voice, ms, p50 / p95**", "v2v", lambda p: p50_95(v2v(p))),
            row("the same, p99", "", lambda p: f"{quantile(v2v(p), 0.99):.1f}"),
            row("floor: waits and providers, ms", "", lambda p: f"{floor(p[0]):.0f}"),
            row("**own latency: beyond that floor**", "", lambda p: p50_95(own(p))),
            row(
                "**beyond one thing after the other**", "own",
                lambda p: p50_95(beyond(p, in_turn(p[0]))),
            ),
            row(
                "beyond the end-of-turn wait alone", "",
                lambda p: p50_95(beyond(p, p[0]["silence_ms"])),
            ),
            row("guesses withdrawn, per turn", "", withdrawn),
            row("replies with a gap", "gaps", lambda p: str(count(p, "gap"))),
            row(
                "longest wait for a packet in a reply, ms", "",
                lambda p: f"{max(turn['longest_wait_ms'] for turn in turns_of(p)):.0f}",
            ),
            row("cut-short replies", "0", lambda p: str(short(p))),
            row("other errors", "none", lambda p: errors(p) or "none"),
            row(
                "**CPU-s per call-minute, all processes**", "cpu",
                lambda p: _range([point["cpu_s_per_call_minute"] for point in p]),
            ),
            row(
                "the same, beyond the idle system's", "",
                lambda p: _range([beyond_idle(point) for point in p]),
            ),
            row(
                "RSS per call, all processes, MB", "rss",
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
    ) + _PEER_NOTE  # fmt: skip


def _barges(columns: Columns) -> str:
    def row(name: str, aim: str, cell: Callable[[list[Json]], str]) -> list[str]:
        return [name, *(cell(points) for points in columns.values()), *_AIMS.get(aim, (aim, ""))]

    starts = [f"{_calls(n)}, {p[0]['min_speech_ms']} ms start" for (n, _), p in columns.items()]
    return markdown_table(
        ["barge-in", *starts, "aim", "Pipecat 1.14*"],
        [
            row("replies spoken over", "", lambda p: str(len(reactions(p)))),
            row(
                "**first speech frame sent -> last tone received, ms, p50 / p95**", "barge",
                lambda p: p50_95(reactions(p)),
            ),
            row("the same, p99", "", lambda p: f"{quantile(reactions(p), 0.99):.1f}"),
            row("voice to voice of the answer to it", "", lambda p: p50_95(v2v(p))),
            row("errors", "none", lambda p: errors(p) or "none"),
        ],
    )  # fmt: skip


def _stages(columns: Columns) -> str:
    given = nominal(next(iter(columns.values()))[0])
    rows = []
    for stage in STAGES:
        cells = [
            p50_95(turn["stages_ms"][stage] for turn in turns_of(points) if "stages_ms" in turn)
            for points in columns.values()
        ]
        rows.append([f"`{stage}`", f"{given.get(stage, 0):.0f}", *cells])
    before = {n: [unseen(point) for point in points] for n, points in columns.items()}
    for place, name in enumerate(("VAD hangover*", "jitter buffer, the way*")):
        rows.append(
            [
                name,
                "0",
                *(p50_95(turn[place] for point in p for turn in point) for p in before.values()),
            ]
        )
    missing = sum(
        "stages_ms" not in turn for points in columns.values() for turn in turns_of(points)
    )
    note = (
        "\n\n\\* Not in the log: its clock starts with the last frame the VAD calls speech. "
        '"Given" is without speculation; with it, what was done during the wait takes 0.'
    )
    note += f"\n\n{missing} turns could not be found in their call's log." if missing else ""
    return (
        markdown_table(["stage, ms, p50 / p95", "given", *map(_name, columns)], rows) + note
    )  # fmt: skip


def _roles(columns: Columns) -> str:
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
    return markdown_table(
        ["CPU-s per call-minute, user + system", *map(_name, columns)], rows
    )  # fmt: skip


def _bus(columns: Columns) -> str:
    """The commands that the bus is given most."""

    def rate(points: list[Json], name: str) -> float:
        return median(point["bus_commands_per_s"].get(name, 0.0) for point in points)

    names = {name for p in columns.values() for point in p for name in point["bus_commands_per_s"]}
    busiest = sorted(names, key=lambda name: -max(rate(p, name) for p in columns.values()))
    rows = [[name, *(f"{rate(p, name):.1f}" for p in columns.values())] for name in busiest[:8]]
    return markdown_table(["bus commands per second", *map(_name, columns)], rows)


def _calls(n: int) -> str:
    return f"{n} call{'s' if n > 1 else ''}"


def _name(column: Column) -> str:
    n, mode = column
    return f"{_calls(n)}, {mode}"


def p50_95(values: Iterable[float]) -> str:
    """The median and the 95th percentile, as the tables show them."""
    ordered = sorted(values)
    if not ordered:
        return "-"
    return f"{quantile(ordered, 0.5):.1f} / {quantile(ordered, 0.95):.1f}"


def _range(values: Sequence[float]) -> str:
    middle = f"{median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
