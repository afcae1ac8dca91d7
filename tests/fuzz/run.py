"""Fuzz the readers of what peers send: `python -m tests.fuzz.run --inputs 1000000`.

Inputs are mutations of real messages, drawn from `--seed`: the same seed draws the same inputs. A
find is written to `tests/fuzz/finds/TARGET-HASH.dat`, where `test_finds.py` replays it for ever.
Exit status 1 when there was one.
"""

# ruff: noqa: T201 - a command says what it does

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from random import Random

from tests.fuzz.corpus import FINDS, seeds
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, credentials

# Of a hundred inputs; a conversation counts as one, and costs as much as fifty.
SHARES = {
    "sip": 30, "stream": 10, "core": 24, "sdp": 14, "rtp": 10, "field": 6, "digest": 5,
    "conversation": 1,
}  # fmt: skip
ROUND = 1000  # inputs between two looks at the clock


def fuzz(seed: int, inputs: int) -> tuple[Counter[str], dict[str, tuple[str, bytes, str]]]:
    """Feed `inputs` inputs. Returns their number by target, and finds by where they were raised."""
    random = Random(seed)
    found: dict[str, tuple[str, bytes, str]] = {}
    counts = Counter[str]()
    pools = {name: list(pool) for name, pool in _pools().items()}
    names, weights = list(SHARES), list(SHARES.values())
    for _ in range(inputs):
        name = random.choices(names, weights)[0]
        pool = pools[name]
        data = mutated(random, random.choice(pool), pool)
        counts[name] += 1
        try:
            TARGETS[name](data)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{name} {type(error).__name__} {place.name}:{place.lineno}"
            if key not in found or len(data) < len(found[key][1]):
                found[key] = (name, data, "".join(traceback.format_exception(error, limit=-4)))
    return counts, found


def _pools() -> dict[str, tuple[bytes, ...]]:
    all_seeds = seeds()
    fields = {
        line.partition(b":")[2].strip() for data in all_seeds.sip for line in data.split(b"\r\n")
    }
    return {
        "sip": all_seeds.sip, "core": all_seeds.sip, "conversation": all_seeds.sip,
        "stream": (*streams(all_seeds.sip), b"\r\n\r\n"), "digest": tuple(credentials()),
        "field": tuple(sorted(fields)), "sdp": all_seeds.sdp, "rtp": all_seeds.rtp,
    }  # fmt: skip


def streams(messages: tuple[bytes, ...]) -> list[bytes]:
    """Three messages after each other, that say their lengths."""
    framed = [data for data in messages if b"\nContent-Length:" in data]
    return [b"".join(framed[at : at + 3]) for at in range(0, len(framed), 3)]


def keep(name: str, data: bytes) -> str:
    """Write a find into the corpus; returns its file's name."""
    file = FINDS / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.dat"
    file.write_bytes(data)
    return file.name


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    rounds, began = -(-options.inputs // ROUND), time.monotonic()
    total, finds = Counter[str](), dict[str, tuple[str, bytes, str]]()
    with ProcessPoolExecutor(options.jobs) as pool:
        sizes = [min(ROUND, options.inputs - done * ROUND) for done in range(rounds)]
        names = [options.seed * 1_000_003 + done for done in range(rounds)]
        for done, (counts, found) in enumerate(pool.map(fuzz, names, sizes), 1):
            total.update(counts)
            finds |= {key: find for key, find in found.items() if key not in finds}
            if done % 25 == 0 or done == rounds:
                speed = total.total() / (time.monotonic() - began)
                print(f"{total.total():>9} inputs, {speed:.0f}/s, {len(finds)} finds", flush=True)
    print(", ".join(f"{name} {number}" for name, number in total.most_common()))
    for key, (name, data, trace) in finds.items():
        print(f"\n{key}: {keep(name, data)}\n{trace}")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
