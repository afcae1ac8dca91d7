"""All calls of a run: as one object for programs, and as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from trunkline.chaos.sound import Sound
from trunkline.chaos.takeover import Blow
from trunkline.chaos.verdict import Verdict

Json = dict[str, Any]

#: A phone that sends later than this disturbs the audio itself.
_LATE_MS = 20.0


def report(
    verdicts: Sequence[Verdict],
    sounds: Sequence[Sound],
    blows: Sequence[Blow],
    lags_ms: Sequence[float],
    machine: Json,
) -> Json:
    """Sum up. `ok` holds if no word was lost or doubled, no sentence repeated or skipped, no call
    dropped, and no reply missing."""
    gaps = [gap for blow in blows for gap in blow.gaps_ms]
    inside = [gap for verdict in verdicts for gap in verdict.gaps_ms]
    pauses = [pause for verdict in verdicts for pause in verdict.pauses_ms]
    return {
        "ok": all(verdict.whole for verdict in verdicts),
        "calls": len(verdicts),
        "turns": sum(verdict.turns for verdict in verdicts),
        "sentences": sum(verdict.sentences for verdict in verdicts),
        "words_lost": sum(len(verdict.words_lost) for verdict in verdicts),
        "words_doubled": sum(len(verdict.words_added) for verdict in verdicts),
        "turns_wrong": sum(verdict.turns_wrong for verdict in verdicts),
        "sentences_repeated": sum(len(verdict.sentences_repeated) for verdict in verdicts),
        "sentences_skipped": sum(len(verdict.sentences_skipped) for verdict in verdicts),
        "replies_missing": sum(len(verdict.replies_missing) for verdict in verdicts),
        "calls_dropped": sum(bool(verdict.dropped) for verdict in verdicts),
        "take_over": {
            "strikes": len(blows),
            "jobs_held": sum(blow.held for blow in blows),
            "jobs_taken_over": len(gaps),
            "jobs_abandoned": sum(blow.abandoned for blow in blows),
            "gap_ms": spread(gaps),
            "by_role": {
                role: {
                    "strikes": sum(blow.role == role for blow in blows),
                    "gap_ms": spread([g for b in blows if b.role == role for g in b.gaps_ms]),
                }
                for role in dict.fromkeys(blow.role for blow in blows)
            },
        },
        "asides": dict(sum((verdict.asides for verdict in verdicts), Counter[str]())),
        "answer_wait_ms": spread([wait for verdict in verdicts for wait in verdict.waits_ms]),
        "audio": {
            "gaps_in_sentences": len(inside),
            "gap_in_sentence_ms": spread(inside),
            "pauses_between_sentences": len(pauses),
            "pause_between_sentences_ms": spread(pauses),
            "packets": sum(sound.packets for sound in sounds),
            "packets_lost": sum(sound.lost for sound in sounds),
            "timestamp_jumps": sum(sound.jumps for sound in sounds),
            "packets_late": sum(sound.late for sound in sounds),
            "longest_wait_ms": max((sound.longest_wait_ms for sound in sounds), default=0.0),
            "heard_of_recorded": round(min((sound.arrived for sound in sounds), default=0.0), 4),
            "heard_unrecorded_ms": sum(sound.unrecorded_ms for sound in sounds),
        },
        "kept": {
            "rows_whole": sum(sound.rows_whole for sound in sounds),
            "recordings_whole": sum(sound.recording_whole for sound in sounds),
        },
        #: The phone's own lateness: past 20 ms it, and not the far end, disturbs the audio.
        "phone_lag_ms": spread(lags_ms),
        "machine": machine,
        "remarks": [
            f"{verdict.name} {verdict.call}: {remark}"
            for verdict, sound in zip(verdicts, sounds, strict=True)
            for remark in ([verdict.dropped] * bool(verdict.dropped) + verdict.remarks)
            + sound.remarks
        ],
        "strikes": [
            {
                "role": blow.role, "pid": blow.pid, "signal": blow.signal, "at": blow.at,
                "held": blow.held, "gaps_ms": blow.gaps_ms, "finished": blow.finished,
            }
            for blow in blows
        ],
    }  # fmt: skip


def spread(values: Sequence[float]) -> Json | None:
    """The middle, the 99th percentile and the largest; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "p50": round(ordered[(len(ordered) - 1) // 2], 1),
        "p99": round(ordered[-(-99 * len(ordered) // 100) - 1], 1),
        "max": round(ordered[-1], 1),
    }


def as_text(found: Json) -> str:
    """The table for people."""
    take_over, audio, kept = found["take_over"], found["audio"], found["kept"]
    calls = found["calls"]
    rows = [
        ("words lost", found["words_lost"], f"of {found['turns']} turns said"),
        ("words doubled", found["words_doubled"], ""),
        ("sentences repeated", found["sentences_repeated"], f"of {found['sentences']} due"),
        ("sentences skipped", found["sentences_skipped"], ""),
        ("replies missing", found["replies_missing"], ""),
        ("calls dropped", found["calls_dropped"], f"of {calls}"),
        (
            "processes hit",
            take_over["strikes"],
            f"{take_over['jobs_taken_over']} of their {take_over['jobs_held']} jobs taken over, "
            f"{take_over['jobs_abandoned']} abandoned",
        ),
        ("take-over gap", *_ms(take_over["gap_ms"])),
        *((f"  {role}", *_ms(one["gap_ms"])) for role, one in take_over["by_role"].items()),
        ("wait for an answer", *_ms(found["answer_wait_ms"])),
        (
            "said beside answers",
            sum(found["asides"].values()),
            ", ".join(f"{count} {why}" for why, count in found["asides"].items()),
        ),
        ("gaps in sentences", audio["gaps_in_sentences"], _longest(audio["gap_in_sentence_ms"])),
        (
            "long pauses",
            audio["pauses_between_sentences"],
            _longest(audio["pause_between_sentences_ms"]),
        ),
        (
            "packets lost",
            audio["packets_lost"],
            f"of {audio['packets']}; {audio['packets_late']} late, longest wait "
            f"{audio['longest_wait_ms']:.0f} ms, {audio['timestamp_jumps']} jumps",
        ),
        ("agent heard", f"{audio['heard_of_recorded']:.1%}", "of its recorded voice, worst call"),
        ("rows whole", kept["rows_whole"], f"of {calls}"),
        ("recordings whole", kept["recordings_whole"], f"of {calls}"),
        ("the phone's own lag", *_ms(found["phone_lag_ms"])),
        (
            "machine",
            f"{found['machine']['ours']:.1f}",
            f"of {found['machine']['cores']:.0f} cores; others used "
            f"{found['machine']['others']:.1f}",
        ),
    ]
    lines = [f"{name:<22}{value!s:>9}  {note}".rstrip() for name, value, note in rows]
    lines += ["", *found["remarks"]] if found["remarks"] else []
    lag = found["phone_lag_ms"]
    if lag is not None and lag["p99"] > _LATE_MS:
        lines += ["", "The phones themselves were late: this machine was too busy to tell much."]
    lines += ["", "Nothing was lost." if found["ok"] else "Something was LOST."]
    return "\n".join(lines)


def _ms(values: Json | None) -> tuple[str, str]:
    if values is None:
        return "-", ""
    return f"{values['p50']:.0f} ms", f"p99 {values['p99']:.0f}, longest {values['max']:.0f}"


def _longest(values: Json | None) -> str:
    return f"longest {values['max']:.0f} ms" if values else ""
