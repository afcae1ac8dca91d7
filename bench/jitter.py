"""How long the jitter buffer holds audio, and what comes too late for it, by the network's jitter.

    .venv/bin/python bench/jitter.py

A minute of 20 ms packets, every other 0.8 s of it quiet, once for each phase between packets and
ticks. No system runs here, only `ingress_sip.rtp.JitterBuffer`; its clock is ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import fmean
from typing import Final, NamedTuple

from ingress_sip.rtp.packet import RtpPacket
from media.frames import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, SAMPLE_BYTES
from media.listening.jitter import Frame, JitterBuffer

_PACKETS: Final = 60_000 // FRAME_MS
_LEARNT: Final = 250  # packets after which holding is measured
_QUIET_EVERY: Final = 40  # packets

#: How long a packet takes beyond the fastest, ms.
NETWORKS: Final[dict[str, Callable[[random.Random], float]]] = {
    "none": lambda _: 0.0,
    "uniform, 0 to 5 ms": lambda rng: rng.uniform(0, 5),
    "uniform, 0 to 20 ms": lambda rng: rng.uniform(0, 20),
    "uniform, 0 to 40 ms": lambda rng: rng.uniform(0, 40),
    "exponential, mean 7 ms": lambda rng: min(rng.expovariate(1 / 7), 100),
    "exponential, mean 13 ms": lambda rng: min(rng.expovariate(1 / 13), 200),
    "3 ms, and 40 more for 2 %": lambda rng: (
        rng.uniform(0, 3) + (rng.uniform(0, 40) if rng.random() < 0.02 else 0)
    ),
}


class _Plain:
    """A codec whose payloads are the PCM itself."""

    def samples(self, payload: bytes) -> int:
        return len(payload) // SAMPLE_BYTES

    def decode(self, payload: bytes) -> bytes:
        return payload


_PLAIN: Final = _Plain()


class Minute(NamedTuple):
    held_ms: float
    late: float
    shrunk: int


def minute(delay_ms: Callable[[random.Random], float], phase_ms: float) -> Minute:
    """Play one call."""
    rng = random.Random(int(phase_ms))
    arrivals = sorted((n * FRAME_MS + delay_ms(rng), n) for n in range(_PACKETS))
    buffer = JitterBuffer(quiet=lambda pcm: _number(pcm) // _QUIET_EVERY % 2 == 1)
    held, coming = [], iter(arrivals)
    arrival_ms, number = next(coming)
    for tick in range(_PACKETS):
        now_ms = tick * FRAME_MS + phase_ms
        while arrival_ms <= now_ms:
            payload = number.to_bytes(4, "big") * (FRAME_BYTES // 4)
            packet = RtpPacket(0, number, number * FRAME_SAMPLES, 1, payload)
            buffer.push(packet, arrival_ms, _PLAIN)
            arrival_ms, number = next(coming, (float("inf"), 0))
        slot = buffer.pop(now_ms)
        if isinstance(slot, Frame) and _number(slot.pcm) > _LEARNT:
            held.append(now_ms - _number(slot.pcm) * FRAME_MS)
    return Minute(fmean(held), buffer.counters.late / _PACKETS, buffer.counters.shrunk)


def _number(payload: bytes) -> int:
    return int.from_bytes(payload[:4], "big")


if __name__ == "__main__":
    print("| jitter | held, mean, ms | by phase | late packets | slots dropped a minute |")
    print("| --- | --- | --- | --- | --- |")
    for name, delay_ms in NETWORKS.items():
        calls = [minute(delay_ms, phase + 0.5) for phase in range(FRAME_MS)]
        held = [call.held_ms for call in calls]
        print(
            f"| {name} | {fmean(held):.1f} | {min(held):.0f} to {max(held):.0f} "
            f"| {fmean(call.late for call in calls):.2%} | {fmean(c.shrunk for c in calls):.1f} |"
        )
