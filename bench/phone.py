"""N phones that call at once over SIP and RTP, speak, and time the answers from outside.

Prints JSON lines: {"event": "open"} and {"event": "closed"} around the measured window, and
{"event": "result", ...} at the end. What a phone does and measures: caller.py.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import uvloop
from caller import Caller, Turn, Window, clock
from reply import LATE_MS
from speech import load


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    recordings = [load(file) for file in options.wav]
    host, _, port = options.server.rpartition(":")
    window = Window()
    callers, calls = [], []
    for number in range(options.calls):
        caller = Caller(
            number, f"{options.name}-{number}", recordings, window, options.barge_after
        )  # fmt: skip
        callers.append(caller)
        calls.append(asyncio.create_task(caller.call((host, int(port)), options.called)))
        await asyncio.sleep(options.stagger)
    await asyncio.sleep(options.settle)
    # The collector's pauses would be counted as the far end's.
    gc.collect()
    gc.freeze()
    gc.disable()
    window.begin = clock()
    say("open")
    await asyncio.sleep(options.duration)
    window.end = clock()
    say("closed")
    await asyncio.gather(*calls)
    return result(callers, window)


def result(callers: list[Caller], window: Window) -> dict[str, Any]:
    lags = sorted(lag for caller in callers for lag in caller.lags_ms)
    return {
        "window_s": window.end - window.begin,
        "send_lag_p99_ms": lags[int(0.99 * len(lags))] if lags else None,
        "late_limit_ms": LATE_MS,
        "calls": [
            {
                "name": caller.name,
                "errors": caller.errors,
                "turns": [_turn(turn) for turn in caller.turns],
            }
            for caller in callers
        ],
    }


def _turn(turn: Turn) -> dict[str, Any]:
    found = {
        "recording": turn.recording,
        "ended_wall_ms": turn.ended_wall_ms,
        "voice_to_voice_ms": (turn.reply.first_at - turn.ended) * 1000,
        "tone_ms": turn.reply.tone_ms,
        "hz": turn.reply.hz,
        "longest_silence_ms": turn.reply.silence_ms,
        "longest_wait_ms": turn.reply.longest_wait_s * 1000,
        "breaks": turn.reply.breaks,
        "gap": turn.reply.has_gap,
    }
    if turn.barge is not None:
        found["react_ms"] = (turn.barge.tone_at - turn.barge.began) * 1000
    return found


def say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("server", help="HOST:PORT of the SIP server (UDP)")
    add("--called", default="off", help="the number, which picks the agent")
    add("--wav", type=Path, nargs="+", required=True, help="said in turn")
    add("--calls", type=int, default=1)
    add("--duration", type=float, default=40, help="of the window, s")
    add("--settle", type=float, default=6, help="before the window: a turn, s")
    add("--stagger", type=float, default=0.23, help="between two calls, s")
    add("--name", default="caller", help="calls are from NAME-0, NAME-1, ...")
    add("--barge-after", type=float, help="speak over each reply after so much of it, s")
    options = parser.parse_args()
    say("result", **uvloop.run(measure(options)))


if __name__ == "__main__":
    main()
