"""Waking at a moment, not at a millisecond: the event loop's own timers count whole ones.

uvloop rounds to milliseconds and asyncio hands them to epoll, so a beat of 20 ms would come up to
one too early or too late, and every call's packets with it. Linux's timerfd wakes within some tens
of microseconds, as a file that the loop watches like a socket.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

Until = Callable[[float], Awaitable[None]]

_CLOCK_MONOTONIC: Final = 1
_NONBLOCK: Final = 0o4000
_CLOEXEC: Final = 0o2000000
_ABSOLUTE: Final = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


@contextmanager
def alarm() -> Iterator[Until]:
    """Give `until(moment)`, which waits for a moment of the monotonic clock (s); one at a time.

    Where there is no timerfd, the loop's own timers do.
    """
    timer = _timerfd() if sys.platform == "linux" else None
    if timer is None:
        yield _by_the_loop
        return
    loop = asyncio.get_running_loop()
    rung = asyncio.Event()

    def ring() -> None:
        try:
            os.read(timer, 8)
        except BlockingIOError:
            return
        rung.set()

    async def until(moment: float) -> None:
        if moment <= time.monotonic():
            await asyncio.sleep(0)
            return
        rung.clear()
        _set(timer, moment)
        await rung.wait()

    loop.add_reader(timer, ring)
    try:
        yield until
    finally:
        loop.remove_reader(timer)
        os.close(timer)


async def _by_the_loop(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def _timerfd() -> int | None:
    """A timer on CLOCK_MONOTONIC, as time.monotonic() is on Linux (timerfd_create(2)).

    Python itself has it from 3.13 on (os.timerfd_create).
    """
    try:
        made: int = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
    except AttributeError:
        return None
    return made if made >= 0 else None


def _set(timer: int, moment: float) -> None:
    seconds = int(moment)
    value = _Timespec(seconds, int((moment - seconds) * 1e9))
    setting = _Setting(_Timespec(0, 0), value)
    _LIBC.timerfd_settime(timer, _ABSOLUTE, ctypes.byref(setting), None)


_LIBC: Final = ctypes.CDLL(None)
