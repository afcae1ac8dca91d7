"""linphonec, driven by its prompt: it plays a WAV, and records what it hears."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from media.frames import Samples, to_pcm, to_samples
from media.wav import read_mono, write_mono
from tests.support.exchange import free_both

# Where it has no folder for its databases, it starts without sockets and says nothing of it.
_DATABASES: Final = (".local/share/linphone", "linphone")
_CONFIG: Final = """\
[sip]
sip_port={port}
sip_tcp_port={port}
sip_tls_port=0
use_ipv6=0
ipv6_migration_done=1
guess_hostname=0
contact=sip:{name}@127.0.0.1
"""
_PATIENCE_S: Final = 15.0

available: Final = shutil.which("linphonec") is not None


@dataclass(frozen=True)
class Linphone:
    """One phone. `name` is its user."""

    folder: Path
    name: str

    def prepare(self, say: Samples) -> None:
        for folder in _DATABASES:
            (self.folder / folder).mkdir(parents=True)
        (self.folder / "rc").write_text(_CONFIG.format(port=free_both(), name=self.name))
        with (self.folder / "say.wav").open("wb") as file:
            write_mono(file, to_pcm(say))

    @contextmanager
    def talking(self, uri: str) -> Iterator[None]:
        """In a call; it hangs up at the end, unless the other side did."""
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": f"{self.folder}/.local/share"}
        with (
            (self.folder / "log").open("wb") as log,
            subprocess.Popen(
                ["linphonec", "-c", "rc"], cwd=self.folder, env={"PATH": "/usr/bin:/bin", **home},
                stdin=subprocess.PIPE, stdout=log, stderr=log,
            ) as process,
        ):  # fmt: skip
            try:
                self._until("linphonec> ")
                self._type(process, "soundcard use files")
                self._type(process, f"play {self.folder}/say.wav")
                self._type(process, f"record {self.folder}/heard.wav")
                self._type(process, f"call {uri}")
                self._until("Media streams established")
                yield
                self._type(process, "terminate")
                self._until("ended")
                self._type(process, "quit")
                process.wait(_PATIENCE_S)
            finally:
                if process.poll() is None:
                    process.kill()

    @property
    def heard(self) -> Samples:
        """What it heard, 8000 Hz."""
        with (self.folder / "heard.wav").open("rb") as file:
            return to_samples(read_mono(file))

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def _type(self, process: subprocess.Popen[bytes], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        time.sleep(0.2)

    def _until(self, words: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while words not in self.log:
            assert time.monotonic() < deadline, f"linphonec never said {words!r}:\n{self.log}"
            time.sleep(0.1)
