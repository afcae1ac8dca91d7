"""Whether the agent's own echo passes for the caller, and whether a caller over it does not.

    .venv/bin/python bench/echo.py

The agent reads Debian's prompts at -20 dBov, the shipped callers interrupt. An echo is that of a
line (2 ms, linear) or of a room (120 ms of it); levels are relative to the agent's. What counts is
what turn-taking makes of it: 120 ms of speech, by the default VAD, that the gate lets through.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from noises import PROMPTS, Random, Wave, active_level, frames_of, phone, recordings
from processes import ROOT
from reply import FRAME, RATE

from media.echo import EchoGate
from media.frames import FRAME_MS, Samples
from media.level import level_dbov
from media.vad import vad_of

_AGENT_DBOV: Final = -20
_DELAYS_MS: Final = (20, 60, 120, 180, 250)
_SECONDS: Final = 40
_BEGINS: Final = 120 // FRAME_MS
_ENDS: Final = 300 // FRAME_MS
_LINE: Final = np.array([1, 0.5, -0.3, 0.2, -0.1])


def onsets(agent: Samples, line: Samples, gated: bool = True) -> list[int]:
    """The frames at which speech begins on the caller's line, after 300 ms without."""
    vad, gate, found, speech, silence, begun = vad_of("silero"), EchoGate(), [], 0, 0, False
    for at, (played, frame) in enumerate(zip(frames_of(agent), frames_of(line), strict=True)):
        passes = gate.may_be_caller(frame, level_dbov(played)) or not gated
        heard = vad.is_speech(frame) and passes
        silence = 0 if heard else silence + 1
        speech = speech + 1 if heard else max(0, speech - 1)
        if begun and silence >= _ENDS:
            speech, begun = 0, False
        elif not begun and speech >= _BEGINS:
            found.append(at)
            begun = True
    return found


def echo(random: Random, agent: Wave, where: str, db: int, delay_ms: int) -> Wave:
    path = _LINE
    if where == "room":
        length = RATE * 120 // 1000
        path = random.normal(size=length) * np.exp(-np.arange(length) / (0.03 * RATE))
        path[0] = 2
    back = np.convolve(agent, path)[: agent.size]
    back *= active_level(agent) / active_level(back) * 10 ** (db / 20)
    return np.concatenate([np.zeros(delay_ms * RATE // 1000), back])[: agent.size]


def talk(random: Random, pool: list[Samples]) -> Wave:
    """The agent, talking without end."""
    said = [np.zeros(0)]
    while sum(map(len, said)) < _SECONDS * RATE:
        text = pool[random.integers(len(pool))].astype(float)
        said.append(text * 32768 * 10 ** (_AGENT_DBOV / 20) / active_level(text))
        said.append(np.zeros(int(random.uniform(0.1, 0.6) * RATE)))
    return np.concatenate(said)[: _SECONDS * RATE]


def interruptions(random: Random, pool: list[Samples], db: int) -> tuple[Wave, list[range]]:
    """The caller, every few seconds, and the frames of each time."""
    wave, at, spans = np.zeros(_SECONDS * RATE), 4 * RATE, []
    while at < (_SECONDS - 4) * RATE:
        text = pool[random.integers(len(pool))].astype(float)[: _SECONDS * RATE - at]
        text *= 32768 * 10 ** ((_AGENT_DBOV + db) / 20) / active_level(text)
        wave[at : at + text.size] = text
        spans.append(range(at // FRAME, (at + text.size) // FRAME + 5))
        at = (at + text.size + 3 * RATE) // FRAME * FRAME
    return wave, spans


def false_onsets(agents: list[Samples]) -> str:
    lines = ["| echo | false onsets a minute | without the gate |", "| --- | --- | --- |"]
    for where in ("line", "room"):
        for db in (-15, -20, -30, -40):
            gated = free = 0
            for seed, delay in enumerate(_DELAYS_MS):
                random = np.random.default_rng(seed)
                agent = phone(talk(random, agents))
                back = echo(random, agent.astype(float), where, db, delay)
                line = phone(back + random.normal(size=back.size) * 10)
                gated += len(onsets(agent, line))
                free += len(onsets(agent, line, gated=False))
            minutes = len(_DELAYS_MS) * _SECONDS / 60
            lines.append(f"| {where}, {db} dB | {gated / minutes:.1f} | {free / minutes:.1f} |")
    return "\n".join(lines)


def barge_ins(agents: list[Samples], callers: list[Samples]) -> str:
    lines = [
        "| echo | caller | missed | first speech to onset, ms, p50 / p95 |",
        "| --- | --- | --- | --- |",
    ]
    for db in (None, -15, -20, -30, -40):
        for caller_db in (0, -5, -10, -15, -20):
            delays, missed = [], 0
            for seed, delay in enumerate(_DELAYS_MS):
                random = np.random.default_rng(seed)
                agent = phone(talk(random, agents))
                caller, spans = interruptions(random, callers, caller_db)
                back = echo(random, agent.astype(float), "room", db, delay) if db else 0
                line = phone(caller + back + random.normal(size=caller.size) * 10)
                found = onsets(agent, line)
                for span in spans:
                    heard = [at for at in found if at in span]
                    missed += not heard
                    delays += [(at - span.start + 1) * FRAME_MS for at in heard[:1]]
            p50, p95 = np.percentile(delays, (50, 95))
            total = missed + len(delays)
            name = f"{db} dB" if db else "none"
            lines.append(
                f"| {name} | {caller_db} dB | {missed} of {total} | {p50:.0f} / {p95:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    prompts = recordings(PROMPTS)[::3]
    print(
        false_onsets(prompts),
        barge_ins(prompts, recordings(ROOT / "trunkline/callers")),
        sep="\n\n",
    )
