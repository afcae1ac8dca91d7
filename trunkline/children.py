"""Child processes that die with us, and that say when they are ready."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.errors import UserError

Announcement = dict[str, Any]
#: Tells when a child can take work: given the child, returns what it announced.
Readiness = Callable[["Child"], Awaitable[Announcement]]

READY_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ChildFailedError(UserError):
    """A child ended, or said nothing, before it was ready. Its own lines on stderr say why."""


@dataclass(slots=True)
class Child:
    """One start of one process."""

    name: str
    process: asyncio.subprocess.Process
    #: The end of the pipe on which it announces itself; None if it was given none.
    announcements: asyncio.StreamReader | None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def how_it_ended(self) -> str:
        """ "status 1" or "SIGKILL"; call it once it has ended."""
        code = self.process.returncode
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"status {code}"

    async def stop(self, patience_s: float) -> None:
        """Ask it to end, and after `patience_s` see that it does."""
        if self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(patience_s):
                await self.process.wait()
        except TimeoutError:
            self.kill()
            await self.process.wait()

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()


async def spawn(
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    announces: bool = False,
    quiet: bool = False,
) -> Child:
    """Start a process in a group of its own (Ctrl-C is ours to pass on) that dies with us.

    Args:
        name: What people call it.
        argv: The command. If it `announces`, `--ready-fd N` is added.
        environment: All of its environment.
        announces: Whether it writes one JSON line to a pipe of ours when it is ready.
        quiet: Whether its standard output goes nowhere. (Else it goes to our stderr: our stdout
            belongs to whoever reads our answer.)

    Raises:
        ChildFailedError: there is no such program.
    """
    reader = None
    pass_fds: tuple[int, ...] = ()
    argv = list(argv)
    if announces:
        read_fd, write_fd = os.pipe()
        pass_fds = (write_fd,)
        argv += ["--ready-fd", str(write_fd)]
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb")
        )
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL if quiet else sys.stderr.fileno(),
            pass_fds=pass_fds,
            process_group=0,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    except OSError as error:
        raise ChildFailedError(f"{name}: cannot start {argv[0]}: {error.strerror}") from error
    finally:
        for fd in pass_fds:
            os.close(fd)
    return Child(name, process, reader)


async def announced(child: Child) -> Announcement:
    """Wait until a child that announces itself is ready.

    Raises:
        ChildFailedError: it ended before, or took longer than `READY_SECONDS`.
    """
    if child.announcements is None:
        raise RuntimeError(f"{child.name} was not asked to announce itself")
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await child.announcements.readline()
            if line:
                announcement: Announcement = json.loads(line)
                return announcement
            await child.process.wait()
    except TimeoutError:
        child.kill()
        raise ChildFailedError(
            f"{child.name} (pid {child.pid}) was not ready after {READY_SECONDS:.0f} s"
        ) from None
    raise ChildFailedError(
        f"{child.name} (pid {child.pid}) ended with {child.how_it_ended} before it was ready"
    )


def _libc_prctl() -> Callable[[int, int], int] | None:
    return ctypes.CDLL(None).prctl if sys.platform == "linux" else None


_prctl = _libc_prctl()


def _die_with_parent() -> None:
    """Run in the child between fork and exec: no orphan survives a supervisor that was killed."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
