"""baresip, driven from a folder of its own: it dials, plays a WAV, and records what it hears."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from media.frames import Samples, to_pcm, to_samples
from media.wav import read_mono, write_mono
from tests.support.stack import free_port

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
sip_trans_def udp
audio_player aufile,nul
audio_source aufile,{folder}/say.wav
audio_alert aufile,/dev/null
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
audio_txmode thread
audio_buffer 20-160
rtp_ports {rtp}-{rtp_last}
jitter_buffer_delay 2-10
module_path {modules}
module g711.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app debug_cmd.so
snd_path {folder}/rec
"""
_MODULES = Path("/usr/lib/baresip/modules")

available = shutil.which("baresip") is not None and _MODULES.is_dir()


@dataclass(frozen=True)
class Baresip:
    """One phone. `name` is its user, and so the caller's name in the call."""

    folder: Path
    name: str
    codecs: str = "PCMU,PCMA"

    def prepare(self, say: Samples) -> None:
        """Write its configuration, and what it will say."""
        (self.folder / "rec").mkdir(parents=True)
        port, rtp = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM) // 2 * 2
        config = _CONFIG.format(
            port=port, rtp=rtp, rtp_last=rtp + 20, folder=self.folder, modules=_MODULES
        )
        (self.folder / "config").write_text(config)
        (self.folder / "contacts").touch()
        account = f"<sip:{self.name}@127.0.0.1:{port}>;regint=0;audio_codecs={self.codecs};ptime=20"
        (self.folder / "accounts").write_text(account + "\n")
        with (self.folder / "say.wav").open("wb") as file:
            write_mono(file, to_pcm(say))

    def dial(self, uri: str, seconds: int) -> subprocess.Popen[bytes]:
        """Dial, and hang up after `seconds` at the latest."""
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                ["baresip", "-4", "-v", "-s", "-f", str(self.folder), "-e", f"/dial {uri}",
                 "-t", str(seconds)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def wait(self, phone: subprocess.Popen[bytes], seconds: float) -> None:
        """Wait for the end of the call; a phone that does not stop by itself is told to."""
        try:
            phone.wait(seconds)
        except subprocess.TimeoutExpired:
            phone.send_signal(signal.SIGINT)
            phone.wait(10)

    @property
    def heard(self) -> Samples:
        """What it heard, 8000 Hz."""
        (recording,) = (self.folder / "rec").glob("dump-*-dec.wav")
        with recording.open("rb") as file:
            return to_samples(read_mono(file))


def spoken(wavs: list[Path], *, before_s: float, between_s: float, after_s: float) -> Samples:
    """Turns one after the other, with time for the agent to answer between them."""
    pieces: list[Samples] = [_silence(before_s)]
    for wav in wavs:
        with wav.open("rb") as file:
            pieces += [to_samples(read_mono(file)), _silence(between_s)]
    return np.concatenate([*pieces, _silence(after_s)])


def _silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * 8000), dtype=np.int16)
