"""What the media of a call costs an ingress, without sockets and bus: CPU a call, by its codec.

    .venv/bin/python bench/rtp.py [--profile]

A hundred `RtpSession`s, each with a packet in, a frame heard and a frame said every 20 ms of a
clock of ours. Real speech both ways, 5 ms of jitter. The share is of one core, at 50 ticks a
second.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import time
from pathlib import Path
from typing import Final

from ingress_sip.rtp.packet import RtpPacket, build
from ingress_sip.rtp.parameters import MediaParameters
from ingress_sip.rtp.session import Identity, RtpSession
from media.encoding import Encoding
from media.frames import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE
from media.g711 import pcm_to_ulaw
from media.wav import read_mono

_CALLS: Final = 100
_TICKS: Final = 500
_PEER: Final = ("192.0.2.1", 4000)
_SPEECH: Final = Path(__file__).parents[1] / "tests" / "golden" / "audio" / "speech.wav"


def call(encoding: Encoding, number: int, *, tone_detection: bool) -> RtpSession:
    parameters = MediaParameters(
        remote=_PEER, encoding=encoding, payload_type=96, receives={96: encoding}
    )
    return RtpSession(
        parameters,
        Identity(ssrc=number, sequence=0, timestamp=0, cname="bench"),
        ours="192.0.2.2",
        signalling=_PEER[0],
        now_ms=0.0,
        epoch_ms=0.0,
        chance=random.Random(number).random,
        tone_detection=tone_detection,
    )


def run(encoding: Encoding, *, lost: float = 0.0, tone_detection: bool = False) -> float:
    """CPU time of one call's tick, in us."""
    with _SPEECH.open("rb") as file:
        pcm = read_mono(file)
    frames = [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm) - FRAME_BYTES, FRAME_BYTES)]
    encoder = encoding.encoder(FRAME_MS)
    payloads = [encoder.encode(frame) for frame in frames]
    ulaw = [pcm_to_ulaw(frame) for frame in frames]
    step = FRAME_SAMPLES * encoding.clock_rate // SAMPLE_RATE
    calls = [call(encoding, n, tone_detection=tone_detection) for n in range(_CALLS)]
    rng = random.Random(1)
    spent = 0.0
    for tick in range(_TICKS):
        place = tick % len(frames)
        datagram = build(RtpPacket(96, tick, tick * step, 7, payloads[place]))
        fates = [rng.random() >= lost for _ in calls]
        jitter = [rng.uniform(0, 5) for _ in calls]
        begun = time.process_time()
        for session, comes, late_ms in zip(calls, fates, jitter, strict=True):
            if comes:
                session.rtp_received(datagram, _PEER, tick * FRAME_MS + late_ms)
            session.tick(tick * FRAME_MS + 9.0)
            session.say(ulaw[place], tick * FRAME_MS + 9.0)
            session.outgoing.clear()
        spent += time.process_time() - begun
    return spent / _TICKS / _CALLS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--profile", action="store_true", help="where the time of PCMU goes")
    if parser.parse_args().profile:
        with cProfile.Profile() as profile:
            run(Encoding.PCMU)
        pstats.Stats(profile).sort_stats("tottime").print_stats(18)
        return
    print("| call | us a tick | of a core |")
    print("| --- | --- | --- |")
    rows = {encoding.value: run(encoding) for encoding in Encoding}
    rows["PCMU, 5 % lost"] = run(Encoding.PCMU, lost=0.05)
    rows["PCMU, listening for tones"] = run(Encoding.PCMU, tone_detection=True)
    for name, spent_us in rows.items():
        print(f"| {name} | {spent_us:.0f} | {spent_us / (FRAME_MS * 10):.2f} % |")


if __name__ == "__main__":
    main()
