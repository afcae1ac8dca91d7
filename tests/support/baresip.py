"""baresip, driven from a folder of its own: it calls and is called, plays a WAV, and records what
it hears. `control` speaks with its ctrl_tcp: hold, keys, transfers."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from media.frames import Samples, to_pcm, to_samples
from media.wav import read_mono, write_mono
from tests.support.certificates import Authority
from tests.support.stack import free_port

_CONFIG = """\
poll_method epoll
sip_listen {host}:{port}
sip_trans_def {transport}
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
module g722.so
module opus.so
module aufile.so
module sndfile.so
module srtp.so
module dtls_srtp.so
module_tmp account.so
module_app menu.so
module_app debug_cmd.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {folder}/rec
"""
MODULES: Final = Path("/usr/lib/baresip/modules")
_START_S: Final = 10.0

available = shutil.which("baresip") is not None and MODULES.is_dir()

Transport = Literal["udp", "tcp", "tls"]


@dataclass(frozen=True)
class Baresip:
    """One phone. `name` is its user, and so the caller's name in the call.

    `registrar` (host:port) is where it registers with `password`; `answers` makes it take any call
    at once. It listens on `host` and `port` (0: any). For TLS it needs an authority.
    """

    folder: Path
    name: str
    codecs: str = "PCMU,PCMA"
    transport: Transport = "udp"
    #: How its audio is encrypted: baresip's `mediaenc`, e.g. srtp-mand or dtls_srtp.
    encryption: str = ""
    authority: Authority | None = None
    host: str = "127.0.0.1"
    port: int = 0
    answers: bool = False
    registrar: str = ""
    password: str = ""

    def prepare(self, say: Samples) -> None:
        """Write its configuration, and what it will say."""
        (self.folder / "rec").mkdir(parents=True)
        port = self.port or free_port(socket.SOCK_DGRAM)
        rtp = free_port(socket.SOCK_DGRAM) // 2 * 2
        config = _CONFIG.format(
            host=self.host, port=port, transport=self.transport, rtp=rtp, rtp_last=rtp + 20,
            folder=self.folder, modules=MODULES, control=free_port(socket.SOCK_STREAM),
        )  # fmt: skip
        if self.authority is not None:
            both = self.authority.issue(self.name, self.host).both
            config += f"sip_certificate {both}\nsip_cafile {self.authority.file}\n"
        (self.folder / "config").write_text(config)
        (self.folder / "contacts").touch()
        (self.folder / "accounts").write_text(self._account(port) + "\n")
        with (self.folder / "say.wav").open("wb") as file:
            write_mono(file, to_pcm(say))

    def _account(self, port: int) -> str:
        where = self.registrar or f"{self.host}:{port}"
        account = f"<sip:{self.name}@{where};transport={self.transport}>"
        account += f";regint={60 if self.registrar else 0};audio_codecs={self.codecs};ptime=20"
        if self.password:
            account += f";auth_user={self.name};auth_pass={self.password}"
        if self.encryption:
            account += f";mediaenc={self.encryption}"
        return account + (";answermode=auto" if self.answers else "")

    def dial(self, uri: str, seconds: int) -> subprocess.Popen[bytes]:
        """Dial, and hang up after `seconds` at the latest."""
        return self._start(seconds, "-e", f"/dial {uri}")

    @contextmanager
    def running(self, seconds: int = 60) -> Iterator[Control]:
        """It waits for calls, or for orders, for so long at most."""
        process = self._start(seconds)
        try:
            with self._control(process) as control:
                yield control
        finally:
            self.wait(process, 0)

    def wait(self, phone: subprocess.Popen[bytes], seconds: float) -> None:
        """Wait for the end of the call; a phone that does not stop by itself is told to."""
        try:
            phone.wait(seconds)
        except subprocess.TimeoutExpired:
            phone.send_signal(signal.SIGINT)
            phone.wait(10)

    @property
    def heard(self) -> Samples:
        """What it heard, 8000 Hz, in the only call it had."""
        (recording,) = (self.folder / "rec").glob("dump-*-dec.wav")
        with recording.open("rb") as file:
            return to_samples(read_mono(file))

    @property
    def log(self) -> str:
        """What it said of itself."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def _start(self, seconds: int, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                ["baresip", "-4", "-v", "-s", "-f", str(self.folder), *arguments,
                 "-t", str(seconds)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @contextmanager
    def _control(self, process: subprocess.Popen[bytes]) -> Iterator[Control]:
        config = (self.folder / "config").read_text()
        port = int(config.partition("ctrl_tcp_listen 127.0.0.1:")[2].split()[0])
        deadline = time.monotonic() + _START_S
        while True:
            try:
                wire = socket.create_connection(("127.0.0.1", port), 1)
            except OSError:
                alive = process.poll() is None and time.monotonic() < deadline
                assert alive, self.log[-2000:]
                time.sleep(0.05)
            else:
                break
        with wire:
            yield Control(wire)


class Control:
    """What a hand on the phone does, and what its display shows (baresip's ctrl_tcp)."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._unread = b""
        #: Everything that happened, oldest first: `type` is CALL_ESTABLISHED, REGISTER_OK, ...
        self.events: list[dict[str, Any]] = []
        self._seen = 0

    def order(self, command: str, parameters: str = "") -> str:
        """Have it do something: dial, hold, resume, sndcode, transfer, hangup. What it says."""
        body = json.dumps({"command": command, "params": parameters}).encode()
        self._wire.sendall(b"%d:%b," % (len(body), body))
        while True:
            message = self._next(5.0)
            if message.get("response"):
                assert message["ok"], message
                return str(message.get("data", ""))
            self.events.append(message)

    def until(self, kind: str, within_s: float = 15.0) -> dict[str, Any]:
        """Wait for an event that was not waited for yet. Those before it are passed over."""
        deadline = time.monotonic() + within_s
        while True:
            while self._seen < len(self.events):
                event = self.events[self._seen]
                self._seen += 1
                if event["type"] == kind:
                    return event
            left = deadline - time.monotonic()
            seen = [event["type"] for event in self.events]
            assert left > 0, f"{kind} did not happen in {within_s} s, but {seen}"
            with suppress(TimeoutError):
                self.events.append(self._next(left))

    def _next(self, within_s: float) -> dict[str, Any]:
        """One message: a netstring of JSON."""
        self._wire.settimeout(within_s)
        while True:
            length, colon, rest = self._unread.partition(b":")
            if colon and len(rest) > int(length):
                self._unread = rest[int(length) + 1 :]
                return dict(json.loads(rest[: int(length)]))
            data = self._wire.recv(65536)
            assert data, "baresip is gone"
            self._unread += data


def spoken(wavs: list[Path], *, before_s: float, between_s: float, after_s: float) -> Samples:
    """Turns one after the other, with time for the agent to answer between them."""
    pieces: list[Samples] = [silence(before_s)]
    for wav in wavs:
        with wav.open("rb") as file:
            pieces += [to_samples(read_mono(file)), silence(between_s)]
    return np.concatenate([*pieces, silence(after_s)])


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * 8000), dtype=np.int16)
