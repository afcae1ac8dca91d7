"""The numbers in a run's points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from processes import Json


def nominal(point: Json) -> dict[str, float]:
    """What a stage takes by configuration if none runs beside another, ms."""
    stub = point["stub"]
    return {
        "endpoint": point["silence_ms"],
        "asr": stub["asr_ms"],
        "llm_first_token": stub["llm_ms"],
        "llm_sentence": stub["llm_first_sentence_ms"] - stub["llm_ms"],
        "tts_first_audio": stub["tts_ms"],
    }


def in_turn(point: Json) -> float:
    """The floor of whoever does one thing after the other, ms."""
    return sum(nominal(point).values())


def floor(point: Json) -> float:
    """What a turn without pauses takes by configuration, ms.

    The transcriber is asked at the first pause, in any case: its work runs while the wait does.
    With speculation so does all the rest.
    """
    work = in_turn(point) - point["silence_ms"]
    transcribed = point["guess_after_ms"] + point["stub"]["asr_ms"]
    rest = work - point["stub"]["asr_ms"]
    if point["speculation"]:
        return float(max(point["silence_ms"], transcribed + rest))
    return float(max(point["silence_ms"], transcribed) + rest)


def turns_of(points: Iterable[Json]) -> list[Json]:
    """All turns of all calls."""
    return [turn for point in points for call in point["calls"] for turn in call["turns"]]


def v2v(points: Iterable[Json]) -> list[float]:
    return [turn["voice_to_voice_ms"] for turn in turns_of(points)]


def beyond(points: Sequence[Json], least: float) -> list[float]:
    return [spent - least for spent in v2v(points)]


def own(points: Sequence[Json]) -> list[float]:
    """Each turn's time beyond the floor of its mode, ms."""
    return beyond(points, floor(points[0]))


def reactions(points: Iterable[Json]) -> list[float]:
    return [turn["react_ms"] for turn in turns_of(points) if "react_ms" in turn]


def withdrawn(points: Iterable[Json]) -> str:
    known = [turn.get("guesses_withdrawn") for turn in turns_of(points)]
    counts = [count for count in known if count is not None]
    return f"{sum(counts) / len(counts):.2f}" if counts else "-"


def count(points: Sequence[Json], what: str) -> int:
    """How many turns have it."""
    return sum(turn[what] for turn in turns_of(points))


def short(points: Sequence[Json]) -> int:
    whole = points[0]["stub"]["reply_tone_ms"]
    return sum(turn["tone_ms"] < 0.95 * whole for turn in turns_of(points))


def beyond_idle(point: Json) -> float:
    return float(point["cpu_s_per_call_minute"] - point["idle_cores"] * 60 / point["n"])


def errors(points: Sequence[Json]) -> str:
    """What went wrong, and how often; "" for nothing."""
    all_of = [error for point in points for call in point["calls"] for error in call["errors"]]
    return ", ".join(f"{all_of.count(error)} x {error}" for error in sorted(set(all_of)))


def unseen(point: Json) -> list[tuple[float, float]]:
    """Of each turn, what passed before the log's clock began, ms: the VAD's hangover as measured
    alone with the same recording (hangover.py), and the rest.
    """
    spans = []
    for turn in turns_of([point]):
        if "logged_ms" in turn:
            hangover = point["hangover_ms"][turn["recording"]]
            rest = turn["voice_to_voice_ms"] - turn["logged_ms"] - hangover
            spans.append((hangover, rest))
    return spans


def quantile(values: Iterable[float], p: float) -> float:
    """The p-quantile (0..1) of values; not a number, of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))] if ordered else float("nan")
