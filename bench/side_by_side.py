"""Hear one stream with loss and jitter twice: by baresip and by an ingress. README.md explains.

    .venv/bin/python bench/side_by_side.py

The packets of a condition are chosen beforehand, by a seed: which are lost, and when each of the
others comes. Each is sent to both at the same moment. What each made of it is held against what was
said: PESQ (ITU-T P.862, narrow band) where the package `pesq` is installed, which needs a compiler
and so is no dependency; and the segmental signal-to-noise ratio. Baresip records what it plays
(its jitter buffer of 2 to 10 packets, its `plc` module loaded if it has one); of the ingress it is
the frames that it writes to the bus, which is what is transcribed and recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np
import table
from processes import ROOT
from redis.asyncio import Redis
from sip_capacity import ingress, redis_server

from bus import topics
from bus.audio import decode_frame
from calls.ids import CallId
from media import g711
from media.correlate import find
from media.frames import Codec, Samples, to_pcm, to_samples
from media.wav import read_mono
from trunkline.phone.uac import Uac

sys.path.insert(0, str(ROOT))
from tests.support.baresip import Baresip, available, silence

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
    """Of one listener under one condition, a mean over the voices: PESQ is NaN without it."""

    pesq: float
    snr_db: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12, help="of each voice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if not available:
        sys.exit("bench: baresip is not installed (Debian: baresip-core)")
    found = {
        condition: compare(condition, seconds=options.seconds, seed=options.seed)
        for condition in CONDITIONS
    }
    text = markdown(found, options)
    print(text)
    if options.write:
        table.write(BENCH / "README.md", "side-by-side", text)


def compare(condition: Condition, *, seconds: float = 12.0, seed: int = 1) -> tuple[Scores, Scores]:
    """How baresip and how the ingress heard the same packets."""
    voices = [_voice(name, seconds) for name in VOICES]
    said = np.concatenate([piece for voice in voices for piece in (voice, silence(_LEAD_S))])
    with TemporaryDirectory() as folder:
        heard = asyncio.run(_listen(Path(folder), said, condition, seed))
    return _scored(voices, said, heard[0]), _scored(voices, said, heard[1])


def _voice(name: str, seconds: float) -> Samples:
    pieces: list[Samples] = []
    for path in sorted(CALLERS.glob(f"{name}-*.wav")):
        with path.open("rb") as file:
            pieces += [to_samples(read_mono(file)), silence(0.3)]
        if sum(map(len, pieces)) > seconds * 8000:
            break
    whole = np.concatenate(pieces)[: int(seconds * 8000)]
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


async def _listen(
    data: Path, said: Samples, condition: Condition, seed: int
) -> tuple[Samples, Samples]:
    packets = schedule(said, condition, seed)
    phone = Baresip(data / "baresip", "phone", codecs="PCMU", answers=True, port=_free_port())
    phone.prepare(silence(len(said) / 8000 + 15))  # it hangs up when it has said all
    _add_concealment(phone.folder / "config")
    with (
        redis_server(data, "") as (_, bus),
        ingress(data, bus, "") as (_, where),
        phone.running(int(len(said) / 8000) + 30),
    ):
        calls = [await _Call.to(("127.0.0.1", phone.port)), await _Call.to(_address(where))]
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
    return phone.heard, to_samples(g711.decode(ours, Codec.PCMU))


def _add_concealment(config: Path) -> None:
    """Have baresip conceal what is lost, where it has a module for that."""
    modules = Path("/usr/lib/baresip/modules")
    if (modules / "plc.so").exists():
        config.write_text(config.read_text() + "module plc.so\n")


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
    lag = find(said[: 8000 * 2], heard).lag
    qualities, ratios = [], []
    begin = 0
    for voice in voices:
        at = max(0, lag + begin)
        played = heard[at : at + len(voice)]
        played = np.pad(played, (0, len(voice) - len(played)))
        if _pesq is not None:
            qualities.append(float(_pesq(8000, voice, played, "nb")))
        ratios.append(segmental_snr_db(voice, played))
        begin += len(voice) + int(_LEAD_S * 8000)
    return Scores(fmean(qualities) if qualities else float("nan"), fmean(ratios))


def segmental_snr_db(said: Samples, heard: Samples, frame: int = 256) -> float:
    """Mean over the frames with speech of signal to noise, each from -10 to 35 dB.

    Each frame is taken where it fits best within 25 ms of where the one before it did: jitter
    buffers stretch pauses, and a recording may lack what was lost.
    """
    reach = 8000
    padded = np.pad(heard.astype(np.float64), reach)
    loud = np.sqrt(np.mean(said.astype(np.float64) ** 2)) * 0.3
    ratios, shift = [], 0
    for at in range(0, len(said) - frame, frame):
        signal = said[at : at + frame].astype(np.float64)
        if np.sqrt(np.mean(signal**2)) < loud:
            continue
        shifts = range(max(-reach, shift - 200), min(reach, shift + 200) + 1)
        errors = {
            s: float(np.sum((signal - padded[at + reach + s : at + reach + s + frame]) ** 2))
            for s in shifts
        }
        shift = min(errors, key=lambda s: errors[s])
        ratio = 10 * np.log10(np.sum(signal**2) / max(errors[shift], 1e-9))
        ratios.append(float(np.clip(ratio, -10, 35)))
    return fmean(ratios)


def markdown(found: dict[Condition, tuple[Scores, Scores]], options: argparse.Namespace) -> str:
    """The table of README.md."""
    rows = [
        [
            str(condition),
            f"{theirs.pesq:.2f}", f"{ours.pesq:.2f}",
            f"{theirs.snr_db:.1f}", f"{ours.snr_db:.1f}",
        ]
        for condition, (theirs, ours) in found.items()
    ]  # fmt: skip
    head = ["loss, with 30 ms of jitter", "PESQ: baresip", "ours", "SNR, dB: baresip", "ours"]
    setting = (
        f"{time.strftime('%Y-%m-%d')}, `bench/side_by_side.py --seed {options.seed}`, "
        f"{len(VOICES)} voices of {options.seconds:g} s each."
    )
    return "\n\n".join([setting, table.markdown_table(head, rows)])


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
