"""How lost speech sounds: our concealment against repeating the last frame, and against silence.

    .venv/bin/python bench/concealment.py

The recordings of trunkline/callers, some to a call, over a network of 30 ms jitter that
loses packets; what the receiver hears is compared with what was said. No system runs here, only
`ingress_sip.rtp.RtpReceiver`; its clock is ours. PESQ (ITU-T P.862, MOS-LQO) comes with the package
`pesq`, which is no dependency: without it that column is empty.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from ingress_sip.rtp.packet import RtpPacket, build
from ingress_sip.rtp.parameters import MediaParameters
from ingress_sip.rtp.receiver import RtpReceiver
from media.encoding import Encoding
from media.frames import (
    FRAME_BYTES,
    FRAME_MS,
    FRAME_SAMPLES,
    SAMPLE_RATE,
    SILENCE,
    to_samples,
)
from media.g711 import pcm_to_ulaw, ulaw_to_pcm
from media.listening.jitter import Ahead
from media.listening.listener import Heard
from media.listening.plc import Concealer
from media.wav import read_mono

try:
    from pesq import pesq as _pesq
except ImportError:
    _pesq = None

_CALLERS: Final = Path(__file__).parents[1] / "trunkline" / "callers"
_PEER: Final = ("192.0.2.1", 4000)
_QUIET_FRAMES: Final = 40
"""Silence before and after each recording; nothing is lost before it."""
_TOGETHER: Final = 4
"""Recordings in a call."""
_JITTER_MS: Final = 30.0
_PHASE_MS: Final = 9.0
_BURST: Final = 3.0
"""Packets that a burst loses, in the mean."""


class Concealing(Protocol):
    def receive(self, frame_pcm: bytes, *, spliced: bool = False) -> bytes: ...

    def conceal(self, ahead: Ahead | None = None) -> bytes: ...

    def reset(self) -> None: ...


class Repeating:
    """Plays the last frame again."""

    def __init__(self) -> None:
        self._last = SILENCE

    def receive(self, frame_pcm: bytes, *, spliced: bool = False) -> bytes:  # noqa: ARG002  (Concealing's)
        self._last = frame_pcm
        return frame_pcm

    def conceal(self, ahead: Ahead | None = None) -> bytes:  # noqa: ARG002  (Concealing's)
        return self._last

    def reset(self) -> None:
        self._last = SILENCE


class Muting(Repeating):
    """Plays nothing."""

    def conceal(self, ahead: Ahead | None = None) -> bytes:  # noqa: ARG002  (Concealing's)
        return SILENCE


METHODS: Final[dict[str, Callable[[], Concealing]]] = {
    "ours": Concealer,
    "repetition": Repeating,
    "silence": Muting,
}


def random_loss(share: float, rng: random.Random) -> Iterator[bool]:
    while True:
        yield rng.random() < share


def bursty_loss(share: float, rng: random.Random) -> Iterator[bool]:
    """Gilbert's two states: packets come, or are lost _BURST at a time."""
    lost = False
    while True:
        lost = rng.random() < (1 - 1 / _BURST if lost else share / (1 - share) / _BURST)
        yield lost


LOSSES: Final = {"random": random_loss, "bursts": bursty_loss}


class Result(NamedTuple):
    pesq: float | None
    snr_db: list[float]  # of each lost frame that held speech


def call(
    pcm: bytes,
    lost: list[bool],
    rng: random.Random,
    method: Concealing,
    encoding: Encoding = Encoding.PCMU,
) -> Result:
    """Play one call."""
    frames = [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]
    frames = [frame for frame in frames if len(frame) == FRAME_BYTES]
    arrivals = sorted(
        (number * FRAME_MS + rng.uniform(0, _JITTER_MS), number)
        for number in range(len(frames))
        if not lost[number]
    )
    encoder = encoding.encoder(FRAME_MS)
    payloads = [encoder.encode(frame) for frame in frames]
    agreed = MediaParameters(
        remote=_PEER, encoding=encoding, payload_type=96, receives={96: encoding}
    )
    receiver: Any = RtpReceiver(agreed)
    receiver._concealer = method
    coming = iter(arrivals)
    arrival_ms, number = next(coming)
    heard = []
    for tick in range(len(frames) + 10):
        now_ms = tick * FRAME_MS + _PHASE_MS
        while arrival_ms <= now_ms:
            timestamp = number * FRAME_SAMPLES * encoding.clock_rate // SAMPLE_RATE
            packet = RtpPacket(96, number, timestamp, 1, payloads[number])
            receiver.receive(build(packet), _PEER, arrival_ms)
            arrival_ms, number = next(coming, (float("inf"), 0))
        heard.append(receiver.tick(now_ms))
    played = b"".join(frame.pcm for frame in heard)
    score = None
    if _pesq is not None:
        said = to_samples(b"".join(frames))
        score = float(_pesq(8000, said, to_samples(played), "nb"))
    return Result(score, list(_ratios(frames, lost, [(f.pcm, f.kind) for f in heard])))


def _ratios(
    frames: list[bytes], lost: list[bool], heard: list[tuple[bytes, Heard]]
) -> Iterator[float]:
    """The signal to error ratio of the lost frames, each within -10 to 35 dB as is the custom."""
    sent = [ulaw_to_pcm(pcm_to_ulaw(frame)) for frame in frames]
    number = -1
    for pcm, kind in heard:
        if kind is Heard.SILENCE:
            continue
        number += 1
        if kind is Heard.RECEIVED:
            # Where the buffer has inserted or dropped a slot, or a late packet was played.
            near = range(max(number - 5, 0), min(number + 6, len(sent)))
            tails = [(sent[at][-80:] != pcm[-80:], abs(at - number), at) for at in near]
            if tails and not min(tails)[0]:
                number = min(tails)[2]
        elif number < len(sent) and lost[number]:
            signal = to_samples(frames[number]).astype(float)
            error = signal - to_samples(pcm)
            if np.mean(signal**2) > 200**2:
                ratio = 10 * np.log10((signal @ signal + 1) / (error @ error + 1))
                yield float(np.clip(ratio, -10, 35))


def recordings() -> list[bytes]:
    """Calls of some ten seconds: what each voice says, with pauses between."""
    quiet = SILENCE * _QUIET_FRAMES
    calls = []
    for voice in ("awb", "rms", "slt"):
        said = []
        for path in sorted(_CALLERS.glob(f"{voice}-*.wav")):
            with path.open("rb") as file:
                said.append(read_mono(file))
        calls += [
            quiet + quiet.join(said[at : at + _TOGETHER]) + quiet
            for at in range(0, len(said), _TOGETHER)
        ]
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="take every n-th call")
    parser.add_argument("--losses", default="2,5,10", help="per cent, comma separated")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--codec", default="PCMU", help="PCMU, PCMA, G722, opus: for its PESQ only")
    chosen = parser.parse_args()
    encoding = Encoding(chosen.codec)
    said = recordings()[:: chosen.every]
    print("| loss | " + " | ".join(f"{name}: PESQ, SNR dB" for name in METHODS) + " |")
    print("| --- |" + " --- |" * len(METHODS))
    for share in [float(each) / 100 for each in chosen.losses.split(",")]:
        for kind, losing in LOSSES.items():
            cells = []
            for make in METHODS.values():
                results = []
                for seed in range(len(said) * chosen.repeats):
                    pcm, rng = said[seed % len(said)], random.Random(seed)
                    fates = losing(share, rng)
                    count = len(pcm) // FRAME_BYTES
                    lost = [next(fates) and at >= _QUIET_FRAMES for at in range(count)]
                    results.append(call(pcm, lost, rng, make(), encoding))
                scores = [each.pesq for each in results if each.pesq is not None]
                snr_db = [ratio for each in results for ratio in each.snr_db]
                score = f"{fmean(scores):.2f}" if scores else "-"
                cells.append(f"{score}, {fmean(snr_db):.1f}")
            print(f"| {share:.0%} {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
