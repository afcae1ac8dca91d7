"""Hear one stream with loss and jitter twice: by baresip and by an ingress. README.md explains.

    .venv/bin/python bench/side_by_side.py

The packets of a condition are chosen beforehand, by a seed: which are lost, and when each of the
others comes. Each is sent to both at the same moment. What each made of it is held against what was
said: PESQ (ITU-T P.862, narrow band) where the package `pesq` is installed, which needs a compiler
and so is no dependency; and the segmental signal-to-noise ratio. Baresip runs once for each of
`BUFFERS`, and the best of them under a condition counts; it records what it has made of what came,
behind its concealment if its package has one. That conceals the first packet of a gap, and the
recording lacks the time of the others, in which its sound card plays silence: see `_played`. Of the
ingress it is the frames that it writes to the bus, which is what is transcribed and recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import secrets
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import table
from numpy.typing import NDArray
from processes import ROOT
from redis.asyncio import Redis
from sip_capacity import ingress, redis_server

from bus import topics
from bus.audio import decode_frame
from calls.ids import CallId
from media import g711
from media.correlate import find
from media.frames import SAMPLE_RATE, Codec, Samples, to_pcm, to_samples
from media.wav import read_mono
from trunkline.phone.uac import Uac

sys.path.insert(0, str(ROOT))
from tests.support.baresip import MODULES, Baresip, available, silence

try:
    from pesq import pesq as _pesq
except ImportError:
    _pesq = None

BENCH: Final = Path(__file__).resolve().parent
CALLERS: Final = ROOT / "trunkline" / "callers"
VOICES: Final = ("awb", "rms", "slt")
_RTP: Final = struct.Struct("!BBHII")
_FRAME: Final = 160
_JITTER_MS: Final = 30.0
_LEAD_S: Final = 1.0
#: Where a frame is looked for: so many samples to either side. And what is found surely, dB.
_NEAR: Final = 800
_WELL_DB: Final = 15.0
#: Baresip's `jitter_buffer_delay`, in packets: its own choice, and those that 30 ms may need.
BUFFERS: Final = ("5-10", "2-10", "3-20")


class Condition(NamedTuple):
    """Share of packets lost; at random, or in bursts of two and a half on average."""

    loss: float
    bursts: bool = False

    def __str__(self) -> str:
        return f"{self.loss:.0%} {'bursts' if self.bursts else 'random'}"


CONDITIONS: Final = (
    Condition(0.0), Condition(0.02), Condition(0.05), Condition(0.02, bursts=True),
    Condition(0.05, bursts=True),
)  # fmt: skip


class Scores(NamedTuple):
    """Of one listener under one condition: a value a voice, PESQ's none without its package."""

    pesq: list[float]
    snr_db: list[float]

    @property
    def key(self) -> tuple[float, float]:
        """The better listener's is greater."""
        return fmean(self.pesq or [0.0]), fmean(self.snr_db)


class Comparison(NamedTuple):
    """How baresip heard the packets, with the best of its buffers, and how we did."""

    theirs: Scores
    ours: Scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="of each voice")
    parser.add_argument("--seeds", default="1,2", help="a call for each, under each condition")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if not available:
        sys.exit("bench: baresip is not installed (Debian: baresip-core)")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    found = {}
    for condition in CONDITIONS:
        calls = [compare(condition, seconds=options.seconds, seed=seed) for seed in seeds]
        found[condition] = Comparison(*map(_together, zip(*calls, strict=True)))
        print("|", " | ".join(_row(condition, found[condition])), "|", flush=True)
    text = markdown(found, options)
    print(text)
    if options.write:
        table.write(BENCH / "README.md", "side-by-side", text)


def compare(condition: Condition, *, seconds: float = 12.0, seed: int = 1) -> Comparison:
    """How baresip and how the ingress heard the same packets, of each voice so many seconds."""
    voices = [_voice(name, seconds) for name in VOICES]
    said = np.concatenate([piece for voice in voices for piece in (voice, silence(_LEAD_S))])
    with TemporaryDirectory() as folder:
        *theirs, ours = asyncio.run(_listen(Path(folder), said, condition, seed))
    scores = [_scored(voices, said, heard) for heard in theirs]
    return Comparison(max(scores, key=lambda each: each.key), _scored(voices, said, ours))


def _together(calls: Sequence[Scores]) -> Scores:
    return Scores(
        [score for call in calls for score in call.pesq],
        [ratio for call in calls for ratio in call.snr_db],
    )


def _voice(name: str, seconds: float) -> Samples:
    pieces: list[Samples] = []
    for path in sorted(CALLERS.glob(f"{name}-*.wav")):
        with path.open("rb") as file:
            pieces += [to_samples(read_mono(file)), silence(0.3)]
        if sum(map(len, pieces)) > seconds * SAMPLE_RATE:
            break
    whole = np.concatenate(pieces)[: int(seconds * SAMPLE_RATE)]
    return whole[: len(whole) // _FRAME * _FRAME]


class _Packet(NamedTuple):
    at: float
    data: bytes


def schedule(said: Samples, condition: Condition, seed: int) -> list[_Packet]:
    """The packets that arrive, by their time in s: each up to 30 ms late, some never."""
    chance = random.Random(seed)
    ulaw = g711.encode(to_pcm(said), Codec.PCMU)
    sent, lost = [], False
    for number in range(len(ulaw) // _FRAME):
        if condition.bursts:
            lost = chance.random() < (0.6 if lost else condition.loss * 0.4 / (1 - condition.loss))
        else:
            lost = chance.random() < condition.loss
        at = number * 0.02 + chance.random() * _JITTER_MS / 1000
        header = _RTP.pack(0x80, 0x80 if number == 0 else 0, number, number * _FRAME, 77)
        if not lost:
            sent.append(_Packet(at, header + ulaw[number * _FRAME : (number + 1) * _FRAME]))
    return sorted(sent)


async def _listen(data: Path, said: Samples, condition: Condition, seed: int) -> list[Samples]:
    """What each baresip heard, and at last what the ingress did."""
    packets = schedule(said, condition, seed)
    phones = [_phone(data, buffer, len(said)) for buffer in BUFFERS]
    with ExitStack() as stack:
        _, bus = stack.enter_context(redis_server(data, ""))
        _, where = stack.enter_context(ingress(data, bus, ""))
        for phone in phones:
            stack.enter_context(phone.running(int(len(said) / SAMPLE_RATE) + 30))
        servers = [*(("127.0.0.1", phone.port) for phone in phones), _address(where)]
        calls = [await _Call.to(server) for server in servers]
        redis = Redis.from_url(bus)
        [name] = await redis.zrange(topics.LIVE, 0, -1)
        await asyncio.sleep(0.2)
        await _send(packets, calls)
        await asyncio.sleep(0.5)
        entries: Any = await redis.xrange(topics.audio_in(CallId(name.decode())))
        frames = [decode_frame(entry_id, fields[b"f"]) for entry_id, fields in entries]
        await redis.aclose()
        for call in calls:
            await call.end()
        await asyncio.sleep(0.5)
    ours = b"".join(frame.payload for frame in frames)
    theirs = [_played(phone.heard, said, packets) for phone in phones]
    return [*theirs, to_samples(g711.decode(ours, Codec.PCMU))]


def _played(recording: Samples, said: Samples, packets: Sequence[_Packet]) -> Samples:
    """What baresip's listener hears: its recording, with silence for the time that this lacks.

    It makes a frame of each packet that came, and of the first of some that did not.
    """
    came = {_RTP.unpack_from(packet.data)[2] for packet in packets}
    at = find(said[: SAMPLE_RATE * 2], recording).lag
    played = [recording[:at]]
    for number in range(len(said) // _FRAME):
        if number in came or number - 1 in came:
            played.append(recording[at : at + _FRAME])
            at += _FRAME
        else:
            played.append(np.zeros(_FRAME, np.int16))
    return np.concatenate([*played, recording[at:]])


def _phone(data: Path, buffer: str, samples: int) -> Baresip:
    phone = Baresip(data / buffer, "phone", codecs="PCMU", answers=True, port=_free_port())
    phone.prepare(silence(samples / SAMPLE_RATE + 15))  # it hangs up when it has said all
    config = phone.folder / "config"
    text = re.sub(r"(?<=jitter_buffer_delay )\S+", buffer, config.read_text())
    if (MODULES / "plc.so").exists():
        # Modules see what comes in their order: what is recorded is to be concealed before.
        text = text.replace("module sndfile.so", "module plc.so\nmodule sndfile.so")
    config.write_text(text)
    return phone


async def _send(packets: Sequence[_Packet], calls: Sequence[_Call]) -> None:
    began = time.monotonic()
    for packet in packets:
        wait = began + packet.at - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        for call in calls:
            call.send(packet.data)


class _Call:
    def __init__(self, uac: Uac, rtp: socket.socket) -> None:
        self._uac = uac
        self._rtp = rtp
        self._to = ("", 0)

    @classmethod
    async def to(cls, server: tuple[str, int]) -> _Call:
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.bind(("127.0.0.1", 0))
        rtp.setblocking(False)
        call = cls(Uac(server, "phone", secrets.token_hex(4), lambda: None), rtp)
        await call._uac.open()
        call._to = await call._uac.invite(rtp.getsockname()[1])
        return call

    def send(self, data: bytes) -> None:
        self._rtp.sendto(data, self._to)

    async def end(self) -> None:
        await self._uac.bye()
        self._uac.close()
        self._rtp.close()


def _scored(voices: Sequence[Samples], said: Samples, heard: Samples) -> Scores:
    lag = find(said[: SAMPLE_RATE * 2], heard).lag
    qualities, ratios = [], []
    begin = 0
    for voice in voices:
        # What was lost or stretched before has moved this voice: it is looked for anew.
        near = max(0, lag + begin - SAMPLE_RATE)
        at = near + find(voice[: SAMPLE_RATE * 2], heard[near : near + SAMPLE_RATE * 4]).lag
        played = heard[at : at + len(voice)]
        played = np.pad(played, (0, len(voice) - len(played)))
        if _pesq is not None:
            qualities.append(float(_pesq(SAMPLE_RATE, voice, played, "nb")))
        ratios.append(segmental_snr_db(voice, played))
        begin += len(voice) + int(_LEAD_S * SAMPLE_RATE)
    return Scores(qualities, ratios)


def segmental_snr_db(said: Samples, heard: Samples, frame: int = 256) -> float:
    """Mean over the frames with speech of signal to noise, each from -10 to 35 dB.

    Each frame is taken where it fits best within 100 ms of where the last one that was heard well
    stood, and further the longer ago that was: jitter buffers stretch pauses, and a recording may
    lack what was lost.
    """
    reach = SAMPLE_RATE
    padded = np.pad(heard.astype(np.float64), reach)
    loud = np.sqrt(np.mean(said.astype(np.float64) ** 2)) * 0.3
    ratios, shift, near = [], 0, _NEAR
    for at in range(0, len(said) - frame, frame):
        signal = said[at : at + frame].astype(np.float64)
        if np.sqrt(np.mean(signal**2)) < loud:
            continue
        begin = max(0, at + reach + shift - near)
        errors = _errors(signal, padded[begin : begin + 2 * near + frame])
        best = int(errors.argmin())
        ratio = 10 * np.log10(np.sum(signal**2) / max(errors[best], 1e-9))
        ratios.append(float(np.clip(ratio, -10, 35)))
        near = min(near + frame, reach)
        if ratio > _WELL_DB:
            shift, near = begin + best - at - reach, _NEAR
    return fmean(ratios)


def _errors(signal: NDArray[np.float64], around: NDArray[np.float64]) -> NDArray[np.float64]:
    """The energy of what the signal differs by from each place of `around`."""
    running = np.concatenate(([0.0], np.cumsum(around**2)))
    energies = running[len(signal) :] - running[: -len(signal)]
    found: NDArray[np.float64] = (
        np.sum(signal**2) + energies - 2 * np.correlate(around, signal, "valid")
    )
    return found


def markdown(found: dict[Condition, Comparison], options: argparse.Namespace) -> str:
    """The table of README.md."""
    rows = [_row(condition, comparison) for condition, comparison in found.items()]
    head = ["loss, with 30 ms of jitter", "PESQ: baresip", "ours", "SNR, dB: baresip", "ours"]
    setting = (
        f"{time.strftime('%Y-%m-%d')}, `bench/side_by_side.py --seconds {options.seconds:g} "
        f"--seeds {options.seeds}`: {len(VOICES)} voices, a call for each seed; the mean and, in "
        "brackets, the worst of them."
    )
    return "\n\n".join([setting, table.markdown_table(head, rows)])


def _row(condition: Condition, heard: Comparison) -> list[str]:
    scores = [_cell(each.pesq, 2) for each in heard] + [_cell(each.snr_db, 1) for each in heard]
    return [str(condition), *scores]


def _cell(values: Sequence[float], digits: int) -> str:
    return f"{fmean(values):.{digits}f} ({min(values):.{digits}f})" if values else "-"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
