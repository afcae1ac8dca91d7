"""A Redis of our own, to be stopped, killed, started again, and asked to forget."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis

from tests.support.stack import free_port
from trunkline.embedded_bus import find_server

_START_S = 20.0


class RedisServer:
    """A child on a loopback port. With `persistent`, it has its data when it starts again."""

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        self._folder = folder
        self._persistent = persistent
        self.port = free_port(socket.SOCK_STREAM)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.resume()
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(find_server()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "yes" if self._persistent else "no", "--dir", str(self._folder),
             "--logfile", str(self._folder / "log")],
        )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """kill -9, as a crash is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> None:
        """SIGSTOP: connections stay, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def ask(self, *command: Any) -> Any:
        """One command, by a connection of its own."""
        with Redis(port=self.port) as redis:
            return redis.execute_command(*command)
